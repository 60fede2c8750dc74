"""Shards computed elsewhere: the same rows, whoever computes them, and nothing lost or doubled where one is killed."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from sent import FatalShard, NoTools
from toy import toy_classifier

from core.choice import Choice
from core.data import Dataset, open_dataset
from core.errors import UserError
from core.evaluation.evaluate import EvaluationOptions, Yardstick, evaluate
from core.evaluation.saved_evaluation import open_evaluation
from core.loading import load_classifier
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import Report, open_report
from core.segments.files import write_segments
from core.work.engines import engine_named
from core.work.shards import MakeEngine, Recipe
from core.work.workers import Workers

OPTIONS = ReportOptions((Choice("gradient"),), recipients=3, control_pictures=1, shard=4, batch=4)
PICTURES = 16


@pytest.fixture(scope="module")
def data(toy_data: Path) -> Dataset:
    return open_dataset(toy_data, limit=PICTURES)


@pytest.fixture(scope="module")
def alone(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of one process."""
    return made(data, tmp_path_factory.mktemp("alone") / "r", None)


def made(data: Dataset, out: Path, engine: MakeEngine | None, meanwhile: Callable[[], object] = int) -> Report:
    for _ in build_report(data, load_classifier("demo:biased", device="cpu"), out, OPTIONS, engine):
        meanwhile()
    return open_report(out)


def same(one: Report, other: Report) -> None:
    for kind in ("rows", "effects"):
        frames = [getattr(report, kind)() for report in (one, other)]
        pd.testing.assert_frame_equal(*frames, rtol=1e-3, atol=1e-4)
    assert list(one.pictures["image"]) == list(other.pictures["image"])
    assert [(f["segment"], f["verdict"]) for f in one.findings] == [
        (f["segment"], f["verdict"]) for f in other.findings
    ]


@pytest.mark.slow
def test_workers_write_what_one_process_writes_though_one_of_them_is_killed(
    data: Dataset, alone: Report, tmp_path: Path
) -> None:
    engines: list[Workers] = []
    killed: list[int] = []

    def engine(tools, out) -> Workers:
        engines.append(Workers(tools, out, 2))
        return engines[0]

    def kill_one() -> None:
        if engines and engines[0].pids and not killed and any(tmp_path.glob("r/pictures/*.parquet")):
            killed.append(engines[0].pids[0])
            os.kill(killed[0], signal.SIGKILL)

    found = made(data, tmp_path / "r", engine, kill_one)
    assert killed
    same(alone, found)
    assert engines[0].pids == []


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra satchel[ray]")
def test_ray_writes_what_one_process_writes(
    data: Dataset, alone: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    same(alone, made(data, tmp_path / "r", engine_named("ray", 2)))


@pytest.mark.slow
def test_a_shard_that_ends_every_worker_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    engine = Workers(NoTools(), tmp_path, 1)
    with pytest.raises(UserError, match=r"3 workers ended while they computed part a\.parquet; .*fewer workers"):
        list(engine.run("explaining", [FatalShard()]))
    assert engine.pids == []


@pytest.mark.slow
def test_closing_a_run_ends_its_workers_and_leaves_what_is_written(data: Dataset, tmp_path: Path) -> None:
    engines: list[Workers] = []

    def engine(tools, out) -> Workers:
        engines.append(Workers(tools, out, 1))
        return engines[0]

    steps = build_report(data, load_classifier("demo:biased", device="cpu"), tmp_path / "r", OPTIONS, engine)
    for step in steps:
        if step.done:
            break
    steps.close()  # ty: ignore[missing-attribute]
    assert engines[0].pids == []
    assert list(tmp_path.glob("r/pictures/*.parquet"))
    assert not list(tmp_path.glob("r/**/*.part"))


@pytest.mark.slow
def test_an_evaluation_is_shared_too(data: Dataset, tmp_path: Path) -> None:
    options = EvaluationOptions((Choice("gradient"),), (Yardstick.parse("sparseness"),), shard=8)
    classifier = load_classifier("demo:biased", device="cpu")
    for name, engine in (("one", None), ("two", partial(Workers, count=2))):
        for _ in evaluate(data, classifier, tmp_path / name, options, engine):
            pass
    one, two = (open_evaluation(tmp_path / name).scores for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", ["coco", "label-maps", "folders"])
def test_items_can_be_sent_to_another_process(form: str, data: Dataset, toy_data: Path, tmp_path: Path) -> None:
    pictures = [(item.id, item.segments()) for item in data.items[:3]]
    target = tmp_path / ("masks.json" if form == "coco" else "masks")
    write_segments(target, form, [(name, segments) for name, segments in pictures if segments])
    opened = open_dataset(toy_data, limit=PICTURES, segments=target).with_context(["sky"])
    for item in (*opened.items, *open_dataset("demo:birds", limit=2).items):
        sent = pickle.dumps(item)
        assert len(sent) < 20_000
        here, there = item.load(), pickle.loads(sent).load()
        assert (here[0].array() == there[0].array()).all()
        assert here[1] == there[1]


@pytest.mark.slow
def test_a_classifier_is_loaded_again_from_its_recipe_only(tmp_path: Path) -> None:
    found = load_classifier("demo:biased", device="cpu")
    recipe = pickle.loads(pickle.dumps(Recipe.of(found)))
    assert recipe.load().fingerprint == found.fingerprint
    with pytest.raises(UserError, match="has changed since"):
        Recipe(recipe.options, "another").load()
    with pytest.raises(UserError, match="was made in this process"):
        Recipe.of(toy_classifier())


@pytest.mark.parametrize(
    ("name", "workers", "said"), [("spark", None, "no engine 'spark'"), ("local", 0, "at least 1")]
)
def test_engines_that_there_are_not(name: str, workers: int | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        engine_named(name, workers)
