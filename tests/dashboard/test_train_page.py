"""The Train tab in a real browser: started, watched, stopped, gone on with after a reload, and used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
PERCENT = "parseFloat(document.querySelector('#train-progress [role=progressbar]')?.ariaValueNow ?? -1)"


def fill(tab: Any, name: str, value: int) -> None:
    field = tab.locator(f"#train-{name} input[type=number]")
    field.fill(str(value))
    field.press("Tab")


def has_said(tab: Any, what: str) -> None:
    tab.wait_for_function(f"document.querySelector('#train-status').innerText.includes({what!r})")


def test_a_training_that_is_stopped_and_gone_on_with_ends_among_the_explainers(
    visits: Any, served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path))
    tab = visits().tab
    assert not tab.locator("#explainers").get_by_label("Salvage", exact=True).is_visible()
    assert not tab.locator("#sum").is_visible()
    tab.get_by_role("tab", name="Train").click()
    tab.get_by_text("No explainer is trained for tiny yet.").wait_for()
    for name, value in {"count": 16, "epochs": 300, "surrogate_epochs": 2, "grid": 4}.items():
        fill(tab, name, value)
    tab.locator("#train-start").click()
    tab.get_by_test_id("train-progress").wait_for()
    tab.locator("#train-explainer .js-plotly-plot").wait_for()
    seen = tab.evaluate(PERCENT)
    tab.wait_for_function(f"{PERCENT} > {seen}")
    tab.locator("#train-stop").click()
    has_said(tab, "Train goes on from there")
    reached = served.page.trainer.live.seen.training.step
    assert 0 < reached < 302

    tab.reload()
    tab.get_by_role("tab", name="Train").click()
    has_said(tab, f"Stopped at step {reached} of 302")
    for name, value in (("count", "16"), ("epochs", "300")):  # controls are as they were
        tab.wait_for_function(f"document.querySelector('#train-{name} input[type=number]').value === '{value}'")

    fill(tab, "epochs", 301)
    tab.locator("#train-start").click()
    has_said(tab, "then epochs 300")
    assert tab.locator("#train-anew").is_visible()
    fill(tab, "epochs", 300)
    tab.locator("#train-start").click()
    tab.locator("#train-anew").wait_for(state="hidden")
    tab.reload()  # it works on the server
    tab.get_by_role("tab", name="Train").click()
    has_said(tab, "Finished")
    assert served.page.trainer.live.seen.training.seconds > 0
    card = tab.get_by_test_id("card-patches")
    assert "KernelSHAP 512" in card.inner_text()
    assert tab.get_by_test_id("train-answer").inner_text().startswith("With 1 pass, Salvage scores")
    assert tab.evaluate(OVERFLOW) <= 0

    tab.get_by_role("tab", name="Explain").click()
    tab.locator("#explainers").get_by_label("Salvage", exact=True).check()
    tab.locator("#explain").click()
    tab.locator("[data-testid=map-salvage][data-state=finished]").wait_for()
    table = tab.get_by_test_id("waterfall")
    numbers = [text.replace("−", "-") for text in table.locator("li .number:nth-child(3)").all_inner_texts()]
    null, *parts, logit = map(float, numbers)
    assert null + sum(parts) == pytest.approx(logit, abs=0.01 * len(numbers))
    assert tab.get_by_test_id("sum").get_by_role("heading").inner_text() == "The whole picture"
    part = table.locator("button[data-act=part]").first
    name = part.inner_text()
    part.click()
    tab.get_by_text(f"Without {name}").first.wait_for()
    assert table.locator("button[aria-pressed=false]").count() == 1
    table.locator("button[aria-pressed=false]").click()
    tab.get_by_role("heading", name="The whole picture").wait_for()


def test_on_a_narrow_dark_page_nothing_sticks_out(visits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path))
    tab = visits("dark", 420).tab
    tab.get_by_role("tab", name="Train").click()
    tab.get_by_test_id("train-answer").wait_for()
    assert tab.evaluate(OVERFLOW) <= 0
    tab.get_by_text("All options").click()
    tab.locator("#train-seed").wait_for()
    assert tab.evaluate(OVERFLOW) <= 0
