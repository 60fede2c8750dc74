"""Orders and ranks of maps, all pictures of a batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.runtime.randomness import uniform


def descending(values: Tensor, seeds: Sequence[int]) -> Tensor:
    """[B, P] -> [B, P]: indices from the highest value to the lowest; ties in an order drawn from the row's seed."""
    shuffled = shuffles(values.shape[1], seeds, 0, values.device, salt="ties")
    order = values.gather(1, shuffled).sort(dim=1, descending=True, stable=True).indices
    return shuffled.gather(1, order)


def shuffles(count: int, seeds: Sequence[int], index: int, device: torch.device, salt: str) -> Tensor:
    """[B, count]: one permutation a row, from (its seed, index) alone."""
    return uniform((count,), seeds, [index] * len(seeds), device, salt).argsort(dim=1, stable=True)


def positions(order: Tensor) -> Tensor:
    """[B, P] indices in order -> [B, P] place of each index in that order, from 0."""
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def average_ranks(values: Tensor) -> Tensor:
    """[B, P] -> [B, P] float64 from 1 (lowest) to P; equal values share the mean of their ranks."""
    ordered, values = values.sort(dim=1).values.contiguous(), values.contiguous()
    below = torch.searchsorted(ordered, values)
    up_to = torch.searchsorted(ordered, values, right=True)
    return (below + up_to + 1).double() / 2


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """[B, P], [B, P] -> [B] float64 in [-1, 1], ties by average ranks; NaN where a side is flat or not finite."""
    ranks = torch.stack([average_ranks(a), average_ranks(b)])
    ranks = ranks - ranks.mean(2, keepdim=True)
    product, sizes = (ranks[0] * ranks[1]).sum(1), ranks.square().sum(2)
    usable = (sizes > 0).all(0) & torch.isfinite(a).all(1) & torch.isfinite(b).all(1)
    return torch.where(usable, product / (sizes[0] * sizes[1]).sqrt(), float("nan"))
