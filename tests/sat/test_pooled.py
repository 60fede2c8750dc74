"""Over all answers, by columns, and for one class on every picture."""

from __future__ import annotations

import csv

import pytest
from toy import toy_classifier, toy_options, write_toy

from core.data import open_dataset
from core.errors import UserError
from core.sat.report import build_report
from core.sat.saved_report import open_report


@pytest.fixture(scope="module")
def by_hospital(tmp_path_factory):
    """The toy world, with a hospital for each picture; every answer rests on what its class shows."""
    folder = write_toy(tmp_path_factory.mktemp("toy"))
    lines = list(csv.DictReader((folder / "manifest.csv").open()))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*lines[0], "hospital"])
        writer.writeheader()
        writer.writerows({**line, "hospital": "north" if n % 4 < 2 else "south"} for n, line in enumerate(lines))
    return open_dataset(folder)


@pytest.fixture(scope="module")
def report(by_hospital, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report"
    list(build_report(by_hospital, toy_classifier(), out, toy_options(by=("hospital",))))
    return open_report(out)


def entry(report, segment, value=""):
    (found,) = [e for e in report.manifest["pooled"] if (e["segment"], e["value"]) == (segment, value)]
    return found


@pytest.mark.slow
def test_all_answers_and_each_hospital_are_judged(report):
    overall = entry(report, "mark")
    assert overall["verdict"] == "confirmed"
    assert overall["sentence"].startswith("Over all answers, the model relies on mark (48 pictures, 1 class): ")
    assert overall["necessity"]["mean"][0] == pytest.approx(report.effects(1, "mark").query(
        "test == 'necessity' and fill == 'mean'")["effect"].mean(), rel=1e-6)  # fmt: skip
    assert entry(report, "sky")["answers"] == 2
    parts = [entry(report, "mark", value) for value in ("north", "south")]
    assert sum(part["pictures"] for part in parts) == overall["pictures"]
    assert all(part["verdict"] == "confirmed" for part in parts)
    assert "Where hospital is north" in parts[0]["sentence"]
    for one in report.manifest["pooled"]:
        for explainer, (middle, low, high) in one["density"].items():
            assert low <= middle <= high, explainer


def test_columns_that_are_none(by_hospital, tmp_path):
    for name, told in (("hospitel", "did you mean 'hospital'"), ("doctor", "no column 'doctor'")):
        with pytest.raises(UserError, match=told):
            list(build_report(by_hospital, toy_classifier(), tmp_path / "out", toy_options(by=(name,))))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_one_class_is_asked_of_every_picture(by_hospital, tmp_path):
    list(build_report(by_hospital, toy_classifier(), tmp_path / "out", toy_options(target=1)))
    found = open_report(tmp_path / "out")
    assert found.manifest["targets"] == [1]
    assert set(found.pictures["target"]) == {1}
    assert set(found.pictures["prediction"]) == {0, 1}
    marks = {(e["target"], e["segment"]): e for e in found.findings}
    assert marks["stamped", "mark"]["verdict"] == "confirmed"
    # what is redder speaks for the other class: gone, the picture is more "stamped"
    assert marks["stamped", "object"]["necessity"] < 0
    assert marks["stamped", "object"]["pictures"] == len(by_hospital)
