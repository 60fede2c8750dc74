"""The Evaluate tab in a real browser: a run on the examples, stopped and finished."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.browser

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def tick(tab: Any, group: str, wanted: set[str]) -> None:
    for label in tab.locator(f"#{group} label").all():
        if label.locator("input").is_checked() != (label.inner_text() in wanted):
            label.click()


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (420, "dark")])
def test_a_run_on_the_examples(visits: Any, width: int, theme: str) -> None:
    tab = visits(theme, width).tab
    tab.get_by_role("tab", name="Evaluate").click()
    tab.locator("#evaluate-explainers label").first.wait_for()
    status = tab.locator("#evaluate-status")

    tick(tab, "evaluate-explainers", set())
    tab.locator("#evaluate-start").click()
    status.locator("[role=alert]", has_text="No explainer is chosen").wait_for()

    tick(tab, "evaluate-explainers", {"Gradient", "Smoothgrad", "SmoothGrad"})
    tick(tab, "evaluate-metrics", {"Insertion", "Sparseness", "Randomised weights (slow)"})
    tab.locator("#evaluate-start").click()
    tab.wait_for_function("document.querySelector('#evaluate-status').innerText.startsWith('Finished 2 of 2')")
    board = tab.get_by_test_id("leaderboard")
    assert board.locator("tbody").first.locator("tr").count() == 2
    assert board.locator("tbody.controls tr").count() == 3
    with tab.expect_download() as download:
        tab.locator("#leaderboard-csv").click()
    table = pd.read_csv(download.value.path())
    assert set(zip(table["explainer"], table["metric"])) >= {("gradient", "sparseness"), ("edges", "insertion")}
    assert "Only 2 pictures" in tab.get_by_test_id("evaluation-answer").inner_text()
    assert tab.get_by_test_id("scatter").locator(".plot .mark").count() == 2
    assert "SmoothGrad (0.30" in tab.get_by_test_id("sanity").inner_text()  # a number, and nothing made of it
    assert not tab.locator("#evaluate-stop").is_enabled()
    assert tab.evaluate(OVERFLOW) <= 0

    tab.locator("#evaluate-pictures label", has_text="pictures I added").click()
    tab.locator("#evaluate-start").click()
    status.locator("[role=alert]", has_text="drop some in on the Explain tab").wait_for()
    assert board.is_visible()  # what was found stays

    tab.reload()
    tab.get_by_role("tab", name="Evaluate").click()
    tab.get_by_test_id("leaderboard").wait_for()

    box = tab.locator("#evaluation-folder input")  # a run takes nothing away
    assert box.input_value() == "run here"
    box.click()
    tab.get_by_role("option", name="demo-biased").click()
    tab.wait_for_function("!document.querySelector('#evaluation-answer').innerText.includes('Only 2 pictures')")
    assert board.locator("tbody").first.locator("tr").count() > 2
    box.fill("/etc")
    box.press("Enter")
    tab.locator("#evaluation-message [role=alert]", has_text="opens only what was named").wait_for()
    box.click()
    box.fill("")
    tab.get_by_role("option", name="run here").click()
    tab.wait_for_function("document.querySelector('#evaluation-answer').innerText.includes('Only 2 pictures')")
    assert tab.evaluate(OVERFLOW) <= 0
