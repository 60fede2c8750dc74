"""The order of rows, and how long maps are said to take."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.choice import Choice
from core.classifier import Prediction
from dashboard.explain.costs import BACK, Costs, about
from dashboard.explain.gallery import Entry, Rows, said
from dashboard.runs import ResultKey
from tests.dashboard.conftest import attribution


def entry(name: str, chance: float, instead: str | None = None) -> Entry:
    source: Any = SimpleNamespace(name=name)
    return Entry(source, Prediction(0, "ant", chance), instead)


def test_rows_are_sorted_by_wrong_or_unsure_and_stay_as_given_otherwise() -> None:
    entries = [entry("a", 0.9), entry("b", 0.6, "bee"), entry("c", 0.4), entry("d", 0.8, "bee")]
    broken = Entry(entries[0].source, failed="gone")
    rows = Rows("tiny", (), "as given", [*entries, broken])

    def order(by: str) -> list[str]:
        return [e.source.name for e in replace(rows, order=by).sorted() if e is not broken]

    assert order("as given") == ["a", "b", "c", "d"]
    assert order("wrong first") == ["d", "b", "a", "c"]  # the surest of the wrong ones first
    assert order("unsure first") == ["c", "b", "d", "a"]
    assert said(rows) == "4 pictures, 2 known to be answered wrong."


def key(explainer: str, model: str = "m") -> ResultKey:
    return ResultKey("p", model, Choice.parse(explainer), 0, None, 0)


def test_what_was_measured_is_what_is_expected() -> None:
    costs, made = Costs(), attribution(torch.rand(4, 4))
    assert costs.seconds([key("smoothgrad:samples=10")], 0.1) == pytest.approx((1 + BACK) * 10 * 0.1)  # as alone
    costs.learn(key("smoothgrad:samples=10"), replace(made, seconds=0.6), 0.1)
    assert costs.seconds([key("smoothgrad:samples=10")], 0.1) == 0.6
    alone = (made.forward_passes + BACK * made.backward_passes) * 0.1
    assert costs.seconds([key("smoothgrad:samples=20")], 0.1) == pytest.approx((1 + BACK) * 20 * 0.1 * 0.6 / alone)
    costs.learn(key("grad-cam"), replace(made, partial=True, seconds=99), 0.1)
    costs.learn(key("occlusion"), replace(made, forward_passes=50, backward_passes=0, seconds=5), 0.1)
    assert costs.seconds([key("occlusion", "another")], 0.2) == pytest.approx(10)  # as many passes, twice as slow
    assert costs.seconds([key("occlusion", "another")], 0.9) == pytest.approx(10)  # a first pass is no measure
    assert costs.seconds([], 0.1) == 0
    assert costs.seconds([key("grad-cam")], 0.1) != 99


def test_estimates_are_told_roughly() -> None:
    assert [about(s) for s in (0.2, 12.4, 89, 200)] == ["under 1 s", "about 12 s", "about 89 s", "about 3 min"]
