"""A link brings again what was in view."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from dashboard.address import follow, written
from dashboard.page import Page
from dashboard.sessions import Session
from tests.dashboard.conftest import Visits, tiny_classifier


def test_what_an_address_names_comes_into_view_and_comes_back_out(small_page: Page, session: Session) -> None:
    small_page.classifiers.add("other", tiny_classifier(1))
    (picture,) = small_page.sources(session)
    link = f"?__theme=dark&model=other&data=demo:birds-clean&picture={picture}&report=mine&cell=1/mark+of+x"
    assert follow(small_page, session, link) == []
    assert (session.spec, session.data, session.current) == ("other", "demo:birds-clean", picture)
    assert session.link == ("mine", "1/mark of x")
    mark = written(session, "mine", "1/mark of x")
    told = parse_qs(mark.partition('="')[2].partition('"')[0].replace("&amp;", "&"))
    expected = {
        "model": "other",
        "data": "demo:birds-clean",
        "picture": picture,
        "report": "mine",
        "cell": "1/mark of x",
    }
    assert told == {name: [value] for name, value in expected.items()}


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("?model=torchvision:resnet18@/etc/passwd", "opens only what was named"),
        ("?model=nonsense", "names no model"),
        ("?data=/etc", "opens only what was named"),
        ("?model=python:os:system", "command line only"),
    ],
)
def test_an_address_opens_no_more_than_the_boxes_do(small_page: Page, session: Session, link: str, said: str) -> None:
    before = session.shown
    (problem,) = follow(small_page, session, link)
    assert said in problem
    assert session.shown == before


def test_a_picture_that_is_not_there_changes_nothing(small_page: Page, session: Session) -> None:
    assert follow(small_page, session, "?picture=nowhere&other=1") == []
    assert session.current is None


@pytest.mark.browser
@pytest.mark.slow
def test_the_tab_and_the_report_stand_in_the_address(visits: Visits, served: Any, tmp_path: Path) -> None:
    tab = visits().tab
    tab.wait_for_url("**tab=explain**")
    tab.get_by_role("tab", name="Train").click()
    tab.wait_for_url("**tab=train**")
    tab.go_back()
    tab.wait_for_url("**tab=explain**")
    tab.get_by_role("tab", name="Explain", selected=True).wait_for()
    tab.get_by_test_id("predictions").wait_for()
