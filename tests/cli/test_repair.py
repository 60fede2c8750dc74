"""`satchel repair` as it is typed."""

from __future__ import annotations

import json
import shutil

import pytest

from core.paths import assets_dir

REPORT = assets_dir() / "reports" / "demo-biased"


def test_findings_are_listed_with_their_numbers(satchel):
    done = satchel("repair", REPORT)
    assert done.code == 0
    assert done.out.startswith("1  The model relies on watermark for kingfisher")
    assert "--finding N" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--finding", "99"], "There is no finding 99"),
        (["--finding", "1", "--model", "demo:repaired"], "another model"),
        (["--finding", "1", "--data", "nowhere"], "nowhere"),
        (["--finding", "1", "--learn", "demo:fish"], "demo:fish"),
        (["--finding", "0"], "greater than or equal to 1"),
    ],
)
def test_mistakes_end_in_one_sentence(satchel, tmp_path, words, told):
    done = satchel("repair", REPORT, *words, "--out", tmp_path / "out")
    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_no_report_is_told(satchel, tmp_path):
    done = satchel("repair", tmp_path / "none", "--finding", "1")
    assert done.code == 2
    assert "satchel report" in done.err


def test_pictures_that_were_moved_are_asked_for(satchel, tmp_path):
    moved = tmp_path / "report"
    shutil.copytree(REPORT, moved)
    manifest = json.loads((moved / "manifest.json").read_text())
    manifest["made_from"]["data"] = "gone/pictures"
    (moved / "manifest.json").write_text(json.dumps(manifest))
    done = satchel("repair", moved, "--finding", "1", "--out", tmp_path / "out")
    assert done.code == 2
    assert "say where they are with --data" in done.err
    assert done.err.count("\n") == 1
