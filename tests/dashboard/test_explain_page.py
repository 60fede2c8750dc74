"""The Explain tab in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard.palette import ordered
from tests.dashboard.conftest import Served, Visit, Visits, photo, save
from tests.dashboard.on_explain import choose_only, explain, map_of, set_slider, upload, wait_for_state

pytestmark = pytest.mark.browser


def test_the_first_screen_needs_no_click(visit: Visit) -> None:
    tab = visit.tab
    assert tab.title() == "Satchel"
    tab.locator(".strip li").nth(1).wait_for()  # painted on its own, at times a moment after the predictions
    assert tab.get_by_test_id("predictions").locator("li").count() == 5
    assert tab.locator(".strip li").count() == 2
    assert tab.locator("#picture img").count() == 1
    assert "tiny" in tab.locator("#model input").input_value()


def test_upload_a_photo_and_compare_two_explainers(visit: Visit, tmp_path: Path) -> None:
    tab = visit.tab
    before = tab.locator("#picture img").get_attribute("src")
    upload(tab, save(tmp_path, "mine.png", photo(80, 200, seed=7)))
    tab.locator("#prediction").get_by_text("mine.png").wait_for()
    assert tab.locator("#picture img").get_attribute("src") != before
    assert tab.get_by_test_id("predictions").locator("li").count() == 5
    choose_only(tab, "SmoothGrad", "Integrated gradients")
    explain(tab, "smoothgrad", "integrated-gradients")
    sources = [map_of(tab, name).locator("img").get_attribute("src") for name in ("smoothgrad", "integrated-gradients")]
    assert sources[0] != sources[1]
    assert re.search(r"50 passes.*±", map_of(tab, "smoothgrad").inner_text().replace("\n", " "))
    assert "nothing random" in map_of(tab, "integrated-gradients").inner_text()
    # the map lies over the whole picture as uploaded, not over the crop
    width, height = map_of(tab, "smoothgrad").locator("img").evaluate("i => [i.naturalWidth, i.naturalHeight]")
    assert (width, height) == (200, 80)
    assert tab.locator(".segments .seen").count() == 1
    evidence = tab.get_by_test_id("evidence")
    assert "colour, texture and edges" in evidence.inner_text()
    assert evidence.locator(".legend span").count() == 3


def test_the_list_of_explainers_folds_and_keeps_what_is_ticked(visit: Visit, served: Served) -> None:
    tab = visit.tab
    classifier = served.page.classifiers.get(served.page.sessions.spec).classifier
    usable = [e for e in ordered().values() if e.supports(classifier) is None]
    defaults = [e.title for e in usable if e.default]
    offered = tab.locator("#explainers label")
    assert sorted(offered.all_inner_texts()) == sorted(defaults)
    tab.locator("#fold", has_text=f"{len(usable) - len(defaults)} more").click()
    tab.locator("#fold", has_text="Fewer").wait_for()
    assert offered.count() == len(usable)
    offered.get_by_text("Gradient", exact=True).click()
    map_of(tab, "gradient").wait_for()
    tab.locator("#fold").click()
    tab.locator("#fold", has_text="more").wait_for()
    assert sorted(offered.all_inner_texts()) == sorted([*defaults, "Gradient"])


def test_opacity_is_the_browsers_and_the_scale_redraws_without_computing(visit: Visit, served: Served) -> None:
    tab = visit.tab
    choose_only(tab, "Gradient")
    explain(tab, "gradient")
    picture, chunks = map_of(tab, "gradient").locator("img").get_attribute("src"), served.page.runner.chunks
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    set_slider(tab, "opacity", 0.2)
    tab.wait_for_function(
        "getComputedStyle(document.querySelector('[data-testid=map-gradient] img')).opacity === '0.2'"
    )
    assert [url for url in asked if not url.startswith("data:")] == []
    assert map_of(tab, "gradient").locator("img").get_attribute("src") == picture
    lent = tab.evaluate("getComputedStyle(document.querySelector('[data-testid=map-gradient] .photo')).backgroundImage")
    assert lent == f'url("{tab.locator("#picture img").get_attribute("src")}")'
    tab.locator("#linked input").click()
    tab.wait_for_function("old => document.querySelector('[data-testid=map-gradient] img').src !== old", arg=picture)
    assert "average" not in map_of(tab, "gradient").locator(".scale").inner_text()
    assert served.page.runner.chunks == chunks


def test_named_segments_of_an_example(visit: Visit) -> None:
    tab = visit.tab
    choose_only(tab, "Gradient")
    explain(tab, "gradient")
    text = tab.get_by_test_id("evidence").inner_text()
    tab.get_by_test_id("finding").get_by_text("The model says").wait_for()
    assert "beak" in text
    assert "body" in text
    assert "colour, texture and edges" not in text


def test_target_and_contrast(visit: Visit) -> None:
    tab = visit.tab
    choose_only(tab, "Gradient")
    explain(tab, "gradient")
    before = map_of(tab, "gradient").locator("img").get_attribute("src")
    chosen = tab.locator("#target input").input_value()
    tab.locator("#target input").click()
    options = tab.locator("ul[role=listbox] li")
    assert options.count() == 5
    other = next(o for o in options.all() if o.inner_text().strip().removeprefix("✓").strip() != chosen)
    other.click()  # answered without another press
    tab.wait_for_function(
        "old => ![old, undefined].includes(document.querySelector('[data-testid=map-gradient] img')?.src)", arg=before
    )
    wait_for_state(tab, "gradient", "finished")
    tab.locator("#target input").click()
    tab.keyboard.type("cat")  # over what stood there
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelector('#target input').value === 'cat'")
    tab.locator("#target input").click()
    tab.keyboard.type("no such class")
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelector('#target input').value === 'cat'")
    tab.locator("#model input").focus()
    tab.keyboard.press("Tab")
    tab.wait_for_function("!document.querySelector('ul[role=listbox]')")


def test_a_class_is_not_offered_to_be_explained_against_itself(visit: Visit) -> None:
    tab = visit.tab
    choose_only(tab, "Gradient")
    explain(tab, "gradient")
    for _ in range(2):
        chosen = tab.locator("#target input").input_value()
        tab.locator("#contrast input").click()
        offered = [o.inner_text().strip().removeprefix("✓").strip() for o in tab.locator("ul[role=listbox] li").all()]
        assert len(offered) == 5
        assert chosen not in offered
        other = offered[1]
        tab.locator("ul[role=listbox] li", has_text=other).click()
        tab.get_by_test_id("finding").get_by_text(f"and not {other}").wait_for()
        tab.locator("#target input").click()
        tab.locator("ul[role=listbox] li", has_text=other).click()  # what it was explained against
        tab.wait_for_function("document.querySelector('#contrast input').value === 'nothing in particular'")


def test_a_model_that_cannot_be_had_is_one_sentence_and_changes_nothing(visit: Visit) -> None:
    tab = visit.tab
    box = tab.locator("#model input")
    box.fill("python:os:system")
    box.press("Enter")
    box.blur()
    tab.locator("#model-note").get_by_text("command line only").wait_for()
    assert "Still using tiny" in tab.locator("#model-note").inner_text()
    choose_only(tab, "Gradient")
    explain(tab, "gradient")


@pytest.mark.parametrize(("theme", "width"), [("light", 1400), ("dark", 420)])
def test_nothing_runs_off_the_page(visits: Visits, theme: str, width: int) -> None:
    tab = visits(theme, width).tab
    choose_only(tab, "Gradient", "SmoothGrad")
    explain(tab, "gradient", "smoothgrad")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
