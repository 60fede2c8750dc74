"""`satchel repair` as it is typed."""

from __future__ import annotations

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
