"""Intervals, tests and corrections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.runtime.randomness import derived_seed

LEVEL = 0.95


@dataclass(frozen=True)
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


def mean_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Mean with Student's interval."""
    from scipy import stats

    x = np.asarray(values, dtype=float)
    n = len(x)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(x.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1) * x.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def p_above(values: Sequence[float] | np.ndarray, threshold: float) -> float:
    """One-sided Student test of mean <= threshold: small where the mean is above it; NaN under 2 values."""
    from scipy import stats

    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return math.nan
    error = x.std(ddof=1) / math.sqrt(len(x))
    if error == 0:
        return 0.0 if x.mean() > threshold else 1.0
    return float(stats.t.sf((x.mean() - threshold) / error, len(x) - 1))


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
