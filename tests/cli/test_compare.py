"""`satchel compare` on reports that come along."""

from __future__ import annotations

import json

import pytest

from core.paths import assets_dir


@pytest.mark.slow
def test_before_and_after_a_repair(satchel, tmp_path):
    first, second = (assets_dir() / "reports" / f"demo-{name}" for name in ("biased", "repaired"))
    done = satchel("compare", first, second, "--out", tmp_path / "all.json")
    assert done.code == 0
    assert "Accuracy on the 400 pictures of both: +1." in done.out
    told = json.loads((tmp_path / "all.json").read_text())
    leading = told["entries"][0]
    assert (leading["target"], leading["segment"]) == ("kingfisher", "watermark")
    assert leading["verdicts"][0] == "confirmed"
    assert leading["verdicts"][1] != "confirmed"
    assert leading["differences"]["sufficiency"]["transplant"][2] < -10
    assert leading["sentence"].partition("; ")[2][:20] in " ".join(done.out.split())


def test_what_is_no_report_is_told(satchel, tmp_path):
    done = satchel("compare", assets_dir() / "reports" / "demo-biased", tmp_path / "none")
    assert done.code == 2
    assert "satchel report" in done.err
