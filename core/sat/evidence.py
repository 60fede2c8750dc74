"""What the tests of one (target, segment) found: effects with intervals over independent units, and their p."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
from pandas.api.typing import DataFrameGroupBy

from core.sat.effects import CONTEXT, OBJECT, SWAP
from core.sat.interventions import LARGE
from core.sat.statistics import LEAST_UNITS, Interval, Mean, clopper_pearson, group_means

# How independent units are counted: a transplant is as much its donor's and its placebo donor's as the recipient's.
WAYS = {"group": "pictures", "donor_group": "donors", "other_group": "placebo donors"}
STRONG = 2.0  # deltas that an effect on a single picture is above where it counts as one
STAYS = 0.5  # part of the pictures in which a segment must do for another that is gone
CHANCE = 0.01  # part of the units that may seem to carry one without any reason
SHOWN = 12  # pictures that carry one
SCATTER = 3.0  # standard deviations of what chance does to a single picture, that it is above as well


@dataclass(frozen=True)
class Effect:
    """One test of one (target, segment) under one fill.

    Attributes:
        margin: mean effect in log-odds; the interval is the widest over the ways of counting independent units, `count`
            the fewest units. probability: the same in probability.
        scarce: what there are the fewest of, in words.
        above, below: p against "at most delta" and "at least -delta", the largest over the ways of counting.
        planned, placed: how many removals or pairs were meant to be, and how many could be made.
        changed: of those made, how many change the answer. flips: part of them that do, less the part of placebos.
        strong: independent units with an effect above `STRONG` deltas and above what placebos scatter, and how many
            units there are.
        carriers: the pictures (or donors) with such an effect, strongest first, `SHOWN` at most.
        unseen: the largest effect that such a test would miss one time in five.
        placebos: mean effect against placebos of the target's own pictures and of others', where both were lent.
    """

    fill: str
    margin: Interval
    probability: Interval
    scarce: str
    above: float
    below: float
    planned: int
    placed: int
    changed: int = 0
    flips: float = 0.0
    strong: tuple[int, int] = (0, 0)
    carriers: tuple[str, ...] = ()
    unseen: float = math.nan
    placebos: tuple[float, float] | None = None

    @property
    def tells(self) -> bool:
        """Whether it rests on enough to confirm something."""
        return self.margin.count >= LEAST_UNITS and not math.isnan(self.margin.high)

    @property
    def rare(self) -> float:
        """Part of the units that may carry a strong effect: the upper 95 % bound."""
        return clopper_pearson(*self.strong)[1]

    @property
    def by_chance(self) -> bool:
        """Whether so many strong effects may be what placebos would show as well."""
        return clopper_pearson(*self.strong, level=0.99)[0] <= CHANCE


@dataclass(frozen=True)
class Together:
    """What a segment does once another is gone, `beside`, in pictures that show both.

    Attributes:
        effect: as of removal under the first fill. excess: how much more than it does alone, picture by picture.
        p: against an excess of at most delta. stays: part of the pictures whose answer stays while only the other is
            gone.
    """

    beside: str
    effect: Effect
    excess: Interval
    p: float
    stays: float

    def found(self, delta: float) -> bool:
        """Whether it may do the other's part. Where the answer is lost with the other one, it does not: it only adds
        to the little that is left of the class."""
        if self.excess.count < LEAST_UNITS or self.stays < STAYS:
            return False
        return self.excess.estimate > delta and self.excess.low > 0


@dataclass(frozen=True)
class Evidence:
    """All tests of one (target, segment).

    Attributes:
        necessity: one a fill, or the context swap. joint: removal after all of the other context, None where there is
            none. sufficiency: None where nothing was pasted.
        together: what may stand in for it, each by itself.
    """

    necessity: tuple[Effect, ...] = ()
    joint: Effect | None = None
    sufficiency: Effect | None = None
    together: tuple[Together, ...] = ()

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
    means = {way: Mean(group_means(records["effect"].tolist(), records[way].tolist())) for way in ways}
    margins = {way: mean.interval for way, mean in means.items()}
    widest = max(ways, key=lambda way: _width(margins[way]))
    scarce = min(ways, key=lambda way: margins[way].count)
    found = margins[widest]
    probability = Mean(group_means(records["effect_probability"].tolist(), records[widest].tolist())).interval
    each = records.groupby(["image", "donor"])  # a picture or pair, whatever lent it placebos
    changed = each["changed"].first().to_numpy(bool)
    strong, carriers = _strong(each, delta)
    return Effect(
        fill=fill,
        margin=Interval(found.estimate, found.low, found.high, margins[scarce].count),
        probability=probability.within(-1.0, 1.0),
        scarce=WAYS[scarce],
        above=float(np.max([mean.p_above(delta) for mean in means.values()])),  # NaN wins
        below=float(np.max([mean.p_below(-delta) for mean in means.values()])),
        planned=planned,
        placed=len(changed),
        changed=int(changed.sum()),
        flips=float(changed.mean() - each["placebo_changed"].mean().mean()),
        strong=strong,
        carriers=carriers,
        unseen=float(np.max([mean.least_seen(delta) for mean in means.values()])),
        placebos=_by_lender(records),
    )


def _strong(each: DataFrameGroupBy, delta: float) -> tuple[tuple[int, int], tuple[str, ...]]:
    """((units with a strong effect, units), who carries it): of pictures, or of the donors whose segment was pasted."""
    donors, groups = (each[column].first() for column in ("donor_group", "group"))
    effects, placebos = each["effect"].mean().to_numpy(), each.size().to_numpy()
    scatter = each["scatter"].first().to_numpy()
    if np.isnan(scatter).all():
        # with one placebo each, chance is what most pictures show
        chance = 1.4826 * float(np.median(np.abs(effects - np.median(effects))))
    else:
        chance = float(np.sqrt(np.nanmean(scatter**2) * (1 + 1 / placebos.mean())))
    carries = effects > max(STRONG * delta, SCATTER * chance)
    found = pd.Series(carries).groupby(donors.where(donors != "", groups).to_numpy()).any()
    order = [n for n in np.argsort(-effects) if carries[n]]
    names = (donor or image for image, donor in (donors.index[n] for n in order))
    return (int(found.sum()), len(found)), tuple(islice(dict.fromkeys(names), SHOWN))


def _by_lender(records: pd.DataFrame) -> tuple[float, float] | None:
    found = records[records["other"] != ""].groupby("familiar")["effect"].mean()
    return (float(found[True]), float(found[False])) if len(found) == 2 else None


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
        planned = pairs.get("sufficiency", pasted.groupby(["image", "donor"]).ngroups)
        sufficiency = effect_of(pasted, str(pasted["fill"].iloc[0]), ways, delta, planned)
    joint, together = None, ()
    after = records[records["test"] == "joint"]
    if len(after) and len(removals) and not large:
        alone = removals[removals["fill"] == after["fill"].iloc[0]]
        parts = {str(beside): part for beside, part in after.groupby("beside", sort=False)}
        # where one segment is all of the other context, it stands for it; a picture without any says what it says alone
        context = sorted((beside for beside in parts if beside != OBJECT), key=lambda beside: beside != CONTEXT)
        if context:
            merged = pd.concat([*(parts[beside] for beside in context), alone]).drop_duplicates("image")
            joint = effect_of(merged, str(merged["fill"].iloc[0]), ways[:1], delta, pictures)
        together = tuple(_together(beside, part, alone, delta) for beside, part in parts.items())
    return Evidence(necessity, joint, sufficiency, together)


def _together(beside: str, after: pd.DataFrame, alone: pd.DataFrame, delta: float) -> Together:
    by_image = alone.set_index("image")["effect"]
    more = after["effect"] - after["image"].map(by_image)
    mean = Mean(group_means(more.tolist(), after["group"].tolist()))
    effect = effect_of(after, str(after["fill"].iloc[0]), ("group",), delta, len(after))
    return Together(beside, effect, mean.interval, mean.p_above(delta), float(1 - after["placebo_changed"].mean()))


def combined_p(tests: Evidence, side: str) -> float:
    """One p for "it relies on it" (`side` "above") or "it speaks against it" ("below"): necessity must hold under every
    fill (the largest p), either test may tell (twice the smaller p), and each needs `LEAST_UNITS`."""
    p = []
    if tests.necessity and all(e.tells for e in tests.necessity):
        p.append(max(getattr(e, side) for e in tests.necessity))
    if tests.sufficiency is not None and tests.sufficiency.tells:
        p.append(getattr(tests.sufficiency, side))
    return min(1.0, len(p) * min(p)) if p else math.nan
