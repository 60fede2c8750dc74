"""A learned explainer is one like any other: in reports on named segments, in evaluations, and in other processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.choice import Choice
from core.data import open_dataset
from core.errors import UserError
from core.evaluation.evaluate import EvaluationOptions, Yardstick, evaluate
from core.evaluation.saved_evaluation import open_evaluation
from core.sat.report import build_report
from core.sat.saved_report import open_report
from tests.toy import toy_classifier, toy_options
from tests.trained import write_explainer, write_masker


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of explainers for the toy, on patches and on segments, where Satchel looks."""
    monkeypatch.setenv("SATCHEL_EXPLAINERS", str(tmp_path / "explainers"))
    for players in ("patches", "segments"):
        write_explainer(toy_classifier(), tmp_path / "explainers" / f"{players}.safetensors", players)
    return tmp_path / "explainers"


def test_a_report_takes_it_on_patches_and_on_segments(toy_data: Path, tmp_path: Path, trained: Path) -> None:
    choices = (Choice.parse("salvage"), Choice.parse("salvage:regions=segments"))
    data, out = open_dataset(toy_data, limit=24), tmp_path / "report"
    for _ in build_report(data, toy_classifier(), out, toy_options(explainers=choices, check=False)):
        pass
    report = open_report(out)
    told = report.manifest["explainers"]
    assert [one["name"] for one in told] == ["salvage", "salvage"]
    files = [one["weights"]["file"] for one in told]
    assert files == [str(trained / "patches.safetensors"), str(trained / "segments.safetensors")]
    rows = report.rows()
    assert set(rows["explainer"]) == {"salvage", "salvage:regions=segments"}
    assert rows["mean"].abs().max() > 0
    write_explainer(toy_classifier(), trained / "patches.safetensors", seed=5)
    with pytest.raises(UserError, match="other settings"):
        for _ in build_report(data, toy_classifier(), out, toy_options(explainers=choices, check=False)):
            pass


def test_masks_of_a_copy_are_no_evidence_in_a_report(toy_data: Path, tmp_path: Path) -> None:
    data, classifier = open_dataset(toy_data, limit=12), toy_classifier()
    joint = write_masker(classifier, tmp_path / "joint.safetensors", regime="joint")
    fixed = write_masker(classifier, tmp_path / "fixed.safetensors")
    options = toy_options(explainers=(Choice.parse(f"masking@{joint}"),), check=False)
    with pytest.raises(UserError, match="explain the copy that learned along"):
        build_report(data, classifier, tmp_path / "report", options)
    for _ in build_report(
        data, classifier, tmp_path / "report", toy_options(explainers=(Choice.parse(f"masking@{fixed}"),), check=False)
    ):
        pass
    assert set(open_report(tmp_path / "report").rows()["explainer"]) == {f"masking@{fixed}"}


def test_an_evaluation_judges_it_and_shuffles_its_head(toy_data: Path, tmp_path: Path, trained: Path) -> None:
    data, out = open_dataset(toy_data, limit=12), tmp_path / "evaluation"
    yardsticks = tuple(map(Yardstick.parse, ("randomisation", "deletion:steps=8")))
    options = EvaluationOptions((Choice("salvage"),), yardsticks)
    for _ in evaluate(data, toy_classifier(), out, options):
        pass
    found = {(e["metric"], e["explainer"]): e for e in open_evaluation(out).leaderboard}
    assert found["randomisation", "salvage"]["mean"] < 0.95
    assert found["deletion:steps=8", "salvage"]["passes"] == 1
