"""What a report that is still being made would say of the pictures it has seen: estimates, and no verdicts yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.runtime import folders
from core.runtime.streams import streamed
from core.sat.evidence import Evidence, gather
from core.sat.statistics import Interval
from core.sat.verdicts import delta_for

FEWEST = 5  # pictures of a cell


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
    found = []
    for target, records in streamed([out / "effects", out / "pairs"], "target"):
        for segment, part in records.groupby("segment"):
            seen = part["image"].nunique()
            if seen >= FEWEST:
                tests: Evidence = gather(part, 0.0, delta, seen, {})
                sizes = (None if one is None else one.margin for one in (tests.weakest, tests.sufficiency))
                found.append(Estimate(labels[int(target)], str(segment), seen, *sizes))
    return len(pictures), sorted(found, key=lambda one: -one.size)
