"""Maps on the Explain tab in a real browser: what is answered by itself, the pointer, keys, and one map enlarged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboard.runs import Results
from tests.dashboard.conftest import Served, Visit, photo, save
from tests.dashboard.on_explain import choose_only, explain, map_of, set_slider, upload, wait_for_state

pytestmark = pytest.mark.browser


@pytest.fixture
def explained(visit: Visit) -> Any:
    """Two finished maps of the first example, which has segments."""
    tab = visit.tab
    choose_only(tab, "Gradient", "Occlusion")
    explain(tab, "gradient", "occlusion")
    tab.locator("#status", has_text="2 maps").wait_for()
    return tab


def point_at(tab: Any, figure: Any, u: float, v: float) -> None:
    figure.scroll_into_view_if_needed()
    box = figure.locator(".photo").bounding_box()
    tab.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])


@pytest.fixture
def nothing_made(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests before have computed."""
    monkeypatch.setattr(served.page.runner, "results", Results())


@pytest.mark.usefixtures("nothing_made")
def test_what_is_dropped_and_what_is_picked_is_explained_by_itself(visit: Visit, tmp_path: Path) -> None:
    tab = visit.tab
    choose_only(tab, "Gradient")
    wait_for_state(tab, "gradient", "empty")
    upload(tab, save(tmp_path, "dropped.png", photo(seed=31)))
    tab.locator("#prediction").get_by_text("dropped.png").wait_for()
    wait_for_state(tab, "gradient", "finished")
    tab.locator(".strip button[title=second]").click()
    tab.locator("#prediction").get_by_text("second", exact=True).wait_for()
    wait_for_state(tab, "gradient", "finished")


@pytest.mark.usefixtures("nothing_made")
def test_what_takes_long_waits_and_says_so(visit: Visit, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    tab = visit.tab
    choose_only(tab, "Gradient")
    explain(tab, "gradient")
    monkeypatch.setattr("dashboard.explain.costs.Costs.seconds", lambda *_: 40.0)
    chunks = served.page.runner.chunks
    tab.locator("#target input").click()
    tab.locator("ul[role=listbox] li").last.click()
    tab.locator("#status", has_text="1 map to make, about 40 s, so it waits for Explain").wait_for()
    assert served.page.runner.chunks == chunks


def test_the_pointer_reads_every_map_at_the_same_place(explained: Any) -> None:
    tab = explained
    point_at(tab, map_of(tab, "gradient"), 0.5, 0.5)
    tab.locator(".spot").nth(2).wait_for()
    places = tab.locator(".spot").evaluate_all("spots => spots.map(s => s.style.left + s.style.top)")
    assert len(set(places)) == 1
    texts = tab.locator(".maps .readout").all_inner_texts()
    assert texts[0] == "body"
    assert all(text.endswith("x average · body") for text in texts[1:])
    assert len(texts) == 3
    assert tab.locator(".segments.echo path").count() == 2  # outlined in both maps
    assert tab.locator("#picture path.lit").count() == 1
    assert "body" in tab.locator(".erow.lit").inner_text()
    point_at(tab, map_of(tab, "occlusion"), 0.02, 0.5)
    map_of(tab, "gradient").locator(".readout", has_text="not seen by the model").wait_for()
    tab.mouse.move(2, 2)
    tab.locator(".readout").first.wait_for(state="hidden")


def test_a_row_of_the_evidence_points_at_its_region(explained: Any) -> None:
    tab = explained
    tab.locator(".erow", has_text="beak").hover()
    tab.locator("#picture path.lit").wait_for()
    assert tab.locator("#picture path.lit").get_attribute("data-name") == "beak"
    assert tab.locator(".segments.echo").count() == 2


def test_zoom_and_threshold_are_of_all_maps_and_ask_nobody(explained: Any) -> None:
    tab = explained
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    for name, value in (("zoom", 1), ("cut", 50)):
        tab.locator(f".tools input[name={name}]").evaluate(
            "(field, value) => { field.value = value; field.dispatchEvent(new Event('input', {bubbles: true})); }",
            value,
        )
    looks = tab.locator(".maps .photo").evaluate_all("all => all.map(one => getComputedStyle(one).transform)")
    assert len(set(looks)) == 1
    assert looks[0].startswith("matrix(2,")
    assert "2.0x average" in tab.locator(".block.tools").inner_text()
    masks = tab.locator(".maps figure[data-grid] .photo > img").evaluate_all("all => all.map(i => i.style.maskImage)")
    assert all(mask.startswith('url("data:image/png') for mask in masks)
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == []


def test_a_map_is_enlarged_by_a_key_and_laid_beside_another(explained: Any) -> None:
    tab = explained
    map_of(tab, "gradient").locator(".canvas").press("Enter")
    viewer = tab.locator("dialog.viewer[open]")
    viewer.wait_for()
    assert viewer.locator("h2").inner_text() == "Gradient"
    assert "x average" in viewer.locator(".facts").inner_text()
    assert "pass" in viewer.locator(".facts").inner_text()
    tab.keyboard.press("ArrowLeft")
    assert viewer.locator("h2").inner_text() == "Occlusion"
    viewer.locator("select").select_option("Gradient")
    assert viewer.locator("img.first, img.second").count() == 2
    assert "rank correlation" in viewer.locator(".said").inner_text()
    viewer.locator("input[name=difference]").check()
    assert viewer.locator("canvas.difference").count() == 1
    tab.keyboard.press("Escape")
    viewer.wait_for(state="hidden")
    tab.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Enlarge Occlusion'")


def test_explain_is_few_stops_of_the_keyboard_away(visit: Visit) -> None:
    tab = visit.tab
    tab.evaluate("document.activeElement.blur()")
    tab.wait_for_function("document.querySelectorAll('#tabs button[role=tab][tabindex=\"0\"]').length === 1")
    for _ in range(9):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.id") == "explain":
            break
    assert tab.evaluate("document.activeElement.id") == "explain"


def test_arrow_keys_turn_to_the_next_picture(visit: Visit) -> None:
    tab = visit.tab
    first = tab.locator("#prediction .note span").first.inner_text()
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("old => document.querySelector('#prediction .note span')?.innerText !== old", arg=first)
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_function("old => document.querySelector('#prediction .note span')?.innerText === old", arg=first)


APART = """([one, other]) => {
  const [a, b] = [one, other].map((name) => document.querySelector(name).getBoundingClientRect());
  return a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
}"""


@pytest.mark.parametrize("width", [420, 1400])
def test_parameters_cover_nothing_and_close_with_escape(visits: Any, width: int) -> None:
    tab = visits(width=width).tab
    choose_only(tab, "SmoothGrad")
    tab.locator("#parameters-smoothgrad > button").click()
    tab.locator("#smoothgrad-samples .ladder").wait_for()
    assert tab.evaluate(APART, ["#parameters-smoothgrad", ".lies-on"])
    assert tab.evaluate(APART, ["#parameters-smoothgrad", "#picture"])
    set_slider(tab, "smoothgrad-samples", 7)  # between two powers
    assert tab.locator("#smoothgrad-samples input[type=number]").input_value() == "7"
    tab.keyboard.press("Escape")
    tab.locator("#parameters-smoothgrad .label-wrap.open").wait_for(state="hidden")


def test_all_pictures_in_rows(visit: Visit) -> None:
    tab = visit.tab
    choose_only(tab, "Gradient")
    tab.locator("#gallery-run").click()
    tab.locator("#gallery-note", has_text="2 pictures.").wait_for()
    rows = tab.locator("#gallery tr[data-id]")
    assert rows.count() == 2
    assert rows.locator("td img").count() == 2
    tab.locator("#gallery-order input").click()
    tab.locator("ul[role=listbox] li", has_text="unsure first").click()
    rows.nth(1).locator("button").click()
    tab.locator("#gallery tr.current").wait_for()
