"""Intervals, tests and corrections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from core.runtime.randomness import derived_seed

LEAST_UNITS = 10  # independent units of a test, however they are counted, before it confirms
LEVEL = 0.95
POWER = 0.8
DRAWS = 1999
TAIL = 20  # draws beyond a value, below which their number says little
LEAST_SPREAD = 0.25  # of a resample, in parts of the values' own
MOST = 1000  # values, above which a mean is normal enough


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval from `count` independent units; NaN where it cannot be known."""

    estimate: float
    low: float
    high: float
    count: int

    def within(self, least: float, most: float) -> Interval:
        """The same with bounds that the quantity cannot leave."""
        low, high = (bound if math.isnan(bound) else min(max(bound, least), most) for bound in (self.low, self.high))
        return Interval(self.estimate, low, high, self.count)


def group_means(values: Sequence[float], groups: Sequence[str]) -> np.ndarray:
    """One mean a group: pictures of one patient, or pairs with one donor, are not independent."""
    sums: dict[str, list[float]] = {}
    for value, group in zip(values, groups):
        if not math.isnan(value):
            sums.setdefault(group, []).append(value)
    return np.array([np.mean(v) for v in sums.values()], dtype=float)


class Mean:
    """The mean of independent values, and what can be said of it: Student's answer or the bootstrap-t's, whichever is
    the more careful on each side. The first is too narrow for skewed values, the second for heavy tails.

    Attributes:
        interval: with 95 % bounds; NaN bounds under 2 values.

    Source: Efron, Tibshirani (1993), An Introduction to the Bootstrap, section 12.5.
    """

    def __init__(self, values: Sequence[float] | np.ndarray) -> None:
        x = np.asarray(values, dtype=float)
        self._count = len(x)
        self._mean = float(x.mean()) if len(x) else math.nan
        spread = float(x.std(ddof=1)) if len(x) > 1 else math.nan
        self._error = spread / math.sqrt(len(x)) if len(x) > 1 else math.nan
        self._drawn = _studentised(x, spread) if len(x) > 1 and spread > 0 else np.empty(0)

    @cached_property
    def interval(self) -> Interval:
        from scipy import stats

        if self._count < 2:
            return Interval(self._mean, math.nan, math.nan, self._count)
        if not len(self._drawn):
            return Interval(self._mean, self._mean, self._mean, self._count)
        tail = 0.5 - LEVEL / 2
        reach = float(stats.t.isf(tail, self._count - 1))
        least, most = np.quantile(self._drawn, [tail, 1 - tail])
        low = self._mean - self._error * max(reach, float(most))
        return Interval(self._mean, low, self._mean + self._error * max(reach, -float(least)), self._count)

    def p_above(self, threshold: float) -> float:
        """One-sided, of mean <= threshold: small where the mean is above it; NaN under 2 values."""
        return self._p(self._mean - threshold, self._drawn)

    def p_below(self, threshold: float) -> float:
        """One-sided, of mean >= threshold: small where the mean is below it; NaN under 2 values."""
        return self._p(threshold - self._mean, -self._drawn)

    def least_seen(self, threshold: float) -> float:
        """The smallest mean that would be found above the threshold four times out of five, by as many values that
        spread as much; NaN under 2."""
        from scipy import stats

        if self._count < 2:
            return math.nan
        freedom = self._count - 1
        return threshold + self._error * float(stats.t.isf(1 - LEVEL, freedom) + stats.t.ppf(POWER, freedom))

    def _p(self, distance: float, drawn: np.ndarray) -> float:
        from scipy import stats

        if self._count < 2:
            return math.nan
        if not len(drawn):
            return 0.0 if distance > 0 else 1.0
        reached = distance / self._error
        student = float(stats.t.sf(reached, self._count - 1))
        beyond = int((drawn >= reached).sum())
        if beyond >= TAIL:
            return max(student, (1 + beyond) / (1 + len(drawn)))
        # so far out nothing is drawn: Student's tail, as many times heavier as it is where draws end
        end, part = float(np.partition(drawn, -TAIL)[-TAIL]), TAIL / (1 + len(drawn))
        return max(student, min(part, student * part / float(stats.t.sf(end, self._count - 1))))


def _studentised(x: np.ndarray, spread: float) -> np.ndarray:
    """[DRAWS]: how far means of resampled values lie above the mean, in their own standard errors."""
    count = len(x)
    if count > MOST:
        return np.random.default_rng(0).standard_normal(DRAWS)
    weights, own = _resamples(count), x - x.mean()
    means = weights @ own
    variances = (weights @ own**2 - means**2) * count / (count - 1)
    # where a resample has hardly any spread of its own, some is lent to it, or one odd value would bound nothing
    return means / np.sqrt(np.maximum(variances, (LEAST_SPREAD * spread) ** 2) / count)


@lru_cache(maxsize=8)
def _resamples(count: int) -> np.ndarray:
    """[DRAWS, count]: the weight of each value in each resample; the same whatever the values, and made once."""
    random = np.random.default_rng(derived_seed(0, "studentised", count))
    return random.multinomial(count, np.full(count, 1 / count), DRAWS) / count


def clopper_pearson(hits: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """One-sided exact bounds of a share, each at that level: (least, most)."""
    from scipy import stats

    if not count:
        return 0.0, 1.0
    low = float(stats.beta.ppf(1 - level, hits, count - hits + 1)) if hits else 0.0
    return low, float(stats.beta.ppf(level, hits + 1, count - hits)) if hits < count else 1.0


def bootstrap_interval(
    values: Sequence[float], groups: Sequence[str], statistic: str = "median", draws: int = 1000, seed: int = 0
) -> Interval:
    """Percentile bootstrap over groups of the "median" or "mean" of the group means."""
    x = group_means(values, groups)
    if len(x) == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    of = np.median if statistic == "median" else np.mean
    if len(x) == 1:
        return Interval(float(x[0]), math.nan, math.nan, 1)
    random = np.random.default_rng(derived_seed(seed, "bootstrap", len(x)))
    resampled = of(x[random.integers(0, len(x), (draws, len(x)))], axis=1)
    low, high = np.quantile(resampled, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Interval(float(of(x)), float(low), float(high), len(x))


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """q-values; NaN stays NaN and does not count. Benjamini, Hochberg (1995)."""
    from scipy import stats

    values = np.asarray(p, dtype=float)
    known = ~np.isnan(values)
    q = np.full(len(values), np.nan)
    if known.any():
        q[known] = stats.false_discovery_control(values[known], method="bh")
    return q.tolist()
