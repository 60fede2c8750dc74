"""A link brings again what was in view."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from core.choice import Choice
from dashboard.address import DIGITS, FIELDS, TAB, follow, written
from dashboard.explain.actions import Actions
from dashboard.explain.asked import Asked
from dashboard.explain.drawing import class_value
from dashboard.explain.tab import Widgets
from dashboard.page import Page
from dashboard.palette import ordered
from dashboard.report.place import Place
from dashboard.sessions import Session
from dashboard.theme import STATIC
from tests.dashboard.conftest import Visits, photo, save, tiny_classifier


def told(mark: str) -> dict[str, str]:
    """The fields of a part of an address."""
    (text,) = re.findall('data-address="([^"]*)"', mark)
    return {name: value for name, (value,) in parse_qs(unescape(text)).items()}


@pytest.fixture
def second(small_page: Page, tmp_path: Path) -> str:
    """Another example; the one that is not first."""
    source = small_page.pictures.read(Path(save(tmp_path, "second.png", photo(seed=1))), upload=False)
    small_page.examples[source.id] = source
    return source.id


def test_what_an_address_names_comes_into_view_and_comes_back_out(
    small_page: Page, session: Session, second: str
) -> None:
    small_page.classifiers.add("other", tiny_classifier(1))
    link = f"?__theme=dark&model=other&data=demo:birds-clean&picture={second[:DIGITS]}&report=mine&cell=1/mark+of+x"
    assert follow(small_page, session, link) == []
    assert (session.spec, session.data, session.current) == ("other", "demo:birds-clean", second)
    assert session.link == ("mine", "1/mark of x")
    assert told(written(small_page, session, Place("mine", "1/mark of x"), ())) == {
        "model": "other",
        "data": "demo:birds-clean",
        "picture": second[:DIGITS],
        "report": "mine",
        "cell": "1/mark of x",
    }


def test_nothing_that_the_page_begins_with_stands_in_the_address(
    small_page: Page, session: Session, second: str
) -> None:
    place = Place("/reports/first", "0/beak", first="/reports/first", usual_cell="0/beak")
    (first, _) = small_page.sources(session)
    session.current = first
    assert told(written(small_page, session, place, ())) == {}
    # and an address without it brings it back
    small_page.classifiers.add("other", tiny_classifier(1))
    session.spec, session.current = "other", second
    session.add(small_page.examples[second])
    assert follow(small_page, session, "?tab=explain") == []
    assert (session.spec, session.current, session.link) == ("tiny", first, None)
    assert session.followed == Asked()


def test_a_bare_address_and_the_same_page_again_leave_what_is_there(
    small_page: Page, session: Session, second: str
) -> None:
    session.current, session.entered = second, True
    assert follow(small_page, session, "?__theme=dark") == []
    assert follow(small_page, session, "?tab=explain&report=mine&explainers=gradient", again=True) == []
    assert (session.current, session.followed) == (second, None)
    assert session.link == ("mine", "")  # of which the session holds nothing
    session.entered = False  # the server was started anew
    follow(small_page, session, "?tab=explain&explainers=gradient", again=True)
    assert session.followed == Asked((Choice("gradient"),))


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


def test_a_picture_that_is_not_there_is_told(small_page: Page, session: Session) -> None:
    (problem,) = follow(small_page, session, "?picture=0123456789ab&other=1")
    assert "somebody's own" in problem
    assert session.current is None


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("explainers=gradient,nonsense", "nonsense"),
        ("explainers=gradient,rise:samples=-3", "must lie between"),
        ("explainers=gradient,rise:colour=red", "no parameter 'colour'"),
        ("explainers=gradient,salvage@/etc/passwd", "names no files"),
        ("explainers=gradient,expected-gradients:references=/etc", "names no files"),
        ("explainers=gradient,attention-rollout", "needs a transformer"),
        ("explainers=gradient,gradient:reduction=signed", "named twice"),
        ("explainers=gradient&target=wolf", "no class 'wolf'"),
        ("explainers=gradient&target=cat&contrast=cat", "against itself"),
        ("explainers=gradient&seed=1e3", "whole number"),
    ],
)
def test_what_is_bad_in_an_address_is_one_sentence_and_the_rest_holds(
    small_page: Page, session: Session, field: str, said: str
) -> None:
    contrast = "" if "contrast" in field else "&contrast=bee"
    (problem,) = follow(small_page, session, f"?tab=explain&{field}{contrast}")
    assert said in problem
    assert problem.endswith(".")
    assert session.followed is not None
    assert session.followed.choices == (Choice("gradient"),)
    assert session.followed.contrast == (1 if contrast else None)
    assert session.followed.seed == 0


# -- on the Explain tab


def controls(widgets: Widgets) -> list[Any]:
    """What a new page sends."""
    return [field.value for field in widgets.inputs()]


LINK = "explainers=gradient,kernel-shap:samples=300&target=cat&contrast=elk&seed=7"


def test_a_link_ticks_its_explainers_moves_their_controls_and_is_told_again(
    small_page: Page, session: Session, explain_tab: tuple[Actions, Widgets]
) -> None:
    actions, w = explain_tab
    assert follow(small_page, session, f"?tab=explain&{LINK}") == []
    shown = actions.open("visitor", *controls(w))
    ticked = [name for family in w.families.values() for name in shown[family]["value"]]
    assert ticked == ["gradient", "kernel-shap"]
    assert shown[w.controls["kernel-shap", "samples"]] == 300
    view = small_page.view(session)
    assert (shown[w.target]["value"], shown[w.contrast]["value"]) == (class_value(view, 2), class_value(view, 4))
    assert shown[w.seed] == 7
    assert (
        f'data-address="{LINK.replace("&", "&amp;")}"' in shown[small_page.explained]
    )  # short, and as people write it
    # quick, so that it is made without a press
    assert session.due == "quick"
    now = [shown.get(field, field.value) for field in w.inputs()]
    now = [value.get("value") if isinstance(value, dict) else value for value in now]
    list(actions.first_run("visitor", *now))
    assert {(key.choice.text, key.target, key.contrast, key.seed) for key in small_page.runner.results._kept} == {
        ("gradient", 2, 4, 0),
        ("kernel-shap:samples=300", 2, 4, 7),
    }


def test_a_tab_that_is_opened_with_the_page_does_not_take_the_links_explainers_away(
    small_page: Page, session: Session, explain_tab: tuple[Actions, Widgets]
) -> None:
    actions, w = explain_tab
    before = controls(w)  # sent with the opening of the tab, before the link was followed
    follow(small_page, session, f"?{LINK}")
    actions.open("visitor", *before)
    offered = actions.offer(True, "visitor", *before)
    # which are ticked is left to the browser: somebody may tick another one before this is there
    assert all("value" not in offered[family] for family in w.families.values())
    choices = {name for family in w.families.values() for _, name in offered[family]["choices"]}
    assert {"gradient", "kernel-shap"} <= choices
    (shown, *_) = actions.look(True, "visitor", *before)
    assert told(shown[small_page.explained])["explainers"] == "gradient,kernel-shap:samples=300"


def test_what_is_usual_is_not_told_and_back_brings_it_back(
    small_page: Page, session: Session, explain_tab: tuple[Actions, Widgets]
) -> None:
    actions, w = explain_tab
    assert told(actions.open("visitor", *controls(w))[small_page.explained]) == {}
    assert session.values == {}  # a first visitor's, who gets maps without a click
    follow(small_page, session, f"?tab=explain&{LINK}")
    actions.open("visitor", *controls(w))
    follow(small_page, session, "?tab=explain")
    shown = actions.open("visitor", *controls(w))
    ticked = {name for family in w.families.values() for name in shown[family]["value"]}
    assert ticked == {name for name, explainer in ordered().items() if explainer.default}
    assert shown[w.seed] == 0
    assert told(shown[small_page.explained]) == {}


def test_no_explainer_at_all_can_be_told(
    small_page: Page, session: Session, explain_tab: tuple[Actions, Widgets]
) -> None:
    actions, w = explain_tab
    follow(small_page, session, "?explainers=none")
    shown = actions.open("visitor", *controls(w))
    assert told(shown[small_page.explained]) == {"explainers": "none"}


def test_the_browser_keeps_the_fields_that_the_server_tells() -> None:
    (known,) = re.findall(r"KNOWN = \[(.*?)\]", (STATIC / "address.js").read_text(encoding="utf-8"))
    assert {name.strip(" '") for name in known.split(",")} == {TAB, *FIELDS}


@pytest.mark.browser
@pytest.mark.slow
def test_the_tab_and_what_is_explained_stand_in_the_address(visits: Visits, served: Any) -> None:
    visit = visits()
    tab = visit.tab
    tab.wait_for_url("**tab=explain**")
    tab.get_by_role("tab", name="Train").click()
    tab.wait_for_url("**tab=train**")
    tab.go_back()
    tab.wait_for_url("**tab=explain**")
    tab.get_by_role("tab", name="Explain", selected=True).wait_for()
    tab.get_by_test_id("predictions").wait_for()
    link = "?tab=explain&explainers=smoothgrad:samples=9,gradient&target=cat"
    tab.goto(f"{served.url}{link}")
    tab.get_by_test_id("map-smoothgrad").get_by_text("9 passes", exact=True).wait_for()
    assert tab.locator("#target input").input_value() == "cat"
    tab.locator("#explainers label", has_text="SmoothGrad").click()
    tab.wait_for_function("location.search.endsWith('?tab=explain&explainers=gradient&target=cat')")
    tab.go_back()
    tab.get_by_test_id("map-smoothgrad").get_by_text("9 passes", exact=True).wait_for()
    assert tab.evaluate("location.search") == link
    visit.errors.clear()  # Gradio logs the streams that another address cut
