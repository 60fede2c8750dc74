"""What a report is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from core.choice import Choice, distinct
from core.errors import UserError
from core.fills import PLATES
from core.sat.stamps import Stamp


@dataclass(frozen=True)
class ReportOptions:
    """What to do.

    Attributes:
        explainers: whose maps are cut; the first one leads.
        check: run the tests (removals, transplants, swaps); without them nothing is confirmed or cleared.
        delta: smallest effect on the log-odds that matters; None: see `delta_for`.
        fills: what stands where a segment was removed; necessity must hold under each.
        context: segment names to mark as context.
        recipients: pictures a segment is transplanted to, per (target, segment).
        shard: pictures a Parquet file, None for what suits the data set; batch: pictures explained at once, at most a
            shard.
        control_pictures: pictures a target explained again under randomised weights.
        stamps: patches to paste on pictures.
        by: columns of the manifest, by whose values pictures are judged apart, over all answers.
        target: a class to explain and test on every picture; None for what each is taken for.
    """

    explainers: tuple[Choice, ...]
    check: bool = True
    seed: int = 0
    delta: float | None = None
    fills: tuple[str, ...] = ("inpaint", "mean")
    context: tuple[str, ...] = ()
    recipients: int = 60
    shard: int | None = None
    batch: int = 8
    control_pictures: int = 12
    stamps: tuple[Stamp, ...] = ()
    target: int | None = None
    by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.explainers:
            raise UserError("A report needs at least one explainer.")
        distinct(self.explainers)
        if len(self.fills) < 2 or any(fill not in PLATES for fill in self.fills):
            raise UserError(f"Give at least two fills of {', '.join(PLATES)}.")
        names = [stamp.name for stamp in self.stamps]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"Two stamps are called {twice!r}; rename a file.")
        if self.delta is not None and not self.delta > 0:
            raise UserError(f"delta must be above 0, got {self.delta}.")
