"""What a dropped picture truly shows is said on the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from dashboard.explain.actions import Actions
from dashboard.explain.gallery import Entry, Rows
from dashboard.explain.labels import UNSAID, give, offered
from dashboard.explain.tab import Widgets
from dashboard.page import Page
from dashboard.pictures import Source
from dashboard.sessions import Session
from tests.dashboard.conftest import LABELS, photo, save, tiny_classifier


@pytest.fixture
def dropped(small_page: Page, session: Session, tmp_path: Path) -> Source:
    source = small_page.pictures.read(Path(save(tmp_path, "mine.png", photo(seed=5))))
    session.add(source)
    session.current = source.id
    return source


def test_a_label_makes_a_wrong_answer_wrong_for_whoever_gave_it(
    small_page: Page, session: Session, dropped: Source, explain_tab: tuple[Actions, Widgets]
) -> None:
    actions, w = explain_tab
    says = small_page.view(session).predictions[0].index
    other = LABELS[(says + 1) % len(LABELS)]
    values = [field.value for field in w.inputs()]
    session.gallery = Rows("tiny", (), "wrong first", [Entry(dropped, small_page.view(session).predictions[0])])
    shown: dict[Any, Any] = {}
    for update in actions.label(other, "visitor", *values):
        shown |= update
    assert f"a{'n' if other[0] in 'ae' else ''} {other}" in shown[w.prediction]
    assert f"labelled {other}" in shown[w.prediction]
    assert "wrong" in shown[w.finding]
    assert session.gallery.entries[0].instead == other  # and so it can be sorted by
    # another visitor who dropped the same picture, which is prepared and predicted once for both
    second = small_page.sessions.get("second")
    second.add(dropped)
    second.current = dropped.id
    assert small_page.view(second).truth is None
    assert small_page.view(session).instead == other
    # right, and taken back
    (shown, *_) = actions.label(LABELS[says], "visitor", *values)
    assert "wrong" not in shown[w.prediction]
    assert session.gallery.entries[0].instead is None
    (shown, *_) = actions.label(UNSAID, "visitor", *values)
    assert "labelled" not in shown[w.prediction]
    assert session.uploads[dropped.id].label is None


def test_only_dropped_pictures_are_asked_about_and_only_classes_of_the_model_offered(
    small_page: Page, session: Session, dropped: Source
) -> None:
    classifier = small_page.classifiers.get("tiny").classifier
    asked = offered(small_page.view(session), classifier)
    assert asked["visible"]
    assert asked["choices"] == [("not said", UNSAID), *((name, name) for name in LABELS)]
    with pytest.raises(UserError, match="no class 'wolf'"):
        give(session, classifier, "wolf")
    session.current = next(iter(small_page.examples))
    assert not offered(small_page.view(session), classifier)["visible"]
    with pytest.raises(UserError, match="were dropped"):
        give(session, classifier, "ant")


def test_a_label_that_two_classes_share_goes_by_number(small_page: Page, session: Session, dropped: Source) -> None:
    plain = tiny_classifier()
    plain.labels = ("crane", "bee", "crane", "dog", "elk")
    small_page.classifiers.add("tiny", plain)
    names = [value for _, value in offered(small_page.view(session), plain)["choices"]]
    assert names == [UNSAID, "0", "bee", "2", "dog", "elk"]
    give(session, plain, "2")
    view = small_page.view(session)
    assert view.truth == 2
    assert offered(view, plain)["value"] == "2"


def test_a_label_that_another_model_does_not_know_is_kept(small_page: Page, session: Session, dropped: Source) -> None:
    session.uploads[dropped.id] = replace(dropped, label="wolf")
    view = small_page.view(session)
    assert (view.truth, view.source.label) == (None, "wolf")
    assert offered(view, small_page.classifiers.get("tiny").classifier)["value"] == UNSAID
