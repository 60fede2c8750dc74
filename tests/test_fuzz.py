"""A slice of `benchmarks/fuzz.py`: inputs as people have them are read as they are, or answered with a sentence."""

from __future__ import annotations

import pytest

from benchmarks.fuzzing import families
from benchmarks.fuzzing.harness import attempt

SEED = 12
#: Inputs of each family, so that all take some seconds.
COUNTS = {"pictures": 60, "masks": 90, "annotations": 50, "manifests": 40, "stores": 20, "texts": 25, "checkpoints": 10,
          "models": 15, "folders": 1}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_inputs_are_read_as_they_are_or_refused_in_a_sentence(family, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where what is written to a path as given goes
    outcomes = [attempt(family, SEED, index, tmp_path) for index in range(COUNTS[family.name])]
    failed = [f"{one.family} --seed {SEED} --index {one.index}: {one.outcome}, {one.kind}: {one.text}"
              for one in outcomes if one.outcome in ("raw", "wrong")]  # fmt: skip
    assert not failed, "\n".join(failed)
    assert any(one.outcome == "read" for one in outcomes)
