"""Removal: what the score loses when a part of the picture is covered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.classifier import Classifier
from core.explainer import Estimate, Explainer, register
from core.fills import PLATES, fill_plate
from core.job import Job
from core.parameters import Parameters, parameter
from core.runtime.chunks import in_chunks
from core.runtime.randomness import spread_order


@dataclass(frozen=True)
class Cover:
    """What is covered, one mask after the other.

    Attributes:
        count: how many masks.
        masks: indices, K of them -> [K, H, W] in [0, 1]; made when asked for, never all held at once.
        average: overlapping effects are averaged (windows) rather than added up (regions).
    """

    count: int
    masks: Callable[[Sequence[int]], Tensor]
    average: bool


def windows(frame: tuple[int, int], window: int, stride: int, device: torch.device) -> Cover:
    """Squares of `window` pixels every `stride` pixels, coarse grid first, the last ones shifted in to the border."""
    rows, columns = (_bands(side, window, stride, device) for side in frame)
    order = _coarse_to_fine(len(rows), len(columns))

    def masks(indices: Sequence[int]) -> Tensor:
        chosen = torch.tensor([order[i] for i in indices], device=device)
        return rows[chosen[:, 0]][:, :, None] * columns[chosen[:, 1]][:, None, :]

    return Cover(len(order), masks, average=True)


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


def remove(classifier: Classifier, job: Job, cover: Cover, fill: str) -> Iterator[Estimate]:
    """score(picture) - score(picture with a mask covered), laid over the mask's pixels.

    Pass 0 of a picture is the picture itself, pass n covers mask n - 1. Pass-major: every picture gets its n-th pass
    before any gets its next, so all maps sharpen together.
    """
    count, total = job.size, (1 + cover.count) * job.size
    plates = fill_plate(job.images, fill)
    sums = torch.zeros(count, *job.frame, device=job.images.device)
    covered = torch.zeros_like(sums)
    whole = torch.zeros(count, device=job.images.device)

    def run(start: int, end: int) -> None:
        picture = torch.arange(start, end, device=job.images.device) % count
        masks = torch.zeros(end - start, *job.frame, device=job.images.device)
        first = min(max(count - start, 0), end - start)  # rows before it show whole pictures
        if first < end - start:
            masks[first:] = cover.masks([n // count - 1 for n in range(start + first, end)])
        contrasts = None if job.contrasts is None else job.contrasts[picture]
        with torch.no_grad():
            shown = torch.lerp(job.images[picture], plates[picture], masks.unsqueeze(1))
            scores = classifier.score(classifier.logits(shown), job.targets[picture], contrasts)
        whole[picture[:first]] = scores[:first]
        effects = whole[picture] - scores
        sums.index_add_(0, picture, effects.view(-1, 1, 1) * masks)
        covered.index_add_(0, picture, masks)

    for done in in_chunks(classifier, total, tuple(job.images.shape[1:]), "forward", run):
        yield Estimate(
            values=sums / covered.clamp(min=1) if cover.average else sums.clone(),
            forward_passes=[done // count + (b < done % count) for b in range(count)],
            backward_passes=[0] * count,
            partial=done < total,
        )


@dataclass(frozen=True)
class OcclusionParameters(Parameters):
    # the bounds keep the number of windows of a square picture between 4 and 1369
    window: float = parameter(
        0.2, "Side of the covering square, as a part of the picture's shorter side", low=0.1, high=0.8, step=0.05
    )
    stride: float = parameter(
        0.35, "Step from square to square, as a part of the square's side", low=0.25, high=1.0, step=0.05
    )
    fill: str = parameter("mean", "What the square is filled with", choices=PLATES)

    def pixels(self, frame: tuple[int, int]) -> tuple[int, int]:
        """(window, stride) in pixels of a model's frame."""
        window = max(1, round(self.window * min(frame)))
        return window, max(1, round(self.stride * window))


@register
class Occlusion(Explainer):
    """Zeiler, Fergus: Visualizing and Understanding Convolutional Networks (ECCV 2014).

    A pixel's value is the mean loss of score over the windows that cover it. Given regions, each is removed as a whole
    instead, and its effect is laid over its own pixels: value(pixel) = sum over regions of region(pixel) * effect.
    """

    name = "occlusion"
    title = "Occlusion"
    summary = "A square slides over the picture; where covering it costs the target score, the classifier looked."
    family = "removal"
    parameters = OcclusionParameters
    signed = True
    default = True

    def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
        parameters: OcclusionParameters = job.parameters
        regions = job.regions
        if regions is not None:
            cover = Cover(len(regions), lambda indices: regions[list(indices)], average=False)
        else:
            cover = windows(job.frame, *parameters.pixels(job.frame), job.images.device)
        yield from remove(classifier, job, cover, parameters.fill)
