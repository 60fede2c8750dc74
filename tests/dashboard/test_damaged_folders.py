"""Damaged reports and evaluations open and are drawn, or are refused in one sentence."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_folders import run


@pytest.mark.slow
def test_no_damage_ends_in_a_raw_error_or_in_a_number_that_is_none():
    outcomes = run(100, seed=1)
    assert {what for what in outcomes if ": raw:" in what} == set()
    assert sum(outcomes.values()) == 100
    assert outcomes["evaluation: refused"] > 0
    assert outcomes["report: drawn"] + outcomes["report: refused"] == 10
