"""The Explain tab in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from PIL import Image

from dashboard.palette import ordered
from tests.dashboard.conftest import Served, Visit, Visits, open_explain, photo, save

pytestmark = pytest.mark.browser


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


def test_bad_files_end_in_a_message_and_good_ones_stay(visit: Visit, tmp_path: Path) -> None:
    tab = visit.tab
    good = save(tmp_path, "good.png", photo(seed=3))
    text, empty, cut = tmp_path / "text.jpg", tmp_path / "empty.png", tmp_path / "cut.png"
    text.write_text("no picture")
    empty.write_bytes(b"")
    cut.write_bytes(Path(good).read_bytes()[:200])
    upload(tab, str(text), good, str(empty), str(cut))
    tab.locator("#prediction").get_by_text("good.png").wait_for()
    toasts = tab.locator(".toast-wrap")
    for sentence in ("text.jpg is not a picture", "empty.png is empty", "cut.png is damaged"):
        toasts.get_by_text(sentence).first.wait_for()
    assert tab.locator(".strip li").count() == 3


def test_a_copy_of_a_picture_is_told_and_stands_there_once(visit: Visit, tmp_path: Path) -> None:
    tab = visit.tab
    upload(tab, save(tmp_path, "one.png", photo(seed=21)), save(tmp_path, "copy.png", photo(seed=21)))
    tab.locator(".toast-wrap").get_by_text("the very same picture").first.wait_for()
    tab.wait_for_function("document.querySelectorAll('.strip li').length === 3")


def test_odd_pictures_and_names_are_shown(visit: Visit, tmp_path: Path) -> None:
    tab = visit.tab
    dot = save(tmp_path, "dot.png", Image.new("RGB", (1, 1), "red"))
    odd = save(tmp_path, "<b>${x}{{y}} & z.png", photo(seed=5))
    upload(tab, dot, odd)
    tab.wait_for_function("document.querySelectorAll('.strip li').length === 4")
    names = [image.get_attribute("alt") for image in tab.locator(".strip img").all()]
    assert "dot.png" in names
    assert any("z.png" in (name or "") for name in names)
    assert tab.locator(".strip b").count() == 0
    choose_only(tab, "Gradient")
    tab.locator(".strip button[title='dot.png']").click()
    tab.locator("#prediction").get_by_text("dot.png").wait_for()
    explain(tab, "gradient")


def test_paste_adds_a_picture(visit: Visit) -> None:
    tab = visit.tab
    tab.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement('canvas'), {width: 50, height: 40});
          canvas.getContext('2d').fillRect(5, 5, 20, 20);
          const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
          const data = new DataTransfer();
          data.items.add(new File([blob], 'pasted.png', {type: 'image/png'}));
          document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));
        }"""
    )
    tab.locator("#prediction").get_by_text("pasted.png").wait_for()


def test_a_picture_can_be_removed_and_a_reload_keeps_the_rest(visit: Visit, tmp_path: Path) -> None:
    tab = visit.tab
    upload(tab, *(save(tmp_path, f"p{seed}.png", photo(seed=seed)) for seed in (11, 12)))
    tab.wait_for_function("document.querySelectorAll('.strip li').length === 4")
    choose_only(tab, "Gradient")
    explain(tab, "gradient")
    tab.locator(".strip button[aria-label='Remove p12.png']").click()
    tab.wait_for_function("document.querySelectorAll('.strip li').length === 3")
    tab.locator(".strip button[title='p11.png']").click()
    tab.locator("#prediction").get_by_text("p11.png").wait_for()
    explain(tab, "gradient")
    tab.reload()
    open_explain(tab)
    visit.errors.clear()  # Gradio logs the streams that the reload cut
    wait_for_state(tab, "gradient", "finished")
    tab.wait_for_function("document.querySelectorAll('.strip li').length === 3")  # painted on its own
    assert tab.locator("#explainers input:checked").count() == 1


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


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1400])
def test_nothing_runs_off_the_page(visits: Visits, theme: str, width: int) -> None:
    tab = visits(theme, width).tab
    choose_only(tab, "Gradient", "SmoothGrad")
    explain(tab, "gradient", "smoothgrad")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("document.body.classList.contains('dark')") == (theme == "dark")


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
