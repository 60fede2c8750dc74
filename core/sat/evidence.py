"""What the tests of one (target, segment) found: effects with intervals over independent units, and their p."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.sat.effects import SWAP
from core.sat.interventions import LARGE
from core.sat.statistics import Interval, group_means, mean_interval, p_above

LEAST_UNITS = 10  # independent units of a test, however they are counted, before it confirms
# How independent units are counted: a transplant is as much its donor's and its placebo donor's as the recipient's.
WAYS = {"group": "pictures", "donor_group": "donors", "other_group": "placebo donors"}


@dataclass(frozen=True)
class Effect:
    """One test of one (target, segment) under one fill.

    Attributes:
        margin: mean effect in log-odds; the interval is the widest over the ways of counting independent units, `count`
            the fewest units. probability: the same in probability.
        scarce: what there are the fewest of, in words.
        above, below: p against "at most delta" and "at least -delta", the largest over the ways of counting.
        planned, placed: how many removals or pairs were meant to be, and how many could be made.
    """

    fill: str
    margin: Interval
    probability: Interval
    scarce: str
    above: float
    below: float
    planned: int
    placed: int

    @property
    def tells(self) -> bool:
        """Whether it rests on enough to confirm something."""
        return self.margin.count >= LEAST_UNITS and not math.isnan(self.margin.high)


@dataclass(frozen=True)
class Evidence:
    """All tests of one (target, segment).

    Attributes:
        necessity: one a fill, or the context swap. joint: removal after the other context, None where there is none.
        sufficiency: None where nothing was pasted.
    """

    necessity: tuple[Effect, ...] = ()
    joint: Effect | None = None
    sufficiency: Effect | None = None

    @property
    def all(self) -> tuple[Effect, ...]:
        return (*self.necessity, *(e for e in (self.joint, self.sufficiency) if e is not None))

    @property
    def weakest(self) -> Effect | None:
        """Necessity has to hold under each fill."""
        return min(self.necessity, key=lambda e: e.margin.estimate, default=None)

    def fills_disagree(self, delta: float) -> bool:
        """Whether the effect matters under one fill and does not under another."""
        known = [e.margin for e in self.necessity if not math.isnan(e.margin.low)]
        return any(m.low > delta for m in known) and any(m.high < delta for m in known)


def effect_of(records: pd.DataFrame, fill: str, ways: Sequence[str], delta: float, planned: int) -> Effect:
    """Mean effect over independent units, counted in every one of the ways (columns of groups); the most careful
    counts."""
    counted = {way: group_means(records["effect"].tolist(), records[way].tolist()) for way in ways}
    margins = {way: mean_interval(values) for way, values in counted.items()}
    widest = max(ways, key=lambda way: _width(margins[way]))
    scarce = min(ways, key=lambda way: margins[way].count)
    found = margins[widest]
    probability = mean_interval(group_means(records["effect_probability"].tolist(), records[widest].tolist()))
    return Effect(
        fill=fill,
        margin=Interval(found.estimate, found.low, found.high, margins[scarce].count),
        probability=probability.within(-1.0, 1.0),
        scarce=WAYS[scarce],
        above=float(np.max([p_above(values, delta) for values in counted.values()])),  # NaN wins
        below=float(np.max([p_above(-values, delta) for values in counted.values()])),
        planned=planned,
        placed=len(records),
    )


def _width(interval: Interval) -> float:
    return math.inf if math.isnan(interval.high) else interval.high - interval.low


def gather(records: pd.DataFrame, coverage: float, delta: float, pictures: int, pairs: Mapping[str, int]) -> Evidence:
    """Of one (target, segment). Above a quarter of the picture, removals do not count, only context swaps.

    Args:
        records: of `core.sat.effects`.
        pictures: that show the segment, each of which was to lose it.
        pairs: planned transplants or swaps a test.
    """
    large = coverage > LARGE
    ways = tuple(WAYS)
    swapped = records["fill"] == SWAP
    removals = records[(records["test"] == "necessity") & (swapped == large)]
    pasted = records[(records["test"] == "sufficiency") & (swapped == large)]
    necessity = tuple(
        effect_of(part, str(fill), ways, delta, pairs.get("necessity", len(part)))
        if large
        else effect_of(part, str(fill), ways[:1], delta, pictures)
        for fill, part in removals.groupby("fill", sort=False)
    )
    sufficiency = None
    if len(pasted):
        planned = pairs.get("sufficiency", len(pasted))
        sufficiency = effect_of(pasted, str(pasted["fill"].iloc[0]), ways, delta, planned)
    joint = None
    together = records[records["test"] == "joint"]
    if len(together) and not large:
        # a picture without other context says here what it says alone
        alone = removals[(removals["fill"] == together["fill"].iloc[0]) & ~removals["image"].isin(together["image"])]
        merged = pd.concat([part for part in (together, alone) if len(part)])
        joint = effect_of(merged, str(together["fill"].iloc[0]), ways[:1], delta, pictures)
    return Evidence(necessity, joint, sufficiency)


def combined_p(tests: Evidence, side: str) -> float:
    """One p for "it relies on it" (`side` "above") or "it speaks against it" ("below"): necessity must hold under every
    fill (the largest p), either test may tell (twice the smaller p), and each needs `LEAST_UNITS`."""
    p = []
    if tests.necessity and all(e.tells for e in tests.necessity):
        p.append(max(getattr(e, side) for e in tests.necessity))
    if tests.sufficiency is not None and tests.sufficiency.tells:
        p.append(getattr(tests.sufficiency, side))
    return min(1.0, len(p) * min(p)) if p else math.nan
