"""The Segments tab in a browser: choosing, cutting, naming, reviewing; reloads, two visitors, and names that bite."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from core.images import Picture
from core.segments.sam.model import Answer
from tests.dashboard.conftest import Served, Visit, Visits

pytestmark = pytest.mark.browser


class RoundSam:
    """Answers every prompt with discs round the last click, or with the box."""

    source = "sam:round"

    def predict(self, picture: Picture, points: Any, labels: Any, box: Any, previous: Any) -> Answer:
        height, width = picture.size
        ys, xs = np.mgrid[:height, :width]
        if 0 in labels:
            raise UserError("Nothing is left of that mask; click somewhere else.")
        if box is not None:
            left, top, right, bottom = box
            masks = [(xs >= left) & (xs < right) & (ys >= top) & (ys < bottom)]
        else:
            x, y = points[-1]
            masks = [(xs - x) ** 2 + (ys - y) ** 2 < radius**2 for radius in (6, 12)]
        scores = (0.9, 0.8)[: len(masks)]
        return Answer(np.stack(masks), scores, np.zeros((len(masks), 8, 8), np.float32))


@pytest.fixture(autouse=True)
def round_sam(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SAM that costs nothing, and a new folder for what is saved."""
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(served.page.segmenters, "sam", lambda spec, progress=None: RoundSam())


def open_segments(visit: Visit) -> Any:
    visit.tab.get_by_role("tab", name="Segments").click()
    visit.tab.locator(".panel .list").wait_for()
    visit.tab.wait_for_function("document.querySelector('.stage .picture').naturalWidth > 0")
    return visit.tab


def at(tab: Any, x: float, y: float, **options: Any) -> None:
    """Click on the picture, x and y in [0, 1]."""
    frame = tab.locator(".masks-over").bounding_box()
    tab.locator(".masks-over").click(position={"x": x * frame["width"], "y": y * frame["height"]}, **options)


def says(tab: Any, words: str) -> None:
    tab.locator(".say", has_text=words).wait_for()


def cut(tab: Any, x: float, y: float) -> None:
    """Cut and keep the disc round a place."""
    tab.locator("button[data-mode=cut]").click()
    at(tab, x, y)
    tab.locator(".keep").click()
    says(tab, "cut a mask")


def second(tab: Any) -> Any:
    """Bring the picture without masks into view."""
    tab.locator("#segments-strip button[data-do=open]").nth(1).click()
    tab.locator("#segments-strip li").nth(1).and_(tab.locator("[aria-current]")).wait_for()
    tab.locator(".panel .count", has_text="0 masks").wait_for()
    return tab


@pytest.mark.slow
def test_a_mask_is_chosen_by_its_pixel_and_told(visit: Visit) -> None:
    tab = open_segments(visit)
    at(tab, 0.5, 0.5)
    tab.locator(".told", has_text="from a file").wait_for()
    assert tab.locator(".panel .list [aria-pressed=true]").count() == 1
    at(tab, 0.05, 0.9, modifiers=["Shift"])
    tab.locator(".told", has_text="2 masks").wait_for()
    tab.keyboard.press("Escape")
    tab.locator(".told", has_text="Click on a mask").wait_for()


def test_cut_name_undo_and_a_reload_loses_nothing(visit: Visit) -> None:
    tab = second(open_segments(visit))
    tab.locator("button[data-mode=cut]").click()
    at(tab, 0.5, 0.5)
    tab.locator(".which", has_text="1 of 2").wait_for()
    tab.locator(".which").click()
    tab.locator(".which", has_text="2 of 2").wait_for()
    tab.locator(".keep").click()
    says(tab, "cut a mask")
    tab.locator(".told", has_text="sam:round").wait_for()
    tab.locator(".panel .name").fill("wing")
    tab.keyboard.press("Enter")
    says(tab, "named 1 mask wing")
    tab.get_by_test_id("naming-progress").filter(has_text="2 of 2 named").wait_for()
    tab.reload()
    tab = second_view(open_segments(visit), "1 mask")
    assert tab.locator(".panel .list").inner_text().startswith("wing")
    tab.locator("button[data-do=undo]").click()
    says(tab, "took back: named 1 mask wing")
    tab.locator("button[data-do=redo]").click()
    says(tab, "named 1 mask wing")


def second_view(tab: Any, count: str) -> Any:
    tab.locator("#segments-strip button[data-do=open]").nth(1).click()
    tab.locator(".panel .count", has_text=count).wait_for()
    return tab


def test_keys_do_what_the_buttons_do(visit: Visit) -> None:
    tab = second(open_segments(visit))
    cut(tab, 0.2, 0.5)
    cut(tab, 0.8, 0.5)
    tab.keyboard.press("v")
    at(tab, 0.2, 0.5)
    at(tab, 0.8, 0.5, modifiers=["Shift"])
    tab.keyboard.press("m")
    says(tab, "merged 2 masks")
    tab.keyboard.press("s")
    says(tab, "split a mask")
    tab.keyboard.press("n")
    tab.keyboard.type("foot")
    tab.keyboard.press("Enter")
    says(tab, "named 2 masks foot")
    tab.keyboard.press("Escape")  # out of the field
    tab.keyboard.press("Delete")
    says(tab, "deleted 2 masks")
    tab.keyboard.press("u")
    says(tab, "took back: deleted 2 masks")
    tab.keyboard.press("]")
    tab.locator("#segments-strip li").first.and_(tab.locator("[aria-current]")).wait_for()


def test_a_box_is_drawn_and_what_cannot_be_done_is_said(visit: Visit) -> None:
    tab = second(open_segments(visit))
    tab.locator("button[data-mode=cut]").click()
    frame = tab.locator(".masks-over").bounding_box()
    tab.mouse.move(frame["x"] + 0.2 * frame["width"], frame["y"] + 0.2 * frame["height"])
    tab.mouse.down()
    tab.mouse.move(frame["x"] + 0.7 * frame["width"], frame["y"] + 0.8 * frame["height"], steps=4)
    tab.mouse.up()
    tab.locator(".keep").wait_for()
    at(tab, 0.5, 0.5, modifiers=["Alt"])
    says(tab, "Nothing is left of that mask")
    tab.locator(".keep").click()  # the box is still there
    says(tab, "cut a mask")
    tab.locator(".told", has_text="30 % of the picture").wait_for()


def test_a_name_is_data_whatever_it_says(visit: Visit) -> None:
    tab = second(open_segments(visit))
    cut(tab, 0.5, 0.5)
    for name in ("<img src=x onerror=alert(1)>", 'a/b "c" \N{BIRD}'):
        tab.locator(".panel .name").fill(name)
        tab.keyboard.press("Enter")
        tab.locator(".panel .list", has_text=name).wait_for()
    tab.locator(".panel .name").evaluate(
        "(field) => { field.removeAttribute('maxlength'); field.value = 'x'.repeat(10000); }"
    )
    tab.locator(".naming button").click()
    says(tab, "shorten it")


def test_two_visitors_see_each_other(visits: Visits) -> None:
    one, two = second(open_segments(visits())), second(open_segments(visits()))
    cut(one, 0.2, 0.5)
    cut(two, 0.8, 0.5)
    two.locator(".panel .count", has_text="2 masks").wait_for()
    one.locator("button[data-mode=choose]").click()
    one.locator("button[data-do=undo]").click()  # of what two did last: it is brought into view first, and said
    says(one, "press")
    one.locator(".panel .count", has_text="2 masks").wait_for()
    one.locator("button[data-do=undo]").click()
    one.locator(".panel .count", has_text="1 mask").wait_for()


def test_superpixels_names_that_spread_and_answers(visit: Visit) -> None:
    tab = second(open_segments(visit))
    tab.get_by_label("Superpixels").check()
    tab.locator("#parameters-superpixels").wait_for()
    tab.locator("#segments-cut").click()
    tab.locator("#cutting-status", has_text="Cut into").wait_for()
    tab.locator("#segments-propose").click()
    tab.locator("#naming-status", has_text="1 picture with proposed names").wait_for()
    tab.get_by_test_id("naming-progress").filter(has_text="1 with proposals").wait_for()
    tab.locator("#segments-review").click()
    left = tab.get_by_test_id("review-left")
    left.wait_for()
    before = left.inner_text()
    tab.locator(".questions .yes").first.click()
    tab.wait_for_function("(was) => document.querySelector('[data-testid=review-left]').innerText !== was", arg=before)
    says(tab, "accepted")
    tab.locator(".questions button", has_text="None").first.click()
    says(tab, "left a mask without a name")
    tab.get_by_text("Take the last answer back").click()
    says(tab, "took an answer back")
    keys = "all => all.map(one => one.dataset.key)"
    asked = tab.locator(".questions input").evaluate_all(keys)
    tab.locator(".questions input").nth(1).fill("quite new")
    tab.locator(".questions input").nth(1).press("Enter")
    says(tab, "quite new")
    after = tab.locator(".questions input").evaluate_all(keys)
    assert [asked[0], *asked[2:]] == [after[0], *after[2:]]  # what was not answered stays where it is
    assert asked[1] not in after


def test_everything_can_be_taken_along(visit: Visit, tmp_path: Path) -> None:
    tab = second(open_segments(visit))
    cut(tab, 0.5, 0.5)
    tab.locator("#segments-export").click()
    with tab.expect_download() as download:
        tab.locator("#segments-file").click()
    download.value.save_as(tmp_path / "segments.zip")
    with zipfile.ZipFile(tmp_path / "segments.zip") as archive:
        document = json.loads(archive.read("annotations.json"))
    assert len(document["images"]) == 2
    assert len(document["annotations"]) == 3


def test_it_fits_a_narrow_dark_page(visits: Visits) -> None:
    tab = open_segments(visits("dark", 420))
    assert tab.evaluate("document.documentElement.scrollWidth") <= 420
    at(tab, 0.5, 0.5)
    tab.locator(".told", has_text="from a file").wait_for()
