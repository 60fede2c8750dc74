"""The chunk tuner and the loop around it."""

from __future__ import annotations

import pytest
import torch

from core.runtime import chunks
from core.runtime.chunks import ChunkTuner, in_chunks


def settle(seconds_a_pass: dict[int, float], start: int = 4, largest: int = 64, cold: float = 0.0) -> list[int]:
    """The chunks a tuner asks for where a pass takes so long at each size; the first chunk takes `cold` longer."""
    tuner, asked = ChunkTuner(start, largest), []
    for i in range(20):
        size = tuner.propose()
        asked.append(size)
        tuner.record(size, size * seconds_a_pass[size] + (cold if i == 0 else 0.0))
    return asked


COSTS = {1: 3.0, 2: 2.0, 4: 1.0, 8: 1.3, 16: 5.0, 32: 9.0, 64: 9.0}


def test_it_settles_on_the_fastest_size_and_tries_its_neighbours_once():
    asked = settle(COSTS)
    assert asked[-10:] == [4] * 10
    assert (asked.count(8), asked.count(2), asked.count(16)) == (1, 1, 0)


def test_a_cold_first_chunk_does_not_drive_it_upwards():
    assert 16 not in settle(COSTS, cold=60.0)


def test_it_climbs_as_far_as_climbing_pays():
    asked = settle({size: 1 / size for size in COSTS}, largest=32)
    assert asked[-1] == 32
    assert max(asked) == 32


def test_what_did_not_fit_is_never_asked_for_again():
    tuner = ChunkTuner(16, 64)
    assert tuner.too_large(16) == 8
    for _ in range(10):
        size = tuner.propose()
        assert size <= 8
        tuner.record(size, 1.0)


def test_out_of_memory_halves_the_chunk_and_loses_no_work(small_cnn, monkeypatch):
    monkeypatch.setattr(chunks, "_tuners", {})
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
