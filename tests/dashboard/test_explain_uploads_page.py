"""Pictures that are brought to the Explain tab in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.dashboard.conftest import Visit, open_explain, photo, save
from tests.dashboard.on_explain import choose_only, explain, upload, wait_for_state

pytestmark = pytest.mark.browser


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
