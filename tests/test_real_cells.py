"""The whole chain on real pictures: fine-tune on white blood cells, then report on them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.finetune import Result, finetune
from core.data import open_dataset
from core.sat.saved_report import open_report
from dashboard.cli.main import app

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def cells(data, tmp_path_factory) -> tuple[Path, Result]:
    """SqueezeNet after a few seconds of training on a part of the cells, and how it scored."""
    start = f"torchvision:squeezenet1_1@{data / 'weights' / 'squeezenet1_1.pth'}"
    path = tmp_path_factory.mktemp("cells") / "cells.safetensors"
    return path, finetune(open_dataset(data / "wbc", limit=200), start, path, epochs=8, size=96)


@pytest.mark.slow
def test_a_short_fine_tuning_tells_cells_apart_better_than_by_chance(cells):
    assert cells[1].balanced_accuracy > 0.6


@pytest.mark.slow
def test_a_report_on_real_cells_with_their_masks(cells, data, tmp_path):
    words = ["report", str(data / "wbc"), "--model", f"torchvision:squeezenet1_1@{cells[0]}", "--limit", "48"]
    words += ["--explainer", "integrated-gradients:samples=8", "--out", str(tmp_path / "report")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    report = open_report(tmp_path / "report")
    assert report.manifest["pictures"] == 48
    assert report.manifest["accuracy"] > 0.5
    assert {s["name"]: s["kind"] for s in report.manifest["segments"]} == {
        "background": "context",
        "cytoplasm": "unset",
        "nucleus": "unset",
    }
    rows = report.rows()
    # three segments that cover the picture without overlap: what lies on them is the whole map
    whole = rows.groupby("image")["share"].sum()
    assert whole.between(0.98, 1.02).all()
    assert rows["visible"].min() == pytest.approx(1.0)
    neutrophils = [f for f in report.findings if f["target"] == "neutrophil"]
    assert {f["segment"] for f in neutrophils} == {"background", "cytoplasm", "nucleus"}
    for finding in neutrophils:
        assert finding["pictures"] >= 20
        assert all(math.isfinite(value) for triple in finding["fills"].values() for value in triple)
    assert json.loads((tmp_path / "report" / "manifest.json").read_text())["problem_count"] == 0
