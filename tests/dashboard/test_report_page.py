"""The Report tab in a real browser, on the toy report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from toy import toy_classifier

from dashboard.app import build, launch_options
from dashboard.classifiers import Classifiers
from dashboard.page import Page
from dashboard.sessions import Sessions

pytestmark = pytest.mark.browser

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def address(toy_report) -> Iterator[str]:
    """A page that was given the toy report."""
    page = Page(Classifiers("toy"), Sessions("toy"), toy_report.path, autorun=False)
    page.classifiers.add("toy", toy_classifier())
    blocks = build(page)
    _, url, _ = blocks.launch(prevent_thread_lock=True, **launch_options())
    yield url
    blocks.close()


@pytest.fixture(params=[(1400, "light"), (420, "dark")], ids=["wide and light", "narrow and dark"])
def tab(request, chromium: Any, address: str) -> Iterator[Any]:
    """The Report tab, just opened. Complaints of the browser fail the test at its end."""
    width, scheme = request.param
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(f"{address}?__theme={scheme}")
    tab.get_by_role("tab", name="Report").click()
    tab.get_by_test_id("answer").wait_for()
    yield tab
    context.close()
    assert errors == []


def cell_of(tab: Any, name: str) -> Any:
    return tab.get_by_test_id("cell").locator("h2", has_text=name)


def test_the_answer_stands_there_without_a_click_and_cells_open(tab: Any) -> None:
    answer = tab.get_by_test_id("answer")
    assert answer.locator("h2").inner_text() == "toy leans on the mark to say stamped."
    tab.get_by_test_id("exhibits").wait_for()
    assert tab.get_by_test_id("exhibits").locator("img").count() == 4
    cell_of(tab, "mark").wait_for()
    assert not tab.evaluate("performance.getEntriesByType('resource').some((one) => /plotly/i.test(one.name))")
    tab.locator("#cell").scroll_into_view_if_needed()  # what stands behind it is sent now, and the browser's plots
    tab.locator("#effects .js-plotly-plot").wait_for()
    tab.locator("#density .js-plotly-plot").wait_for()
    assert tab.evaluate(OVERFLOW) <= 0

    before = tab.get_by_test_id("behind").locator("img").first.get_attribute("src")
    tab.locator(".grid button[data-cell='0/object']").click()
    cell_of(tab, "object").wait_for()
    tab.wait_for_function("old => document.querySelector('[data-testid=behind] img').src !== old", arg=before)
    marked = tab.locator("[data-cell][aria-current=true]")
    assert {e.get_attribute("data-cell") for e in marked.all()} == {"0/object"}
    assert marked.count() == 2  # in the heat map and in the table

    # the keyboard walks the heat map and opens what it stands on
    tab.locator(".grid button[data-cell='0/object']").focus()
    tab.keyboard.press("ArrowUp")
    assert tab.evaluate("document.activeElement.dataset.cell") == "1/object"
    tab.keyboard.press("Enter")
    tab.get_by_test_id("cell").locator("h2", has_text="stamped").wait_for()
    assert tab.evaluate("document.activeElement.dataset.cell") == "1/object"

    # a row is chosen by the cell it names, also after sorting and filtering
    tab.locator("#findings [data-sort=pictures]").click()
    tab.locator("#findings th[aria-sort=descending]").wait_for()
    tab.locator("#filter-text input, #filter-text textarea").press_sequentially("mark")
    tab.wait_for_function("document.querySelectorAll('.findings tbody tr').length === 1")
    tab.locator("#findings tr[data-cell='1/mark']").click()
    cell_of(tab, "mark").wait_for()
    assert tab.locator(".findings tbody td").last.inner_text() == "36"

    tab.locator("#measure label", has_text="Attention").click()
    tab.locator(".grid-legend", has_text="1x, its size").wait_for()
    assert tab.evaluate(OVERFLOW) <= 0
    with tab.expect_download() as download:
        tab.locator("#findings-json").click()
    assert download.value.suggested_filename == "findings.json"


def test_a_folder_that_was_not_named_at_the_start_is_not_opened_and_the_report_stays(tab: Any, tmp_path) -> None:
    (tmp_path / "settings.json").write_text("{}")
    box = tab.locator("#report-folder input")
    box.fill(str(tmp_path))
    box.press("Enter")
    tab.locator("#report-message [role=alert]", has_text="opens only what was named").wait_for()
    assert tab.get_by_test_id("answer").is_visible()
    assert tab.evaluate(OVERFLOW) <= 0


def test_another_report_is_compared_and_the_report_is_taken_along(tab: Any) -> None:
    cell_of(tab, "mark").wait_for()
    with tab.expect_download() as download:
        tab.locator("#make-html").click()
    assert download.value.suggested_filename == "report.html"
    with tab.expect_download() as download:
        tab.locator("#make-png").click()
    assert download.value.suggested_filename == "report.png"
    box = tab.locator("#compare-folder input")
    box.click()
    tab.get_by_role("option", name="toy").or_(tab.get_by_role("option").first).first.click()
    tab.get_by_test_id("difference").or_(tab.locator("#report-difference [role=alert]")).first.wait_for()
    box.fill("/nowhere")
    box.press("Enter")
    tab.locator("#report-difference [role=alert]").wait_for()
    assert tab.evaluate(OVERFLOW) <= 0
