"""What a report that is still being made would say of the pictures it has seen: estimates, and no verdicts yet."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.runtime import folders
from core.runtime.streams import streamed
from core.sat.evidence import Effect, gather
from core.sat.statistics import Interval
from core.sat.verdicts import delta_for

FEWEST = 5  # independent units of a test


@dataclass(frozen=True)
class Estimate:
    """What one segment does for one class, as far as it is known.

    Attributes:
        pictures: that were taken for the class and show the segment.
        necessity, sufficiency: log-odds beyond the placebo's, with 95 % intervals; None as long as nothing was tested.
    """

    target: str
    segment: str
    pictures: int
    necessity: Interval | None
    sufficiency: Interval | None

    @property
    def size(self) -> float:
        """How much stands out already: the interval's end that lies nearer to zero, of the clearer test."""
        known = [one for one in (self.necessity, self.sufficiency) if one is not None]
        return max((max(one.low, -one.high) for one in known), default=0.0)


def so_far(out: Path, labels: Sequence[str]) -> tuple[int, list[Estimate]]:
    """From the shards that lie in a report's folder: how many pictures, and what stands out most first.

    Raises:
        UserError: a shard is damaged.
    """
    pictures = folders.read_shards(out / "pictures")
    if not len(pictures):
        return 0, []
    delta = delta_for(pictures["margin"].tolist())
    covered: dict[tuple[int, str], list[float]] = {}
    for target, text in zip(pictures["target"], pictures["coverage"]):
        for name, part in json.loads(text).items():
            covered.setdefault((int(target), name), []).append(part)
    found = []
    for target, records in streamed([out / "effects", out / "pairs"], "target"):
        for segment, part in records.groupby("segment"):
            parts = covered.get((int(target), str(segment)), [])
            if not parts:
                continue
            tests = gather(part, float(np.median(parts)), delta, len(parts), {})
            sizes = [_size(tests.weakest), _size(tests.sufficiency)]
            if any(sizes):
                found.append(Estimate(labels[int(target)], str(segment), len(parts), *sizes))
    return len(pictures), sorted(found, key=lambda one: -one.size)


def _size(test: Effect | None) -> Interval | None:
    """With its interval; None where there are too few to have one."""
    return None if test is None or test.margin.count < FEWEST or math.isnan(test.margin.low) else test.margin
