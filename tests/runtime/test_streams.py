"""Tables in shards, and the same put together."""

from __future__ import annotations

import pandas as pd
import pytest

from core.errors import UserError
from core.runtime.folders import write_table
from core.runtime.streams import merged, selected, streamed


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "it's rows"
    for number in range(5):
        frame = pd.DataFrame({"target": [number % 2, 2], "name": ["b", "a"], "value": [number, 10 + number]})
        write_table(folder / f"{number:06d}.parquet", frame if number else frame.drop(columns="value"))
    return folder


def test_one_file_gives_the_same_rows_as_its_shards(shards):
    one = shards.parent / "one.parquet"
    merged([shards], one, ("target", "name"))
    for wanted in ({}, {"target": [2]}, {"target": [0], "name": ["b"]}, {"name": ["c"]}):
        keys = ["target", "name", "value"]
        apart, together = (selected(place, wanted) for place in (shards, one))
        assert list(together.columns) == list(apart.columns)
        pd.testing.assert_frame_equal(
            apart.sort_values(keys, kind="stable", ignore_index=True),
            together.sort_values(keys, kind="stable", ignore_index=True),
            check_dtype=len(apart) > 0,  # of no rows at all, text may be objects
        )
    assert [path.name for path in shards.parent.iterdir() if path.is_file()] == ["one.parquet"]
    assert selected(one, {})["target"].is_monotonic_increasing


def test_of_one_file_that_is_not_what_it_should_be_a_reason_is_given(shards, tmp_path):
    one = shards.parent / "one.parquet"
    merged([shards], one, ("target",))
    with pytest.raises(ValueError, match="lacks the column segment"):
        selected(one, {"segment": ["a"]})
    with pytest.raises(ValueError):
        selected(one, {"target": ["a"]})
    one.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError):
        selected(one, {"target": [0]})


def test_groups_come_in_order_and_rows_as_they_were_written(shards):
    found = {key: part["value"].dropna().tolist() for key, part in streamed([shards], "target")}
    assert found == {0: [2, 4], 1: [1, 3], 2: [11, 12, 13, 14]}


def test_a_damaged_shard_is_told_and_leaves_nothing(shards):
    (shards / "000001.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="damaged"):
        merged([shards], shards.parent / "one.parquet", ("target",))
    assert not (shards.parent / "one.parquet").exists()
