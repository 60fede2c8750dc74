"""A report as one picture."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dashboard.report import slide as drawing
from dashboard.report.finished import Finished
from dashboard.report.slide import SHORTCUT, SIZE, slide
from dashboard.report.words import headline, strongest_shortcut


@pytest.fixture
def written(monkeypatch) -> list[str]:
    """What is written on the slide."""
    found: list[str] = []
    real = drawing._text

    def text(draw, place, words, *rest, **more):
        found.append(words)
        return real(draw, place, words, *rest, **more)

    monkeypatch.setattr(drawing, "_text", text)
    return found


def test_it_shows_the_answer_its_tests_and_four_pictures(finished, written):
    image = Image.open(io.BytesIO(slide(finished)))
    assert image.size == SIZE
    cell = strongest_shortcut(finished)
    assert "Shortcut confirmed" in written
    assert headline(finished)[0] in written
    assert {"as it is", "map", "without it", "given to another picture"} <= set(written)
    assert {f"removed, {fill}" for fill in cell.fills} | {"pasted elsewhere"} <= set(written)
    assert image.getpixel((4, 500)) == tuple(bytes.fromhex(SHORTCUT[1:]))


def test_long_names_are_cut_and_a_report_without_cells_has_its_answer_alone(finished, written):
    long = "a name that goes on and on " * 12
    cells = {key: replace(cell, segment=long, label=long) for key, cell in finished.cells.items()}
    assert np.asarray(Image.open(io.BytesIO(slide(Finished(finished.report, cells))))).std() > 1
    written.clear()
    slide(Finished(finished.report, {}))
    assert headline(Finished(finished.report, {}))[0] in written
    assert "as it is" not in written
