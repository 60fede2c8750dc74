"""Evaluations of a toy model whose truth is known: who wins, by how much, and what a killed run leaves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from toy import toy_classifier

from core.choice import Choice
from core.classifier import Classifier
from core.data import open_dataset
from core.errors import UserError
from core.evaluation.evaluate import EvaluationOptions, Yardstick, evaluate, so_far
from core.evaluation.leaderboard import leaderboard, paired_difference, surely_behind, too_few, warnings
from core.evaluation.saved_evaluation import open_evaluation
from core.explainer import controls
from core.paths import assets_dir
from core.preprocessing import Preprocessing
from tests.conftest import small_classifier


def options(explainers: list[str], metrics: list[str], **more: object) -> EvaluationOptions:
    return EvaluationOptions(
        contenders=tuple(map(Choice.parse, explainers)),
        yardsticks=tuple(map(Yardstick.parse, metrics)),
        shard=4, batch=2, **more,
    )  # fmt: skip


USUAL = options(["integrated-gradients:samples=4", "smoothgrad:samples=4"], ["insertion:steps=6", "relevance-mass"])


@pytest.fixture(scope="module")
def finished(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation") / "e"
    for _ in evaluate(open_dataset(toy_data, limit=12), toy_classifier(), out, USUAL):
        pass
    return out


@pytest.mark.slow
def test_a_finished_evaluation_holds_every_score(finished: Path) -> None:
    found = open_evaluation(finished)
    names = {"integrated-gradients:samples=4", "smoothgrad:samples=4", *controls()}
    assert set(found.scores["explainer"]) == names
    assert len(found.scores) == 12 * len(names) * 2
    assert len(found.costs) == 12 * len(names)
    assert {(e["metric"], e["explainer"]) for e in found.leaderboard} == {
        (m, n) for m in ("insertion:steps=6", "relevance-mass") for n in names
    }
    costs = found.costs.set_index("explainer")
    assert (costs.loc["smoothgrad:samples=4", "forward_passes"] == 4).all()
    assert costs.loc["smoothgrad:samples=4", "alignment"].notna().all()
    assert costs.loc["edges", "alignment"].isna().all()
    assert found.manifest["scorer"] == found.manifest["model"]
    assert found.manifest["pictures"] == 12


@pytest.mark.slow
def test_the_leaderboard_is_the_mean_of_the_scores(finished: Path) -> None:
    found = open_evaluation(finished)
    for entry in found.leaderboard:
        of = found.scores.query("metric == @entry['metric'] and explainer == @entry['explainer']")["value"]
        assert entry["mean"] == pytest.approx(of.mean(), rel=1e-6)
        assert entry["low"] <= entry["mean"] <= entry["high"]
        assert entry["pictures"] == of.notna().sum()
        assert entry["best"] == (entry["behind"] is None)


def test_the_true_explainer_beats_the_controls_where_the_truth_is_known(finished: Path) -> None:
    """The toy leans on a mark that is not context's; see tests/toy.py."""
    board = {(e["metric"], e["explainer"]): e["mean"] for e in open_evaluation(finished).leaderboard}
    for control in ("random", "centre"):
        assert board["insertion:steps=6", "integrated-gradients:samples=4"] > board["insertion:steps=6", control]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same(toy_data: Path, finished: Path, tmp_path: Path) -> None:
    data, out = open_dataset(toy_data, limit=12), tmp_path / "e"
    run = evaluate(data, toy_classifier(), out, USUAL)
    while not list((out / "scores").glob("*.parquet")):
        next(run)
    run.close()  # ty: ignore[missing-attribute]
    with pytest.raises(UserError, match="half written"):
        open_evaluation(out)
    kept = {path: path.stat().st_mtime_ns for path in (out / "scores").glob("*.parquet")}
    for _ in evaluate(data, toy_classifier(), out, USUAL):
        pass
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    mine, theirs = open_evaluation(out).scores, open_evaluation(finished).scores
    pd.testing.assert_frame_equal(mine, theirs, rtol=1e-4, atol=1e-5)
    assert [p.stage for p in evaluate(data, toy_classifier(), out, USUAL)] == ["finished before"]
    with pytest.raises(UserError, match="other settings"):
        list(evaluate(data, toy_classifier(), out, replace(USUAL, seed=1)))


def test_two_settings_of_one_explainer_stand_side_by_side(toy_data: Path, tmp_path: Path) -> None:
    both = options(["smoothgrad:samples=2", "smoothgrad:samples=3"], ["sparseness"])
    for _ in evaluate(open_dataset(toy_data, limit=2), toy_classifier(), tmp_path / "e", both):
        pass
    assert {"smoothgrad:samples=2", "smoothgrad:samples=3"} <= set(open_evaluation(tmp_path / "e").scores["explainer"])


def test_a_metric_that_needs_masks_says_which_picture_has_none(toy_data: Path, tmp_path: Path) -> None:
    for path in (toy_data).rglob("*.png"):
        if "mask" not in path.parts and "masks" not in path.parts:
            (tmp_path / "bare").mkdir(exist_ok=True)
            (tmp_path / "bare" / path.name).write_bytes(path.read_bytes())
            break
    with pytest.raises(UserError, match="has no masks, which relevance-mass needs"):
        list(evaluate(open_dataset(tmp_path / "bare"), toy_classifier(), tmp_path / "e", USUAL))


@pytest.mark.parametrize(("classes", "frame", "said"), [(4, (32, 32), "4 classes"), (2, (24, 24), "24 x 24 pixels")])
def test_a_scorer_that_does_not_fit_is_refused_before_a_folder_is_made(
    toy_data: Path, tmp_path: Path, classes: int, frame: tuple[int, int], said: str
) -> None:
    quick = options(["gradient"], ["sparseness"], scorer=small_classifier("cnn", classes, frame))
    with pytest.raises(UserError, match=said):
        list(evaluate(open_dataset(toy_data, limit=1), toy_classifier(), tmp_path / "e", quick))
    assert not (tmp_path / "e").exists()


@pytest.mark.slow
def test_a_running_evaluation_can_be_looked_at(toy_data: Path, tmp_path: Path) -> None:
    data, quick = open_dataset(toy_data, limit=6), options(["gradient"], ["sparseness"])
    run = evaluate(data, toy_classifier(), tmp_path / "e", quick)
    next(run)
    assert so_far(data, toy_classifier(), tmp_path / "e", quick) is None
    while not list((tmp_path / "e" / "scores").glob("*.parquet")):
        next(run)
    found = so_far(data, toy_classifier(), tmp_path / "e", quick)
    assert found is not None
    assert found.manifest["pictures"] == 4
    for _ in run:
        pass
    whole = so_far(data, toy_classifier(), tmp_path / "e", quick)
    assert whole is not None
    assert whole.leaderboard == open_evaluation(tmp_path / "e").leaderboard


def test_bad_pictures_are_left_out_and_told(toy_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "bad.png").write_bytes(b"no picture")
    good = next(path for path in toy_data.rglob("*.png") if "mask" not in str(path.relative_to(toy_data)))
    (folder / "good.png").write_bytes(good.read_bytes())
    quick = options(["gradient"], ["sparseness"])
    for _ in evaluate(open_dataset(folder), toy_classifier(), tmp_path / "e", quick):
        pass
    manifest = open_evaluation(tmp_path / "e").manifest
    assert (manifest["pictures"], manifest["problem_count"]) == (1, 1)
    assert "bad.png" in manifest["problems"][0]["problem"]
    (folder / "good.png").unlink()
    with pytest.raises(UserError, match="could be scored"):
        list(evaluate(open_dataset(folder), toy_classifier(), tmp_path / "f", quick))


class BreaksOnBlack(nn.Module):
    """Not a number for a black picture."""

    def __init__(self) -> None:
        super().__init__()
        self.meter = nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.meter(x).mean((2, 3)) / x.mean((1, 2, 3), keepdim=True).flatten(1).sign()


def test_a_picture_on_which_the_model_breaks_is_left_out_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, colour in (("black", 0), ("grey", 90), ("white", 250)):
        drawn = np.full((24, 24, 3), colour, np.uint8)
        drawn[:8] += np.uint8(5 if colour else 0)
        Image.fromarray(drawn).save(folder / f"{name}.png")
    preprocessing = Preprocessing(resize=(24, 24), crop=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    model = Classifier(BreaksOnBlack(), preprocessing=preprocessing, name="breaks", device="cpu")
    for _ in evaluate(open_dataset(folder), model, tmp_path / "e", options(["gradient"], ["sparseness"])):
        pass
    manifest = open_evaluation(tmp_path / "e").manifest
    assert (manifest["pictures"], manifest["problem_count"]) == (2, 1)
    assert "black.png" in manifest["problems"][0]["image"]


def test_parameters_that_do_not_go_together_are_told_before_anything_is_made() -> None:
    for settings, said in (("samples=1", "at least 2 samples"), ("tolerance=0.1", "cannot stop at a tolerance")):
        with pytest.raises(UserError, match=said):
            options([f"smoothgrad:reduction=variance,{settings}"], ["sparseness"])


def test_a_folder_in_which_nothing_is_scored_yet_is_taken_over(toy_data: Path, tmp_path: Path) -> None:
    data, quick = open_dataset(toy_data, limit=1), options(["gradient"], ["sparseness"])
    run = evaluate(data, toy_classifier(), tmp_path / "e", quick)
    next(run)
    run.close()  # ty: ignore[missing-attribute]
    assert (tmp_path / "e" / "settings.json").is_file()
    corrected = replace(quick, seed=3)
    for _ in evaluate(data, toy_classifier(), tmp_path / "e", corrected):
        pass
    assert open_evaluation(tmp_path / "e").manifest["seed"] == 3
    assert [p.stage for p in evaluate(data, toy_classifier(), tmp_path / "e", corrected)] == ["finished before"]


@pytest.mark.parametrize(
    ("explainers", "metrics", "said"),
    [
        ([], ["sparseness"], "at least one"),
        (["gradient"], [], "at least one"),
        (["gradient"] * 2, ["sparseness"], "twice"),
    ],
)
def test_options_that_do_not_do(explainers: list[str], metrics: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        options(explainers, metrics)


def test_an_explainer_that_removes_segments_needs_them(toy_data: Path, tmp_path: Path) -> None:
    asked = options(["occlusion:regions=segments"], ["insertion:steps=4"])
    for _ in evaluate(open_dataset(toy_data, limit=2), toy_classifier(), tmp_path / "e", asked):
        pass
    costs = open_evaluation(tmp_path / "e").costs.set_index("explainer")
    # the object, perhaps a mark, a corner and the sky, which leave no rest: and the picture as it is
    assert set(costs.loc["occlusion:regions=segments", "forward_passes"]) == {4, 5}
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(toy_data / "images" / "000.png", bare / "0.png")
    with pytest.raises(UserError, match=r"0\.png has no masks, which occlusion:regions=segments needs"):
        list(evaluate(open_dataset(bare), toy_classifier(), tmp_path / "f", asked))
    assert not (tmp_path / "f").exists()


def test_what_is_no_evaluation_is_refused(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(UserError, match="holds no evaluation"):
        open_evaluation(tmp_path)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        open_evaluation(damaged)
    newer = json.loads((finished / "manifest.json").read_text()) | {"format": 99}
    (damaged / "manifest.json").write_text(json.dumps(newer))
    (damaged / "leaderboard.json").write_text("[]")
    with pytest.raises(UserError, match="newer"):
        open_evaluation(damaged)


def test_the_same_evaluation_writes_a_damaged_board_anew(toy_data: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "e"
    shutil.copytree(finished, out)
    (out / "leaderboard.json").write_text("[")
    with pytest.raises(UserError, match=r"leaderboard.json cannot be read.*run the same `satchel evaluate` again"):
        open_evaluation(out)
    list(evaluate(open_dataset(toy_data, limit=12), toy_classifier(), out, USUAL))
    assert open_evaluation(out).leaderboard == open_evaluation(finished).leaderboard


def scores_of(values: dict[str, list[float]], metric: str = "m") -> pd.DataFrame:
    return pd.DataFrame(
        {"image": str(i), "group": str(i), "explainer": name, "metric": metric, "value": value}
        for name, series in values.items()
        for i, value in enumerate(series)
    )


def costs_of(names: list[str]) -> pd.DataFrame:
    free = {"seconds": 1.0, "forward_passes": 2, "backward_passes": 1, "saturated": None, "alignment": None}
    return pd.DataFrame([{"explainer": name, **free} for name in names])


def board_of(values: dict[str, list[float]], upward: bool) -> list[dict]:
    return leaderboard(scores_of(values), costs_of(list(values)), {"m": upward}, list(controls()))


def test_pairing_finds_a_small_steady_lead_that_unpaired_intervals_hide() -> None:
    base = np.random.default_rng(0).normal(size=40) * 5
    a, b, *_ = board_of({"a": (base + 0.1).tolist(), "b": base.tolist(), "random": (base - 9).tolist()}, True)
    assert (a["explainer"], a["best"], a["behind"]) == ("a", True, None)
    assert b["behind"] == pytest.approx(0.1)
    assert b["behind_low"] > 0.09
    assert a["low"] < b["high"]


def test_downwards_the_smallest_is_best() -> None:
    board = board_of({"a": [3.0, 3.1], "b": [1.0, 1.1]}, False)
    assert [e["explainer"] for e in board] == ["b", "a"]
    assert board[1]["behind"] == pytest.approx(2.0)


def test_undefined_scores_are_counted_and_left_out() -> None:
    board = board_of({"a": [1.0, float("nan")], "b": [float("nan")] * 2}, True)
    assert [(e["explainer"], e["mean"], e["pictures"], e["undefined"]) for e in board] == [
        ("a", 1.0, 1, 1),
        ("b", None, 0, 2),
    ]
    both = paired_difference(scores_of({"a": [1.0, float("nan")], "b": [0.0, 5.0]}), "a", "b")
    assert (both.estimate, both.count) == (1.0, 1)


def test_who_has_no_score_on_the_hard_pictures_does_not_lead_for_it() -> None:
    nan = float("nan")
    board = board_of({"a": [0.9] * 5 + [nan] * 5, "b": [0.95] * 5 + [0.3] * 5, "c": [2.0] + [nan] * 9}, True)
    best = next(e for e in board if e["best"])
    assert best["explainer"] == "b"
    behind = {e["explainer"]: e["behind"] for e in board}
    assert behind["a"] == pytest.approx(0.05)
    assert behind["c"] < 0  # one picture is too little to lead with


def test_a_metric_that_can_score_nothing_is_told_with_the_reason() -> None:
    nan = float("nan")
    (said,) = warnings(board_of({"a": [nan] * 3, "edges": [1.0] * 3}, True))
    assert "could score no explainer's map" in said
    assert "flat" in said
    (said,) = warnings(board_of({"a": [nan] * 3, "edges": [nan] * 3}, True), masked=["m"])
    assert said.endswith("no mask names an object.")


def test_a_control_that_is_close_is_told_otherwise_than_one_that_wins() -> None:
    close = {"a": [1.0, 3.0, 2.0, 0.0] * 2, "edges": [0.9, 0.0, 1.5, 2.0] * 2, "random": [-9.0] * 8}
    (said,) = warnings(board_of(close, True))
    assert "cannot tell the best explainer from edges" in said
    assert "on 8 pictures: the lead may be chance" in said


@pytest.mark.parametrize(("edges", "warned"), [(2.0, True), (1.0, True), (0.0, False)])
def test_a_yardstick_that_a_control_wins_is_told(edges: float, warned: bool) -> None:
    board = board_of({"a": [1.0] * 8, "edges": [edges] * 8, "random": [-5.0] * 8}, True)
    said = warnings(board)
    assert bool(said) == warned
    assert not warned or ("m does not measure trust" in said[0] and "edges" in said[0] and "random" not in said[0])


@pytest.mark.parametrize("pictures", [1, 7])
def test_on_few_pictures_nothing_is_said_of_controls_and_nobody_is_surely_behind(pictures: int) -> None:
    board = board_of({"a": [1.0] * pictures, "edges": [2.0] * pictures, "random": [0.0] * pictures}, True)
    assert warnings(board) == []
    assert too_few(board)
    assert [entry["independent"] for entry in board] == [pictures] * 3
    if pictures == 1:
        assert not any(map(surely_behind, board))


def test_controls_are_registered_and_know_nothing() -> None:
    assert set(controls()) == {"random", "edges", "centre"}


@pytest.mark.slow
def test_the_evaluation_that_comes_along_says_what_its_scores_give_today():
    found = open_evaluation(assets_dir() / "evaluations" / "demo-biased")
    higher = {metric["label"]: metric["higher_is_better"] for metric in found.manifest["metrics"]}
    controls = [explainer["label"] for explainer in found.manifest["explainers"] if explainer["control"]]
    again = leaderboard(found.scores, found.costs, higher, controls, found.manifest["seed"])
    told = ("metric", "explainer", "best", "pictures")
    assert [[e[key] for key in told] for e in again] == [[e[key] for key in told] for e in found.leaderboard]
    assert [e["mean"] for e in again] == pytest.approx([e["mean"] for e in found.leaderboard], nan_ok=True)
    assert found.manifest["problem_count"] == 0
