"""`satchel name-unnamed`."""

from __future__ import annotations

import json

import pytest
from toy import SEGMENTS, toy_classifier, toy_options, write_toy

from core.data import open_dataset
from core.sat.report import build_report


@pytest.mark.slow
def test_galleries_are_listed_and_one_is_named(satchel, tmp_path):
    folder = write_toy(tmp_path / "data", count=24)
    known = {value: told for value, told in SEGMENTS.items() if told["name"] not in ("mark", "sky")}
    (folder / "segments.json").write_text(json.dumps(known))
    for _ in build_report(open_dataset(folder), toy_classifier(), tmp_path / "r", toy_options(check=False)):
        pass
    shown = satchel("name-unnamed", tmp_path / "r")
    assert shown.code == 0
    assert (
        "1  too few: Something nobody named holds 100% of what their maps count for it in 12 of 12 pictures"
        in shown.out
    )
    given = ("--gallery", "1", "--as", "mark", "--kind", "context", "--out", tmp_path / "store")
    done = satchel("name-unnamed", tmp_path / "r", *given)
    assert done.code == 0
    assert "mark is named in 12 pictures" in done.out
    named = open_dataset(folder, segments=tmp_path / "store").items[1].segments()
    assert {one.name: one.kind for one in named}["mark"] == "context"
    assert satchel("name-unnamed", tmp_path / "r", "--gallery", "9", "--as", "mark", "--out", tmp_path / "s").code == 2


def test_a_report_without_any_says_so(satchel, toy_report):
    assert "No recurring thing" in satchel("name-unnamed", toy_report.path).out
