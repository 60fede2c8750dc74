"""What was noticed, summed up over the pictures and told by the report."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from toy import toy_classifier, toy_options

from core.data import Dataset, open_dataset
from core.sat.noticed import TOLD, noticed, summed
from core.sat.report import build_report
from core.sat.saved_report import open_report


def test_notes_of_a_kind_become_one_sentence():
    values = "Values without a name belong to no segment ({} pixels of 3; named are 0 and 255)."
    notes = [
        ("a.png", values.format(234)),
        ("a.png", "It was turned upright, as its camera noted."),
        ("b.png", values.format("1,000")),
        ("b.png", "Boxes without a mask were filled (2)."),
        ("c.png", "Boxes without a mask were filled (3)."),
        ("c.png", "Empty masks were left out (beak, eye (left))."),
        ("d.png", "Shapes without an area were left out (2 points, 1 polyline)."),
        ("e.png", "Shapes without an area were left out (1 points)."),
    ]
    assert summed(notes) == [
        values.format(234).replace(" (", ": 1,234 pixels in 2 pictures, first in a.png ("),
        "It was turned upright, as its camera noted: a.png.",
        "Boxes without a mask were filled: 5 in 2 pictures, first in b.png.",
        "Empty masks were left out: c.png (beak, eye (left)).",
        "Shapes without an area were left out: 2 pictures, first in d.png (2 points, 1 polyline).",
    ]
    assert summed([]) == []


def test_of_very_many_kinds_the_rest_is_counted():
    told = summed((f"{i}.png", f"Odd thing {i}.") for i in range(TOLD + 5))
    assert (len(told), told[-1]) == (TOLD + 1, "And 5 other kinds of notes.")


def test_the_model_the_data_and_names_that_no_mask_holds():
    data = Dataset("birds", "birds", (), notes=("Two were left out.",), names=("beak", "eye", "tail"))
    assert noticed(("It is grey.",), data, [], ["eye"]) == [
        "It is grey.",
        "Two were left out.",
        "Named by the files of the masks, and in no mask that the model sees: beak, tail.",
    ]
    assert noticed((), Dataset("x", "x", ()), [], ["eye"]) == []


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True])
def test_a_report_tells_what_was_noticed_of_masks_and_pictures(toy_data, tmp_path, stopped):
    folder = tmp_path / "data"
    shutil.copytree(toy_data, folder)
    for name in ("003", "005"):
        values = np.asarray(Image.open(folder / f"masks/{name}.png")).copy()
        values[20:22, :10] = 77
        Image.fromarray(values).save(folder / f"masks/{name}.png")
    Image.open(folder / "images/004.png").convert("LAB").convert("RGB").convert("CMYK").save(folder / "images/004.tif")
    (folder / "images/004.tif").rename(folder / "images/004.png")
    names = json.loads((folder / "segments.json").read_text())
    (folder / "segments.json").write_text(json.dumps(names | {"9": "ghost"}))
    options = toy_options(check=False, control_pictures=2, shard=4)

    def run():
        return build_report(open_dataset(folder, limit=72), toy_classifier(), tmp_path / "out", options)

    if stopped:
        work = run()
        for progress in work:
            if progress.stage == "explaining" and progress.done >= 16:
                work.close()
                break
    for _ in run():
        pass
    told = "40 pixels in 2 pictures, first in images/003.png (20 pixels of 77; named are 1, 2, 3, 4 and 9)."
    assert open_report(tmp_path / "out").manifest["noticed"] == [
        f"Values without a name belong to no segment: {told}",
        "It was converted from CMYK to RGB: images/004.png.",
        "Named by the files of the masks, and in no mask that the model sees: ghost.",
    ]


def test_nothing_noticed_is_an_empty_list(toy_report):
    assert toy_report.manifest["noticed"] == []
