"""Input of which little can be said: each says what it means for the numbers, and none clears anything."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from known_models import KINDS, world_classifier, world_item

from core.choice import Choice
from core.data import Dataset, Item
from core.errors import UserError
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import Report, open_report
from core.sat.stamps import Stamp
from dashboard.report.document import document
from dashboard.report.finished import open_finished
from dashboard.report.slide import slide
from dashboard.report.words import headline

MARKED = ("object", "A")


def on_a(present):
    return 16 * present["A"] - 8


def reported(items: list[Item], out: Path, margin=on_a, **options) -> Report:
    """A report, all of whose page can be drawn."""
    chosen = ReportOptions((Choice.parse("integrated-gradients:samples=2"),), recipients=12, **options)
    for _ in build_report(Dataset("odd", "odd", tuple(items)), world_classifier(margin), out, chosen):
        pass
    finished = open_finished(out)
    assert all(warning in document(finished) for warning in finished.manifest["warnings"] if "'" not in warning)
    assert slide(finished)
    return finished.report


def pictures(count: int, labels=lambda n: n % 2, kinds=KINDS, marked=lambda n: n % 2) -> list[Item]:
    return [world_item(n, labels(n), MARKED[: 1 + marked(n)], kinds) for n in range(count)]


def verdicts(report: Report) -> set[str]:
    return {entry["verdict"] for entry in report.findings}


def warned(report: Report, said: str) -> bool:
    return any(said in warning for warning in report.manifest["warnings"])


@pytest.mark.slow
def test_one_class_only(tmp_path):
    report = reported(pictures(40, labels=lambda n: 1, marked=lambda n: 1), tmp_path / "r")
    assert warned(report, "All 40 pictures are taken for stamped: there is no other class to paste on")
    assert "cleared" not in verdicts(report)
    sky = next(entry for entry in report.findings if entry["segment"] == "sky")
    assert "pasting could not be tested" in sky["sentence"].lower()  # nothing at all could be


@pytest.mark.slow
def test_a_class_with_one_picture(tmp_path):
    report = reported(pictures(40, labels=lambda n: int(n == 3), marked=lambda n: int(n == 3)), tmp_path / "r")
    assert verdicts(report) == {"too few", "inconclusive"}
    told = " ".join(entry["sentence"] for entry in report.findings)
    assert "Only one picture taken for stamped shows A" in told
    assert "rests on 1 picture (20 are needed)" in told


@pytest.mark.slow
def test_without_labels_and_with_a_model_that_is_always_wrong(tmp_path):
    bare = [replace(item, label=None) for item in pictures(24)]
    none = reported(bare, tmp_path / "none", check=False)
    assert none.manifest["accuracy"] is None
    assert warned(none, "The pictures have no labels")
    wrong = reported(pictures(44, labels=lambda n: 1 - n % 2), tmp_path / "wrong")
    assert wrong.manifest["accuracy"] == 0
    assert warned(wrong, "wrong on all 44 pictures that have a label")
    assert "cleared" not in verdicts(wrong)


@pytest.mark.slow
def test_nothing_marked_as_object_or_context(tmp_path):
    report = reported(pictures(44, kinds=dict.fromkeys((*MARKED, "sky"), "unset")), tmp_path / "r")
    assert warned(report, "No segment is marked as object or context")
    assert report.manifest["shortcuts"] == 0
    assert "1 confirmed on what nobody has called object or context" in headline(open_finished(report.path))[1]


@pytest.mark.slow
def test_maps_that_are_zero_and_answers_that_are_close(tmp_path):
    flat = reported(pictures(24), tmp_path / "flat", margin=lambda present: 0 * present["A"] + 0.1)
    assert warned(flat, "are zero on every picture")
    assert warned(flat, "The model's answers are not far apart (median log-odds 0.1), so that effects count from 0.01")
    assert flat.manifest["unnamed"] == []
    assert {entry["density"] for entry in flat.findings} == {None}
    assert "cleared" not in verdicts(flat)


@pytest.mark.slow
def test_a_stamp_that_is_larger_than_the_picture_and_of_one_colour(tmp_path):
    tall = np.full((300, 100, 4), 200, np.uint8)
    tall[:, :, 3] = 255
    report = reported(pictures(24), tmp_path / "r", check=False, stamps=(Stamp("tall.png", tall, 1.0),))
    assert warned(report, "tall.png would be higher than the picture: it takes up 33% of its width instead of 100%")
    assert warned(report, "tall.png is of one colour")
    assert not report.manifest["stamps"][0]["classes"][0]["confirmed"]


@pytest.mark.parametrize("kind", ["rows", "effects", "pairs"])
def test_records_that_are_gone_are_told_and_do_not_read_as_none(toy_report, tmp_path, kind):
    shutil.copytree(toy_report.path, tmp_path / "r", ignore=shutil.ignore_patterns(kind))
    report = open_report(tmp_path / "r")
    with pytest.raises(UserError, match=f"is damaged .its folder {kind} is gone"):
        report.rows(1, "mark") if kind == "rows" else report.effects(1, "mark")
