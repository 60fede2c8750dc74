"""The chunk tuner and the loop around it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from statistics import mean

import pytest
import torch

from core.runtime import chunks
from core.runtime.chunks import ChunkTuner, FixedChunk, Way, chunked, in_chunks, tuner_for
from core.runtime.recent import Recent
from core.runtime.threads import on_threads, usual_threads

COSTS = {1: 3.0, 2: 2.0, 4: 1.0, 8: 1.3, 16: 5.0, 32: 9.0, 64: 9.0}
QUIET = {(size, threads): {1: 1.4, 2: 1.1, 4: 1.0, 8: 0.8}[size] * (1.6 if threads == 1 else 1.0)
         for size in (1, 2, 4, 8) for threads in (1, 2)}  # fmt: skip
BUSY = {(size, threads): {1: 2.0, 2: 1.6, 4: 1.25, 8: 1.0}[size] * (3.0 if threads == 1 else 9.0)
        for size in (1, 2, 4, 8) for threads in (1, 2)}  # fmt: skip


def asked_of(tuner: ChunkTuner, cost: Callable[[Way], float], count: int) -> list[Way]:
    """The next chunks a tuner asks for, where a pass takes `cost` seconds."""
    asked = []
    for _ in range(count):
        way = tuner.propose()
        asked.append(way)
        tuner.record(way, way.size * cost(way))
    return asked


def settle(seconds_a_pass: dict[int, float], start: int = 4, largest: int = 64, cold: float = 0.0) -> list[int]:
    """The sizes a tuner asks for; the first chunk takes `cold` longer."""
    times, first = seconds_a_pass, iter([cold])
    return [w.size for w in asked_of(ChunkTuner(start, largest), lambda w: times[w.size] + next(first, 0.0), 40)]


def noisy(costs: dict[tuple[int, int], float], seed: int) -> Callable[[Way], float]:
    """A tenth of noise, and every fifth chunk held up to ten times its time."""
    drawn = random.Random(seed)

    def cost(way: Way) -> float:
        held_up = drawn.uniform(2, 10) if drawn.random() < 0.2 else 1.0
        assert way.threads is not None
        return costs[way.size, way.threads] * drawn.uniform(0.95, 1.05) * held_up

    return cost


def test_it_stays_at_the_fastest_size_and_looks_at_its_neighbours_now_and_then():
    asked = settle(COSTS)
    assert asked[:6] == [4, 4, 8, 8, 4, 8]  # the first one of each size warms up
    assert set(asked) == {2, 4, 8}
    assert asked.count(4) >= 28


def test_a_cold_first_chunk_does_not_drive_it_upwards():
    assert 16 not in settle(COSTS, cold=60.0)


def test_it_climbs_as_far_as_climbing_pays():
    asked = settle({size: 1 / size for size in COSTS}, largest=32)
    assert asked[-1] == 32
    assert max(asked) == 32


def test_sizes_take_turns_so_that_both_see_the_same_load():
    asked = settle({size: 1 / size for size in COSTS}, largest=8)
    assert asked[:11] == [4, 4, 8, 8, 4, 8, 4, 8, 4, 8, 8]


@pytest.mark.parametrize(("costs", "best"), [(QUIET, Way(8, 2)), (BUSY, Way(8, 1))], ids=["quiet", "busy"])
def test_on_a_noisy_machine_it_ends_at_the_truly_fastest_way(costs, best):
    right, spent = 0, []
    for seed in range(12):
        tuner = ChunkTuner(4, 8, 2)
        asked_of(tuner, noisy(costs, seed), 200)
        last = asked_of(tuner, noisy(costs, seed + 100), 200)
        right += Counter(last).most_common(1)[0][0] == best
        spent.append(sum(costs[way] * way.size for way in last) / sum(costs[best] * way.size for way in last))
    assert right >= 11
    assert mean(spent) < 1.15  # of what it would have taken with no other way ever tried


def test_it_looks_again_when_the_machine_changes():
    ends = []
    for seed in range(12):
        tuner = ChunkTuner(4, 8, 2)
        for costs, count in ((QUIET, 300), (BUSY, 100), (QUIET, 300)):
            asked_of(tuner, noisy(costs, seed), count)
            ends.append(tuner.way)
    assert ends[::3].count(Way(8, 2)) >= 11
    assert [way.threads for way in ends[1::3]].count(1) >= 11
    assert ends[2::3].count(Way(8, 2)) >= 11


def test_looking_costs_little_once_it_found_nothing():
    tuner = ChunkTuner(8, 8, 2)
    asked_of(tuner, lambda way: QUIET[way], 1000)
    later = asked_of(tuner, lambda way: QUIET[way], 1000)
    spent = sum(QUIET[way] * way.size for way in later) / sum(QUIET[8, 2] * way.size for way in later)
    assert spent < 1.04
    assert len(set(later)) == 3


def test_a_dear_neighbour_is_asked_once_and_then_seldom():
    tuner = ChunkTuner(8, 8, 2)
    asked_of(tuner, lambda way: BUSY[way], 200)
    later = asked_of(tuner, lambda way: BUSY[way], 1000)
    assert tuner.way == Way(8, 1)
    assert 1 <= later.count(Way(8, 2)) <= 16
    assert not any(one == other == Way(8, 2) for one, other in zip(later, later[2:]))


def test_one_chunk_that_was_held_up_moves_nothing():
    tuner = ChunkTuner(8, 8, 2)
    asked_of(tuner, lambda way: QUIET[way], 40)
    held_up = iter([50.0])
    asked = asked_of(tuner, lambda way: QUIET[way] * next(held_up, 1.0), 200)
    assert tuner.way == Way(8, 2)
    assert asked.count(Way(8, 2)) > 180


def test_a_rival_that_does_not_fit_in_what_is_left_waits_for_its_turn():
    tuner = ChunkTuner(4, 8, 2)
    ways = [tuner.propose(4)]
    for _ in range(60):
        tuner.record(ways[-1], ways[-1].size * QUIET[ways[-1]])
        ways.append(tuner.propose(4))
    assert max(way.size for way in ways) == 4
    assert {Way(4, 1), Way(2, 2)} < set(ways)  # those that fit were looked at


def test_what_did_not_fit_is_never_asked_for_again():
    tuner = ChunkTuner(16, 64)
    tuner.too_large(Way(16))
    assert all(way.size <= 8 for way in asked_of(tuner, lambda way: 1 / way.size, 40))


def test_out_of_memory_halves_the_chunk_and_loses_no_work(small_cnn, monkeypatch):
    monkeypatch.setattr(chunks, "_tuners", Recent(8))
    monkeypatch.setitem(chunks.START, "cpu", 8)
    done: list[int] = []

    def run(start: int, end: int) -> None:
        if end - start > 3:
            raise torch.OutOfMemoryError("too much")
        done.extend(range(start, end))

    steps = list(in_chunks(small_cnn, 11, (3, 32, 32), "gradient", run))
    assert done == list(range(11))
    assert steps[-1] == 11

    def never(start: int, end: int) -> None:
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        list(in_chunks(small_cnn, 4, (3, 32, 32), "forward", never))


def test_a_fixed_chunk_stays_and_leaves_the_threads_alone():
    sizes, threads = [], torch.get_num_threads()

    def run(start: int, end: int) -> None:
        sizes.append((end - start, torch.get_num_threads()))

    list(chunked(FixedChunk(16), torch.device("cpu"), 40, run))
    assert sizes == [(16, threads), (16, threads), (8, threads)]


def test_tuners_are_few_and_one_a_kind(small_cnn, monkeypatch):
    monkeypatch.setattr(chunks, "_tuners", Recent(8))
    assert tuner_for(small_cnn, (3, 32, 32), "forward") is tuner_for(small_cnn, (3, 32, 32), "forward")
    for side in range(20):
        tuner_for(small_cnn, (3, side, side), "forward")
    assert len(chunks._tuners) == 8


def test_fewer_threads_are_this_threads_own_and_for_a_while():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert usual_threads() == 2
        inside, elsewhere = [], []
        with on_threads(1, 2):
            inside.append(torch.get_num_threads())
            late = threading.Thread(target=lambda: elsewhere.append(usual_threads()))
            late.start()
            late.join()
        assert (inside, elsewhere, torch.get_num_threads(), usual_threads()) == ([1], [2], 2, 2)
    finally:
        torch.set_num_threads(before)
