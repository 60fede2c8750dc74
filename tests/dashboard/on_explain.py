"""What a person does on the Explain tab in a real browser, and waits for."""

from __future__ import annotations

from time import sleep
from typing import Any

from tests.dashboard.conftest import Served


def choose_only(tab: Any, *titles: str) -> None:
    """Unfold the list, tick these explainers and no others."""
    if "more" in tab.locator("#fold").inner_text():
        tab.locator("#fold").click()
        tab.locator("#fold", has_text="Fewer").wait_for()
    for label in tab.locator("#explainers label").all():
        wanted = label.inner_text().strip() in titles
        if label.locator("input").is_checked() != wanted:
            label.click()
    tab.wait_for_function(
        "count => document.querySelectorAll('figure[data-testid^=map-]').length === count", arg=len(titles)
    )


def map_of(tab: Any, explainer: str) -> Any:
    return tab.get_by_test_id(f"map-{explainer}")


def wait_for_state(tab: Any, explainer: str, state: str) -> None:
    tab.locator(f"[data-testid=map-{explainer}][data-state={state}]").wait_for()


def explain(tab: Any, *explainers: str) -> None:
    tab.locator("#explain").click()
    for explainer in explainers:
        wait_for_state(tab, explainer, "finished")


# A slider that was just unfolded is drawn with its old number once more, over whatever was typed in that instant: type
# until slider and box have both kept the number for some frames.
TYPED = """([id, wanted]) => {
  const box = document.querySelector(`#${id} input[type=number]`);
  const slider = document.querySelector(`#${id} input[type=range]`);
  if (!box || !slider) return false;
  if (box.value === wanted && slider.value === wanted) return (box.frames = (box.frames ?? 0) + 1) > 5;
  box.frames = 0;
  box.value = wanted;
  box.dispatchEvent(new Event('input', {bubbles: true}));
  return false;
}"""


def set_slider(tab: Any, element: str, value: float) -> None:
    """Type into the slider's number, which is what releasing the handle also ends in."""
    box = tab.locator(f"#{element} input[type=number]")
    box.focus()
    tab.wait_for_function(TYPED, arg=[element, str(value)])
    box.press("Enter")
    box.blur()


def upload(tab: Any, *files: str) -> None:
    tab.locator("#upload input[type=file]").set_input_files(list(files))


class slow_device:
    """Every chunk of the served page takes a little longer, so that there is something to stop.

    A small model may be done in a single chunk: whoever waits for "running" needs a second or so to see it.
    """

    def __init__(self, served: Served, seconds: float = 0.05) -> None:
        self.runner, self.seconds = served.page.runner, seconds

    def __enter__(self) -> None:
        step = type(self.runner)._step

        def slow(*args: Any) -> bool:
            sleep(self.seconds)
            return step(self.runner, *args)

        self.runner._step = slow

    def __exit__(self, *_: object) -> None:
        del self.runner._step
