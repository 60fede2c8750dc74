"""The pictures and charts behind a cell of the Report tab."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_parts import explainer

from core.errors import UserError
from core.sat.saved_report import PACK
from core.sat.tables import by_picture
from core.storage.pack import Pack, packing
from dashboard.report import words
from dashboard.report.finished import open_finished
from dashboard.report.pictures import behind, exhibits, exhibits_html, pasted_html, pictures_html
from dashboard.report.plots import density_figure, effect_rows, effects_figure, values_figure

# -- pictures


def test_pictures_behind_the_mark_lose_the_class_without_it_and_gain_it_where_it_is_pasted(finished):
    cell, removal, paste = exhibits(finished)
    assert cell.key == (1, "mark")
    assert removal["before_probability"] - removal["after_probability"] > 0.15
    assert paste["after_probability"] - paste["before_probability"] > 0.15
    found = behind(finished, cell)
    assert found.fills == ["inpaint", "mean"]
    assert {r["test"] for r in found.pastes} == {"sufficiency"}
    labels = finished.report.pictures.set_index("image")["label"]
    assert set(labels[found.images]) == {"stamped"}
    assert exhibits_html(finished).count("<img") == 4
    text = pictures_html(finished, cell, explainer(finished))
    assert text.count("<img") == len(found.images) * (1 + 1 + 2)
    assert "missing" not in text
    assert pasted_html(finished, cell).count("<img") == 2 * len(found.pastes)


def test_a_large_segment_is_swapped_and_said_so(finished):
    sky = finished.cells[1, "sky"]
    assert sky.swapped
    assert {r["test"] for r in behind(finished, sky).pastes} == {"sufficiency", "necessity"}
    assert "contexts are swapped" in pictures_html(finished, sky, explainer(finished))
    assert "given its sky" in pasted_html(finished, sky)


def test_missing_pictures_leave_a_box_and_the_rest(finished, copied):
    whole = Pack(copied / PACK)
    with packing(copied / PACK) as pack:
        for name in whole.names:
            if "-without-" not in name:
                pack.add(name, whole.read(name))
    report = open_finished(copied)
    report.manifest["created"] = "another time"
    text = pictures_html(report, report.cells[1, "mark"], explainer(report))
    assert "picture missing" in text
    assert "<img" in text


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/secret.png", "..", "a\\b.png"])
def test_files_outside_the_report_are_refused_when_it_is_opened(copied, name):
    index = json.loads((copied / "examples.json").read_text())
    next(iter(index["pictures"].values()))["file"] = name
    (copied / "examples.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="no name of a file in the folder"):
        open_finished(copied)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_links_out_of_the_report_and_pipes_in_it_are_never_read(copied, kind):
    report = open_finished(copied)
    report.manifest["created"] = "yet another time"
    (copied / PACK).rename(copied.parent / "elsewhere.zip")
    if kind == "link":
        (copied / PACK).symlink_to(copied.parent / "elsewhere.zip")
    else:
        os.mkfifo(copied / PACK)
    text = pictures_html(report, report.cells[1, "mark"], explainer(report))
    assert "picture missing" in text
    assert "map missing" in text
    assert "<img" not in text


# -- charts


@pytest.mark.slow
def test_charts_draw_every_test_with_its_interval_and_its_pictures(finished):
    cell = finished.cells[1, "mark"]
    rows = effect_rows(finished, cell)
    told = ["pasted elsewhere", "removed, inpaint", "removed, mean", "removed, other context gone"]
    assert [name for name, _, _ in rows] == told
    for _, found, dots in rows:
        assert found.low - 1e-6 <= found.estimate <= found.high + 1e-6
        assert dots.min() - 1e-6 <= found.estimate <= dots.max() + 1e-6
    figure = effects_figure(finished, cell, dark=False)
    assert {shape.x0 for shape in figure.layout.shapes} == {0, finished.manifest["delta"]}
    drawn = density_figure(finished, cell, dark=True)
    told = [line.split("<br>") for line in drawn.layout.yaxis.ticktext]
    assert [name for name, _ in told] == list(finished.explainers.values())
    assert [words.interval(found, 2) in numbers for found, (_, numbers) in zip(cell.density.values(), told)] == [True]
    untested = replace(cell, sufficiency=None, fills={}, joint=None, density={})
    assert effects_figure(finished, untested, False) is None
    assert density_figure(finished, untested, False) is None


# -- wrong answers


def test_a_wrong_answer_is_called_wrong(copied):
    pictures = sorted((copied / "pictures").glob("*.parquet"))
    report = open_finished(copied)
    cell = report.cells[1, "mark"]
    image = behind(report, cell).images[0]
    for file in pictures:
        table = pd.read_parquet(file)
        own = table["image"] == image
        table.loc[own, "label"], table.loc[own, "correct"] = "plain", False
        table.to_parquet(file)
    report = open_finished(copied)
    assert report.mistaken == {image}
    assert pictures_html(report, cell, explainer(report)).count("wrong: it is a plain") == 1
    pasted = [r for r in behind(report, cell).pastes if r["after_probability"] > 0.5]
    assert pasted_html(report, cell).count("wrong: it is a plain") == len(pasted) > 0


def test_every_segment_of_the_class_has_a_box_of_its_pictures_values(finished):
    cell = finished.find("1/mark")
    figure = values_figure(finished, cell, explainer(finished), False)
    rows = finished.report.rows(1)
    known = by_picture(rows[rows["explainer"] == explainer(finished)])
    names = [text.partition(" (")[0] for text in figure.layout.yaxis.ticktext]
    assert set(names) == set(known["segment"])
    for name, box in zip(names, figure.data):
        assert sorted(box.x) == pytest.approx(sorted(known.loc[known["segment"] == name, "scaled_mean"]))
    medians = [np.median(box.x) for box in figure.data]
    assert medians == sorted(medians, reverse=True)
    assert values_figure(finished, cell, "none of them", True) is None
