"""Removal: what the score loses when a part of the picture is covered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.attribution import Unit
from core.classifier import Classifier
from core.explainer import Estimate, Explainer, Players, register
from core.fills import PLATES, fill_plate
from core.job import Job
from core.parameters import Parameters, parameter
from core.passes import Turns, scored
from core.regions import regions_parameter
from core.runtime.randomness import spread_order

Masks = Callable[[Tensor, Sequence[int]], Tensor]  # (pictures [K], numbers, K of them) -> [K, H, W] in [0, 1]


@dataclass(frozen=True)
class Windows:
    """Squares that slide over the frame, coarse grid first.

    Attributes:
        rows, columns: [R, H], [C, W] of 0 and 1: where windows lie along each side.
        order: (row, column) of each window.
    """

    rows: Tensor
    columns: Tensor
    order: Sequence[tuple[int, int]]

    @property
    def count(self) -> int:
        return len(self.order)

    def masks(self, numbers: Sequence[int]) -> Tensor:
        """[K, H, W]: made when asked for, never all held at once."""
        chosen = torch.tensor([self.order[n] for n in numbers], device=self.rows.device)
        return self.rows[chosen[:, 0]][:, :, None] * self.columns[chosen[:, 1]][:, None, :]

    def mean_over(self, effects: Tensor, known: Tensor) -> Tensor:
        """[B, N] twice, 0 what is not known -> [B, H, W]: the mean effect of the known windows that cover a pixel."""
        return self._laid(effects) / self._laid(known.to(effects.dtype)).clamp(min=1)

    def _laid(self, values: Tensor) -> Tensor:
        grid = values.new_zeros(len(values), len(self.rows), len(self.columns))
        down, along = zip(*self.order)
        grid[:, list(down), list(along)] = values
        return self.rows.T @ grid @ self.columns


def windows(frame: tuple[int, int], window: int, stride: int, device: torch.device) -> Windows:
    """Squares of `window` pixels every `stride` pixels, the last ones shifted in to the border."""
    rows, columns = (_bands(side, window, stride, device) for side in frame)
    return Windows(rows, columns, _coarse_to_fine(len(rows), len(columns)))


def _bands(side: int, window: int, stride: int, device: torch.device) -> Tensor:
    """[N, side] of 0 and 1: where each window lies along one side; every pixel is in one at least."""
    window = min(window, side)
    starts = sorted({*range(0, side - window + 1, stride), side - window})
    first, pixels = torch.tensor(starts, device=device)[:, None], torch.arange(side, device=device)
    return ((pixels >= first) & (pixels < first + window)).float()


def _coarse_to_fine(rows: int, columns: int) -> list[tuple[int, int]]:
    """All (row, column), so ordered that the first k * k of them are spread evenly over the whole grid."""
    rank_row = {row: rank for rank, row in enumerate(spread_order(rows))}
    rank_column = {column: rank for rank, column in enumerate(spread_order(columns))}

    def refinement(cell: tuple[int, int]) -> tuple[int, int, int]:
        down, along = rank_row[cell[0]], rank_column[cell[1]]
        return max(down, along), down, along

    return sorted(((row, column) for row in range(rows) for column in range(columns)), key=refinement)


@dataclass(frozen=True)
class Losses:
    """What is known after a chunk.

    Attributes:
        effects: [B, N], score(picture) - score(picture with mask n covered); 0 where it is still to come.
        known: [B, N] of booleans.
        passes: pictures sent through for each picture. partial: more will come.
    """

    effects: Tensor
    known: Tensor
    passes: list[int]
    partial: bool


def remove(classifier: Classifier, job: Job, counts: Sequence[int], masks: Masks, fill: str) -> Iterator[Losses]:
    """Cover the first `counts[b]` masks of each picture b, one at a time.

    Copy 0 of a picture is the picture itself, copy n has mask n - 1 covered.
    """
    device, most = job.images.device, max(counts)
    plates = fill_plate(job.images, fill)
    turns = Turns.up_to([1 + count for count in counts], device)
    found = torch.zeros(job.size, 1 + most, device=device)

    def make(pictures: Tensor, numbers: Sequence[int]) -> Tensor:
        covered = masks(pictures, [max(n - 1, 0) for n in numbers])
        covered[[n == 0 for n in numbers]] = 0
        return torch.lerp(job.images[pictures], plates[pictures], covered.unsqueeze(1))

    def score(logits: Tensor, pictures: Tensor) -> Tensor:
        return job.score(classifier, logits, pictures)

    for done in scored(classifier, tuple(job.images.shape[1:]), turns, make, score, found):
        passes = turns.passed(done, job.size)
        known = torch.arange(most, device=device) < torch.tensor(passes, device=device)[:, None] - 1
        effects = torch.where(known, found[:, :1] - found[:, 1:], 0.0)
        yield Losses(effects, known, passes, done < len(turns))


@dataclass(frozen=True)
class OcclusionParameters(Parameters):
    # the bounds keep the number of windows of a square picture between 4 and 1369
    window: float = parameter(
        0.2, "Side of the covering square, as a part of the picture's shorter side", low=0.1, high=0.8, step=0.05
    )
    stride: float = parameter(
        0.35, "Step from square to square, as a part of the square's side", low=0.25, high=1.0, step=0.05
    )
    fill: str = parameter("mean", "What is put in place of what is covered", choices=PLATES)
    regions: str = regions_parameter(
        "windows", help="What is covered: a sliding square, or each of the picture's segments"
    )

    def pixels(self, frame: tuple[int, int]) -> tuple[int, int]:
        """(window, stride) in pixels of a model's frame."""
        window = max(1, round(self.window * min(frame)))
        return window, max(1, round(self.stride * window))


@register
class Occlusion(Explainer):
    """Zeiler, Fergus: Visualizing and Understanding Convolutional Networks (ECCV 2014).

    With windows a pixel's value is the mean loss of score over those that cover it, an intensity: windows overlap, so
    a piece of evidence is counted as often as it is covered, which is less at the border, and no weights of the windows
    would make the map sum to anything. Segments are removed as wholes and do not overlap: each one's loss is its value
    as a player, laid over its own pixels and divided by their area.
    """

    name = "occlusion"
    title = "Occlusion"
    summary = "A square slides over the picture; where covering it costs the target score, the classifier looked."
    family = "removal"
    parameters = OcclusionParameters
    signed = True
    default = True

    def unit_of(self, parameters: OcclusionParameters) -> Unit:
        return "density" if self.wants_regions(parameters) else "intensity"

    def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
        parameters: OcclusionParameters = job.parameters
        if self.wants_regions(parameters):
            yield from remove_regions(classifier, job, parameters.fill)
        else:
            sliding = windows(job.frame, *parameters.pixels(job.frame), job.images.device)
            yield from remove_windows(classifier, job, sliding, parameters.fill)


def remove_windows(classifier: Classifier, job: Job, sliding: Windows, fill: str) -> Iterator[Estimate]:
    """A pixel's value: the mean loss of score over the windows that cover it."""
    counts = [sliding.count] * job.size
    for found in remove(classifier, job, counts, lambda pictures, numbers: sliding.masks(numbers), fill):
        values = sliding.mean_over(found.effects, found.known)
        yield Estimate(values, found.passes, [0] * job.size, partial=found.partial)


def remove_regions(classifier: Classifier, job: Job, fill: str) -> Iterator[Estimate]:
    """Each of a picture's own regions as a player, worth what the score loses without it."""
    regions = job.regions
    assert regions is not None  # `BoundExplainer.steps` has seen to it

    def masks(pictures: Tensor, numbers: Sequence[int]) -> Tensor:
        return regions.masks[pictures, list(numbers)]

    for found in remove(classifier, job, regions.counts, masks, fill):
        yield Estimate.of_players(Players(found.effects), regions, found.passes, found.partial)
