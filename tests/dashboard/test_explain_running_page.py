"""Sliders, and maps while they are made, on the Explain tab in a real browser."""

from __future__ import annotations

from time import sleep

import pytest

from tests.dashboard.conftest import Served, Visit, Visits
from tests.dashboard.on_explain import choose_only, explain, map_of, set_slider, slow_device, wait_for_state

pytestmark = pytest.mark.browser


def test_a_slider_changes_its_own_map_only(visit: Visit, served: Served) -> None:
    tab = visit.tab
    choose_only(tab, "SmoothGrad", "Integrated gradients")
    explain(tab, "smoothgrad", "integrated-gradients")
    tab.locator("#status", has_text="2 maps").wait_for()  # the last drawing is there; nothing runs
    before = {n: map_of(tab, n).locator("img").get_attribute("src") for n in ("smoothgrad", "integrated-gradients")}
    tab.locator("#parameters-smoothgrad > button").click()
    set_slider(tab, "smoothgrad-samples", 7)
    map_of(tab, "smoothgrad").get_by_text("7 passes", exact=True).wait_for()
    wait_for_state(tab, "smoothgrad", "finished")
    assert map_of(tab, "smoothgrad").locator("img").get_attribute("src") != before["smoothgrad"]
    assert map_of(tab, "integrated-gradients").locator("img").get_attribute("src") == before["integrated-gradients"]
    # the old setting comes back without a pass
    chunks = served.page.runner.chunks
    set_slider(tab, "smoothgrad-samples", 50)
    map_of(tab, "smoothgrad").get_by_text("50 passes", exact=True).wait_for()
    assert served.page.runner.chunks == chunks


def test_a_slider_keeps_a_number_within_its_bounds(visit: Visit) -> None:
    tab = visit.tab
    choose_only(tab, "SmoothGrad")
    explain(tab, "smoothgrad")
    tab.locator("#parameters-smoothgrad > button").click()
    box = tab.locator("#smoothgrad-samples input[type=number]")
    set_slider(tab, "smoothgrad-samples", 9)
    map_of(tab, "smoothgrad").get_by_text("9 passes", exact=True).wait_for()
    box.fill("")
    box.blur()
    assert box.input_value() == "9"
    box.fill("-5")
    box.blur()
    assert box.input_value() == "1"
    map_of(tab, "smoothgrad").get_by_text("1 pass", exact=True).wait_for()
    for typed, kept in (("-3", "0"), ("1.5", "2"), ("", "2"), ("99999999999", str(2**31 - 1))):
        tab.locator("#seed input").fill(typed)
        tab.locator("#seed input").blur()
        assert tab.locator("#seed input").input_value() == kept
    assert tab.locator(".toast-body").count() == 0


def test_a_slider_listens_to_the_keyboard(visit: Visit) -> None:
    tab = visit.tab
    choose_only(tab, "SmoothGrad")
    tab.locator("#parameters-smoothgrad > button").click()
    set_slider(tab, "smoothgrad-samples", 9)
    map_of(tab, "smoothgrad").get_by_text("9 passes", exact=True).wait_for()
    tab.locator("#smoothgrad-samples .ladder").press("ArrowRight")  # by doubling
    map_of(tab, "smoothgrad").get_by_text("16 passes", exact=True).wait_for()
    box = tab.locator("#smoothgrad-samples input[type=number]")
    box.fill("0")
    box.press("Enter")
    map_of(tab, "smoothgrad").get_by_text("1 pass", exact=True).wait_for()
    assert box.input_value() == "1"


def test_stop_stops(visit: Visit, served: Served) -> None:
    tab = visit.tab
    choose_only(tab, "Suppression sampling")
    explain(tab, "suppression")  # so that the sliders below are the only thing that runs
    tab.locator("#parameters-suppression > button").click()
    with slow_device(served, 0.3):
        set_slider(tab, "suppression-samples", 1000)
        wait_for_state(tab, "suppression", "running")
        set_slider(tab, "suppression-samples", 900)  # takes the place of the run before, which is not waited for
        map_of(tab, "suppression").get_by_text("of 900").wait_for()
        tab.locator("#stop").click()
        wait_for_state(tab, "suppression", "stopped")
        chunks = served.page.runner.chunks
        sleep(0.6)
        assert served.page.runner.chunks == chunks
    assert "stopped after" in map_of(tab, "suppression").inner_text()
    assert tab.locator("#stop").is_disabled()
    # nothing is lost, and it can go on
    set_slider(tab, "suppression-samples", 50)
    wait_for_state(tab, "suppression", "finished")


def test_double_clicks_and_another_picture_while_running(visit: Visit, served: Served) -> None:
    tab = visit.tab
    choose_only(tab, "SmoothGrad", "Occlusion")
    with slow_device(served, 0.5):
        tab.locator("#seed input").fill("91")
        tab.locator("#explain").dblclick()
        tab.locator("figure[data-state=running]").first.wait_for()
        tab.locator(".strip li").nth(1).locator("button").click()
        tab.locator("#prediction").get_by_text("second", exact=True).wait_for()
        wait_for_state(tab, "smoothgrad", "running")  # that picture's maps come by themselves
    for explainer in ("smoothgrad", "occlusion"):
        wait_for_state(tab, explainer, "finished")
    made = served.page.runner.results
    second = next(source.id for source in served.page.examples.values() if source.name == "second")
    mine = [key for key in made._kept if key.seed == 91 and key.picture != second]
    assert all(made.get(key).partial for key in mine)  # the maps of the first were given up


def test_a_reload_while_maps_are_made_goes_on(visit: Visit, served: Served) -> None:
    tab = visit.tab
    choose_only(tab, "SmoothGrad")
    tab.locator("#seed input").fill("73")
    with slow_device(served, 1.5):
        tab.locator("#explain").click()
        wait_for_state(tab, "smoothgrad", "running")
        tab.reload()  # comes back to the tab that was open
        wait_for_state(tab, "smoothgrad", "finished")
    visit.errors.clear()  # Gradio logs the streams that the reload cut


def test_two_visitors_do_not_wait_for_each_other_to_finish(visits: Visits, served: Served) -> None:
    first, second = visits().tab, visits().tab
    choose_only(first, "Suppression sampling")
    choose_only(second, "Gradient")
    first.locator("#parameters-suppression > button").click()
    second.locator("#target input").click()
    second.locator("ul[role=listbox] li").last.click()
    with slow_device(served, 0.5):
        set_slider(first, "suppression-samples", 999)
        wait_for_state(first, "suppression", "running")
        explain(second, "gradient")
        assert map_of(first, "suppression").get_attribute("data-state") == "running"
        first.locator("#stop").click()
        wait_for_state(first, "suppression", "stopped")
