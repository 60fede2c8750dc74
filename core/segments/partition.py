"""Segments, which may overlap, as the players of a removal or a game, which may not."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from core.regions import Regions
from core.segments.segments import Segments

LEAST_AREA = 0.5  # pixels of the model's frame; less than that removes nothing


def partition(masks: Tensor) -> Tensor:
    """[P, H, W] in [0, 1] -> [P + 1, H, W] that add up to 1 everywhere: the last is what no mask covers.

    Where masks overlap the smaller one has the pixel (of two equally large ones the later), so that a part is whole and
    what it is a part of is without it.
    """
    regions = torch.zeros(len(masks) + 1, *masks.shape[1:], dtype=masks.dtype, device=masks.device)
    left = torch.ones_like(regions[0])
    area = masks.sum((1, 2)).tolist()
    for p in sorted(range(len(masks)), key=lambda p: (area[p], -p)):
        regions[p] = torch.minimum(masks[p], left)
        left = left - regions[p]
    regions[-1] = left
    return regions


def regions_of(pictures: Iterable[tuple[Segments, Tensor]]) -> Regions:
    """What can be taken away of each picture: its segments and the rest, with their names (None for the rest, and for a
    segment without one). Those that have next to nothing of their own left are left out.

    Args:
        pictures: segments, and their masks in the model's frame, [P, H, W] (`Segments.to_model`).
    """
    masks, names = [], []
    for segments, own in pictures:
        regions = partition(own)
        kept = (regions.sum((1, 2)) >= LEAST_AREA).nonzero().flatten()
        masks.append(regions[kept])
        names.append([(segments.names[p] or None) if p < len(segments) else None for p in kept.tolist()])
    return Regions.of(masks, names)
