"""Two reports side by side: what changed between two models, before and after a repair, or between two data sets.

Where both have a picture (or a paste of the same pair), effects are compared on it; otherwise as two samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.errors import UserError
from core.sat.effects import SWAP, TRANSPLANT
from core.sat.saved_report import Report
from core.sat.sentences import difference_sentence
from core.sat.statistics import LEAST_UNITS, LEVEL, Interval, Mean, group_means

TESTS = {"necessity": ["image", "fill"], "sufficiency": ["image", "donor", "other"]}
Cell = tuple[str, int, str]  # class, which of those of one name, segment


@dataclass(frozen=True)
class Comparison:
    """What a second report says otherwise than a first.

    Attributes:
        pictures: that both have. accuracy: of the second less that of the first, on those with labels; None without.
        entries: one a (class, segment) of either, for JSON: target, segment, kind, verdicts (of both; null where a
            report has none), differences ({test: {fill: [second less first, low, high]}}), pictures (independent ones
            that they rest on), paired, changed (an effect, by more than what matters to either), sentence. Changed ones
            come first, then other verdicts.
        only: names of classes and segments that only one of them has, by "first" and "second".
    """

    pictures: int
    accuracy: Interval | None
    entries: list[dict[str, Any]]
    only: dict[str, list[str]]

    @property
    def changed(self) -> list[dict[str, Any]]:
        """Entries with a difference that matters."""
        return [entry for entry in self.entries if entry["changed"]]

    def summary(self) -> list[str]:
        """What is to be known of all entries together, a sentence each."""
        told = []
        if not self.pictures:
            told.append("The two reports have no picture in common: differences are between two samples.")
        told += [f"Only the {which} report has {', '.join(names)}." for which, names in self.only.items() if names]
        if self.accuracy is not None:
            size, low, high = (100 * x for x in (self.accuracy.estimate, self.accuracy.low, self.accuracy.high))
            pictures = f"the {self.pictures:,} pictures of both"
            told.append(f"Accuracy on {pictures}: {size:+.1f} points [{low:+.1f}, {high:+.1f}].")
        others = sum(not entry["changed"] and len(set(entry["verdicts"])) > 1 for entry in self.entries)
        told.append(
            f"Of {len(self.entries)} pairs of class and segment {len(self.changed)} changed by an effect that matters, "
            f"and {others} have another verdict without one."
        )
        return told


def compare(first: Report, second: Report) -> Comparison:
    """What the second says otherwise.

    Raises:
        UserError: they have no class or no segment in common, or a table is damaged.
    """
    sides = [_cells(report) for report in (first, second)]
    if not set(sides[0]) & set(sides[1]):
        raise UserError(
            f"The reports in {first.path} and {second.path} have no class with a segment in common; compare reports on "
            "the same classes and names."
        )
    entries = [_entry(cell, first, second, sides) for cell in sorted(set(sides[0]) | set(sides[1]))]
    entries.sort(key=lambda e: (not e["changed"], len(set(e["verdicts"])) == 1, -_largest(e)))
    shared = first.pictures.merge(second.pictures, on="image", suffixes=("", "_second"))
    names = [{name for target, _, segment in side for name in (target, segment)} for side in sides]
    only = {"first": sorted(names[0] - names[1]), "second": sorted(names[1] - names[0])}
    return Comparison(len(shared), _accuracy(shared), entries, only)


def _cells(report: Report) -> dict[Cell, tuple[int, dict[str, Any]]]:
    """The class's index there and a finding, by cell; of one finding, which explainer does not matter.

    Classes that share a name are told apart by their order.
    """
    labels = report.manifest["labels"]
    place = {index: labels[:index].count(label) for index, label in enumerate(labels)}
    cells = report.by_cell.items()
    return {(found[0]["target"], place[index], segment): (index, found[0]) for (index, segment), found in cells}


def _accuracy(shared: pd.DataFrame) -> Interval | None:
    known = shared.dropna(subset=["correct", "correct_second"])
    if known.empty:
        return None
    gained = known["correct_second"].astype(float) - known["correct"].astype(float)
    return Mean(group_means(gained.tolist(), known["group"].tolist())).interval.within(-1, 1)


def _entry(
    cell: Cell, first: Report, second: Report, sides: list[dict[Cell, tuple[int, dict[str, Any]]]]
) -> dict[str, Any]:
    indices, found = zip(*(side.get(cell, (0, None)) for side in sides))
    known = next(one for one in found if one)
    delta = max(report.manifest["delta"] for report in (first, second))
    differences: dict[str, dict[str, list[float]]] = {}
    units, paired = [], True
    if all(found):
        records = [report.effects(index, cell[2]) for report, index in zip((first, second), indices)]
        fills = [fill for fill in known["fills"] if all(one and fill in one["fills"] for one in found)]
        for test, fill, before, after in _common(*records, fills):
            interval, alike = _difference(before, after, TESTS[test])
            differences.setdefault(test, {})[fill] = [interval.estimate, interval.low, interval.high]
            units.append(interval.count)
            paired = paired and alike
    sizes = [size for by_fill in differences.values() for size in by_fill.values()]
    verdicts = [one["verdict"] if one else None for one in found]
    target, place, segment = cell
    entry = {
        "target": f"{target} ({place + 1})" if place else target,
        "segment": segment,
        "kind": known["kind"],
        "verdicts": verdicts,
        "differences": differences,
        "pictures": min(units, default=0),
        "paired": paired and bool(sizes),
        "changed": any(low > delta or high < -delta for _, low, high in sizes),
    }
    return {**entry, "sentence": difference_sentence(entry)}


def _largest(entry: dict[str, Any]) -> float:
    return max((abs(size[0]) for by_fill in entry["differences"].values() for size in by_fill.values()), default=0.0)


def _common(
    first: pd.DataFrame, second: pd.DataFrame, fills: list[str]
) -> Iterator[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Tests that both made and that count, under one fill."""
    if first.empty or second.empty:
        return
    pasted = SWAP if SWAP in fills else TRANSPLANT
    for test, fill in (*(("necessity", fill) for fill in fills), ("sufficiency", pasted)):
        before, after = (side[(side["test"] == test) & (side["fill"] == fill)] for side in (first, second))
        if len(before) and len(after):
            yield test, fill, before, after


def _difference(before: pd.DataFrame, after: pd.DataFrame, keys: list[str]) -> tuple[Interval, bool]:
    """(second less first, whether it is on the same pictures)."""
    both = before.merge(after, on=keys, suffixes=("", "_second"))
    if both["group"].nunique() >= LEAST_UNITS:
        gained = both["effect_second"] - both["effect"]
        return Mean(group_means(gained.tolist(), both["group"].tolist())).interval, True
    samples = [group_means(side["effect"].tolist(), side["group"].tolist()) for side in (before, after)]
    return _welch(*samples), False


def _welch(first: np.ndarray, second: np.ndarray) -> Interval:
    """Difference of the means of two samples, with Welch's interval."""
    from scipy import stats

    estimate, count = float(second.mean() - first.mean()), min(len(first), len(second))
    if count < 2:
        return Interval(estimate, math.nan, math.nan, count)
    low, high = stats.ttest_ind(second, first, equal_var=False).confidence_interval(LEVEL)
    return Interval(estimate, float(low), float(high), count)
