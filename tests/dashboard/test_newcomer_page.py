"""The first minutes of somebody with a model and pictures of their own, in a real browser, from start to file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.app import build, launch_options, make_page

PICTURES = 4
LONG = 300_000  # milliseconds


@pytest.fixture
def fresh(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh start: the demo's page, on a machine whose data folders are offered."""
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "own"))
    page = make_page("demo:biased", autorun=False, roots=[data])
    blocks = build(page)
    _, url, _ = blocks.launch(prevent_thread_lock=True, **launch_options())
    yield url
    page.maker.stop(60)
    blocks.close()


@pytest.mark.browser
@pytest.mark.slow
def test_a_model_and_a_folder_become_a_report_that_is_taken_along(
    chromium: Any, fresh: str, data: Path, tmp_path: Path
) -> None:
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    tab, errors = context.new_page(), []
    tab.set_default_timeout(LONG)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(fresh)
    tab.get_by_test_id("answer").wait_for()
    # the model
    tab.get_by_role("button", name="Your own model and pictures").click()
    tab.locator("#own-weights input[type=file]").set_input_files(data / "weights" / "squeezenet1_1.pth")
    tab.wait_for_function("document.querySelector('#own-architecture input').value === 'torchvision:squeezenet1_1'")
    tab.locator("#own-use-model").click()
    tab.locator("#own-model-status").get_by_text(re.compile("Right on|every tab|No label")).wait_for()
    tab.locator("#model-note").get_by_text("1000 classes, 224 x 224").wait_for()
    # the pictures
    tab.locator("#own-folder").get_by_role("textbox").fill(str(data / "wbc"))
    tab.locator("#own-use-data").click()
    tab.locator("#own-data-status").get_by_text("No label of wbc").wait_for()
    tab.locator("#data-note").get_by_text("300 pictures, 5 classes, with masks").wait_for()
    # the tabs are about them, and not about the demo
    tab.get_by_test_id("state").get_by_text("There is no report about squeezenet1_1.pth yet").wait_for()
    tab.get_by_role("tab", name="Segments").click()
    tab.locator("#segments-progress").get_by_text("300 of 300 named").wait_for()
    # the report
    tab.get_by_role("tab", name="Report").click()
    tab.locator("#make-count input").fill(str(PICTURES))
    tab.locator("#make-count input").blur()
    tab.locator("#make-start").click()
    tab.locator("#make-status").get_by_text("Finished; it is shown below.").wait_for()
    tab.get_by_test_id("answer").get_by_text("squeezenet1_1.pth").first.wait_for()
    # taken along
    with tab.expect_download() as taken:
        tab.locator("#make-html").click()
    taken.value.save_as(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "squeezenet1_1.pth" in text
    assert "nucleus" in text
    context.close()
    assert errors == []
