"""The server's one training: its states, without a browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.data import open_dataset
from core.errors import UserError
from core.explainers.learned.files import about_trained, trained_for, usual_file
from core.learning import SalvageTraining
from core.training import loop
from core.training.loop import checkpoint_of
from dashboard.classifiers import LoadedClassifier
from dashboard.runs import FairLock
from dashboard.train.live import (
    FAILED,
    FINISHED,
    JUDGING,
    STOPPED,
    TRAINING,
    Asked,
    Interrupted,
    LiveTraining,
    Trainer,
    Turn,
)
from tests.dashboard.conftest import tiny_classifier
from tests.toy import toy_classifier

TINY = {"epochs": 2, "surrogate_epochs": 1, "grid": 4, "width": 16, "batch": 4, "subsets": 4}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "own"))


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    found = Trainer(FairLock())
    yield found
    found.stop(60)


@pytest.fixture
def asked(toy_data: Path) -> Callable[..., Asked]:
    def ask(count: int = 16, fresh: bool = False, **options: Any) -> Asked:
        data = partial(open_dataset, toy_data, limit=count)
        return Asked(LoadedClassifier("toy", toy_classifier()), data, SalvageTraining.parse({**TINY, **options}),
                     fresh=fresh)  # fmt: skip

    return ask


def until(found: Callable[[], bool], patience: float = 60) -> None:
    end = time.monotonic() + patience
    while not found():
        assert time.monotonic() < end
        time.sleep(0.005)


def at_step(live: LiveTraining, step: int) -> Callable[[], bool]:
    return lambda: not live.running or (live.seen.training is not None and live.seen.training.step >= step)


@pytest.mark.slow
def test_it_trains_to_the_end_and_the_explainer_is_found(trainer: Trainer, asked: Callable[..., Asked]) -> None:
    phases = []
    live = LiveTraining(asked(), trainer.lock)
    tell = live._tell
    live._tell = lambda **changed: (tell(**changed), phases.append(live.seen.phase))
    live.start()
    live.wait()
    assert live.seen.phase == FINISHED, live.seen.problem
    assert [phase for n, phase in enumerate(phases) if phase not in phases[:n]][-3:] == [TRAINING, JUDGING, FINISHED]
    assert live.seen.file == usual_file("salvage", "patches", toy_classifier())
    assert trained_for("salvage", toy_classifier()) == {"patches": live.seen.file}
    card = about_trained(live.seen.file).card
    assert {"salvage", "random"} <= set(card["faithfulness"])
    told = live.seen.training
    assert told.step == told.steps == told.ends[-1]
    assert [point.step for point in told.between] == list(range(1, told.steps + 1))
    shares = [point.low + point.middle + point.high for point in told.between if point.stage == "explainer"]
    assert shares == pytest.approx([1.0] * len(shares))


def test_stopped_it_goes_on_where_it_was(trainer: Trainer, asked: Callable[..., Asked]) -> None:
    ask = partial(asked, epochs=500)
    first = trainer.start(ask())
    until(at_step(first, 3))
    trainer.stop(60)
    assert (first.running, first.seen.phase) == (False, STOPPED)
    step = first.seen.training.step
    assert checkpoint_of(usual_file("salvage", "patches", toy_classifier())).is_file()
    second = trainer.start(ask())
    until(lambda: second.seen.training is not None)
    assert second.seen.training.step > step
    assert [p.loss for p in second.seen.training.between[:step]] == [p.loss for p in first.seen.training.between]


def test_there_is_one_at_a_time(trainer: Trainer, asked: Callable[..., Asked]) -> None:
    live = trainer.start(asked(epochs=500))
    with pytest.raises(UserError, match="An explainer of toy is being trained here, and there is one"):
        trainer.start(asked())
    assert trainer.live is live
    trainer.stop(60)
    assert not live.running
    again = trainer.start(asked(epochs=500))
    assert trainer.live is again


def test_a_checkpoint_of_other_settings_is_told_and_can_be_left(trainer: Trainer, asked: Callable[..., Asked]) -> None:
    live = trainer.start(asked(epochs=500))
    until(at_step(live, 2))
    trainer.stop(60)
    refused = trainer.start(asked(epochs=400))
    refused.wait()
    assert (refused.seen.phase, refused.seen.refused) == (FAILED, True)
    assert "differs in its options (then epochs 500)" in refused.seen.problem
    assert "--fresh" not in refused.seen.problem
    fresh = trainer.start(asked(epochs=400, fresh=True))
    until(at_step(fresh, 1))
    assert fresh.seen.training.steps == 2 * 401


def test_a_problem_is_one_sentence(trainer: Trainer, asked: Callable[..., Asked], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ask = asked()
    lost = Asked(ask.loaded, partial(open_dataset, tmp_path / "empty"), ask.options)
    live = trainer.start(lost)
    live.wait()
    assert (live.seen.phase, live.seen.refused) == (FAILED, False)
    assert "holds no pictures" in live.seen.problem

    def defect() -> Any:
        raise RuntimeError("a defect")

    live = trainer.start(Asked(ask.loaded, defect, ask.options))
    live.wait()
    assert live.seen.problem == "The training failed; the program's log says why."


def test_a_full_disk_when_it_is_stopped_is_told(
    trainer: Trainer, asked: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = trainer.start(asked(epochs=500))
    until(at_step(live, 2))

    def full(path: Path) -> Any:
        raise UserError("The disk is full.")

    monkeypatch.setattr(loop, "whole_file", full)
    trainer.stop(60)
    assert (live.seen.phase, live.seen.problem) == (FAILED, "The disk is full.")


def test_others_get_the_device_between_its_steps(trainer: Trainer, asked: Callable[..., Asked]) -> None:
    live = trainer.start(asked(epochs=500))
    until(at_step(live, 1))
    for _ in range(3):
        before = live.seen.training.step
        with trainer.lock.turn() as mine:
            assert mine
            version = live.version
            time.sleep(0.05)
            assert live.version <= version + 1  # what it had finished it may still tell
        until(at_step(live, before + 1))
    assert live.running


def test_a_turn_is_passed_on_in_the_middle_of_a_long_step() -> None:
    lock, stopped, order = FairLock(), threading.Event(), []
    turn = Turn(lock, stopped.is_set)

    def other() -> None:
        with lock.turn():
            order.append("other")

    with turn.held():
        waiting = threading.Thread(target=other)
        waiting.start()
        until(lambda: len(lock._queue) == 2)
        assert not turn.passed_on()
        order.append("mine")
        stopped.set()
        assert turn.passed_on()
    waiting.join()
    assert order == ["other", "mine"]
    with pytest.raises(Interrupted), turn.held():
        pass
    with lock.turn() as mine:  # nothing was left behind
        assert mine


def test_stopped_while_it_is_judged_the_explainer_is_there(
    trainer: Trainer, asked: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveTraining(asked(epochs=1), trainer.lock)
    tell = live._tell

    def stop_then(**changed: Any) -> None:
        tell(**changed)
        if changed.get("phase") == JUDGING:
            live.stop()

    monkeypatch.setattr(live, "_tell", stop_then)
    live.start()
    live.wait()
    assert live.seen.phase == STOPPED
    file = usual_file("salvage", "patches", toy_classifier())
    assert "faithfulness" not in about_trained(file).card
    assert checkpoint_of(file).is_file()  # so that Train measures it


def test_another_model_has_its_own(trainer: Trainer) -> None:
    assert trained_for("salvage", tiny_classifier()) == {}
