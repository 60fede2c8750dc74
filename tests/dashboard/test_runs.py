"""Turns on the device, the results that are kept, and runs that end when they are told to."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch
from torch import Tensor

from core.choice import Choice
from core.classifier import Classifier
from core.explainer import Estimate, Explainer, explainers, get_explainer, register, registry
from core.job import Job
from core.parameters import Parameters
from core.regions import Regions
from core.runtime.randomness import picture_seeds
from dashboard.classifiers import LoadedClassifier
from dashboard.runs import FairLock, ResultKey, Results, Run, Runner
from tests.dashboard.conftest import attribution, tiny_classifier
from tests.trained import write_explainer


@pytest.fixture(scope="module")
def loaded() -> LoadedClassifier:
    return LoadedClassifier("tiny", tiny_classifier())


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))


def key(explainer: str, picture: str = "picture", seed: int = 0, **options: Any) -> ResultKey:
    choice = Choice(explainer, get_explainer(explainer).parameters(**options))
    return ResultKey(picture, "tiny", choice, 1, None, seed)


def run_of(*keys: ResultKey) -> Run:
    return Run({k.choice.explainer: k for k in keys})


def test_the_lock_serves_in_the_order_of_asking() -> None:
    lock, order, waiting = FairLock(), [], []
    with lock.turn():
        for number in range(4):
            thread = threading.Thread(target=lambda n=number: _note(lock, order, n))
            thread.start()
            waiting.append(thread)
            while len(lock._queue) < number + 2:
                sleep(0.001)
    for thread in waiting:
        thread.join()
    assert order == [0, 1, 2, 3]


def _note(lock: FairLock, order: list[int], number: int) -> None:
    with lock.turn():
        order.append(number)


def test_two_that_keep_asking_take_turns() -> None:
    lock, order = FairLock(), []
    ready = threading.Barrier(2)

    def work(name: str) -> None:
        ready.wait()
        for _ in range(20):
            with lock.turn():
                order.append(name)
                while len(lock._queue) < 2 and order.count("a") < 20 and order.count("b") < 20:
                    sleep(0.001)  # the other one is on its way back to the queue

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both = order[1:38]
    assert all(first != second for first, second in itertools.pairwise(both))


def test_who_gives_up_waiting_does_not_get_the_lock_and_blocks_nobody() -> None:
    lock = FairLock()
    with lock.turn():
        done = threading.Thread(target=lambda: gave_up.append(_try(lock)))
        gave_up: list[bool] = []
        done.start()
        done.join()
    assert gave_up == [False]
    with lock.turn() as mine:
        assert mine


def _try(lock: FairLock) -> bool:
    with lock.turn(lambda: True) as mine:
        return mine


def test_the_lock_is_given_back_after_an_error() -> None:
    lock = FairLock()
    with pytest.raises(ZeroDivisionError), lock.turn():
        1 / 0
    with lock.turn() as mine:
        assert mine


def test_results_are_bounded_and_forget_the_oldest() -> None:
    one = attribution(torch.rand(16, 16))
    results = Results(limit=3 * 16 * 16 * 4)
    keys = [key("gradient", picture=str(n)) for n in range(5)]
    for k in keys[:3]:
        results.put(k, one)
    assert results.get(keys[0]) is one  # used, so the next to leave is number 1
    results.put(keys[3], one)
    assert results.get(keys[1]) is None
    assert results.get(keys[0]) is one
    assert len(results) == 3


def test_a_running_estimate_never_replaces_a_finished_map() -> None:
    results, k = Results(), key("smoothgrad")
    running, finished = attribution(torch.rand(4, 4), partial=True), attribution(torch.rand(4, 4))
    results.put(k, running)
    results.put(k, finished)
    results.put(k, running)
    assert results.get(k) is finished


def test_a_run_makes_what_the_explainer_makes_alone(loaded: LoadedClassifier, image: Tensor) -> None:
    runner, k = Runner(), key("smoothgrad", samples=12, seed=3)
    for _ in runner.stream(loaded, image, run_of(k)):
        pass
    made = runner.results.get(k)
    (alone,) = loaded.bind(k.choice).explain(image[None], [1], seeds=picture_seeds(3, image[None]))
    assert made is not None
    assert not made.partial
    torch.testing.assert_close(made.values, alone.values, rtol=1e-4, atol=1e-6)


def test_regions_are_part_of_what_a_map_depends_on(loaded: LoadedClassifier, image: Tensor) -> None:
    runner, left = Runner(), torch.zeros(32, 32)
    left[:, :10] = 1
    asked = key("occlusion", regions="segments")
    halves, whole = (
        replace(asked, regions=Regions.of([masks])) for masks in (torch.stack([left, 1 - left]), torch.ones(1, 32, 32))
    )
    for k in (halves, whole):
        list(runner.stream(loaded, image, run_of(k)))
    one = runner.results.get(replace(asked, regions=Regions.of([torch.stack([left, 1 - left])])))
    assert one is not None
    assert one.players is not None
    assert (one.unit, len(one.players.values), one.forward_passes) == ("density", 2, 3)
    run = run_of(asked)
    list(runner.stream(loaded, image, run))
    assert "none are given" in run.failed["occlusion"]


def test_every_explainer_gets_a_first_map_before_any_gets_a_third(loaded: LoadedClassifier, image: Tensor) -> None:
    runner = Runner()
    names = ("smoothgrad", "suppression", "integrated-gradients")
    run = run_of(*(key(name, samples=200) for name in names))
    stream = runner.stream(loaded, image, run)
    while runner.chunks < 3:
        next(stream)
    stream.close()  # ty: ignore[missing-attribute]
    assert all(runner.results.get(k) is not None for k in run.keys.values())


def test_what_is_there_is_not_made_again(loaded: LoadedClassifier, image: Tensor) -> None:
    runner, k = Runner(), key("smoothgrad", samples=8)
    list(runner.stream(loaded, image, run_of(k)))
    before = runner.chunks
    list(runner.stream(loaded, image, run_of(k, key("gradient"))))
    assert runner.chunks == before + 1  # the gradient's one pass


def test_stop_ends_after_the_chunk_in_hand_and_keeps_what_is_there(loaded: LoadedClassifier, image: Tensor) -> None:
    runner, k = Runner(), key("smoothgrad", samples=500)
    run = run_of(k)
    for _ in runner.stream(loaded, image, run):
        run.stop()
    made = runner.results.get(k)
    assert made is not None
    assert made.partial
    assert made.forward_passes < 500


def test_a_dropped_explainer_stops_and_the_others_go_on(loaded: LoadedClassifier, image: Tensor) -> None:
    runner = Runner()
    long, short = key("smoothgrad", samples=500), key("suppression", samples=8)
    run = run_of(long, short)
    for _ in runner.stream(loaded, image, run):
        run.drop(["smoothgrad"])
    stopped, finished = runner.results.get(long), runner.results.get(short)
    assert stopped is None or stopped.partial
    assert finished is not None
    assert not finished.partial
    assert not run.dropped


@dataclass(frozen=True)
class NoParameters(Parameters):
    pass


@pytest.fixture
def defective() -> Iterator[str]:
    explainers()  # the real ones first

    @register
    class Defective(Explainer):
        name, title, summary, family, parameters = "defective", "Defective", "Always fails.", "control", NoParameters

        def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
            raise RuntimeError("defect")
            yield  # a generator, like every explainer

    yield "defective"
    registry.remove("defective")


def test_a_failing_explainer_takes_no_other_with_it(loaded: LoadedClassifier, image: Tensor, defective: str) -> None:
    runner, good = Runner(), key("gradient")
    run = run_of(key(defective), good)
    changed = set().union(*runner.stream(loaded, image, run))
    assert changed == {"defective", "gradient"}
    assert "failed" in run.failed["defective"]
    assert runner.results.get(good) is not None


def test_two_visitors_both_get_on(loaded: LoadedClassifier, image: Tensor) -> None:
    """While one has much to do, the other's short run ends in between."""
    runner = Runner()
    long_run = run_of(key("smoothgrad", samples=500))
    started, finished = threading.Event(), threading.Event()

    def long() -> None:
        for _ in runner.stream(loaded, image, long_run):
            started.set()
            if finished.is_set():
                long_run.stop()

    thread = threading.Thread(target=long)
    thread.start()
    started.wait(30)
    short = key("gradient", picture="another")
    list(runner.stream(loaded, image, run_of(short)))
    finished.set()
    thread.join()
    assert runner.results.get(short) is not None


def test_what_was_trained_on_other_parts_ends_in_a_sentence(
    loaded: LoadedClassifier, image: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path))
    write_explainer(loaded.classifier, tmp_path / "explainers" / "s.safetensors", "segments")
    choice = Choice("salvage", get_explainer("salvage").parameters.parse({"regions": "patches"}))
    run = run_of(ResultKey("picture", "tiny", choice.found(loaded.classifier), 1, None, 0))
    assert list(Runner().stream(loaded, image, run)) == [{"salvage"}]
    assert "trained on segments, not on patches" in run.failed["salvage"]
