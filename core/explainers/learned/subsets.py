"""Which players are present in the pictures that an explainer learns from.

That subsets are drawn by approximated importance, so that likely and unlikely pictures are met alike, is the Salvage
paper's; the rule itself is not public. "informed" is this project's own: predict and balance. "gumbel" guides by the
values themselves, "shapley" is the Shapley kernel (as FastSHAP draws it), "uniform" has all sizes alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.explainers.learned.objective import of_class

CANDIDATES = 8  # subsets that are weighed for each that is taken
BINS = 5  # of predicted likelihood
KERNEL = 0.5  # part of the subsets that is always drawn by the Shapley kernel
BOUNDS = (0.2, 0.8)  # of likelihood: low below, high above


@dataclass(frozen=True)
class Subsets:
    """Some for each of B pictures.

    Attributes:
        present: [B, M, P] of booleans.
        weights: [B, M], by which their losses are weighed; their mean is 1.
    """

    present: Tensor
    weights: Tensor


def shapley_subsets(exists: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """[B, M, P]: sizes k with probability 1 / (k (P - k)), any of that size alike; each is followed by its complement.

    Args:
        exists: [B, P] of booleans, which players each picture has; with a single one, subsets are empty or full.
        count: M, even.
    """
    players = exists.sum(1)
    most = int(players.max())
    sizes = torch.arange(1, max(most, 2), device=exists.device)[None, :]
    weights = 1 / (sizes * (players[:, None] - sizes)).clamp(min=1)
    weights = torch.where(sizes < players[:, None], weights.double(), 0.0)
    weights[players < 2, 0] = 1.0
    drawn = torch.multinomial(weights.cpu(), count // 2, replacement=True, generator=generator).to(exists.device) + 1
    return _paired(drawn, exists, generator)


def uniform_subsets(exists: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """[B, M, P]: every size from none to all alike; each is followed by its complement."""
    chance = torch.rand(len(exists), count // 2, generator=generator).to(exists.device)
    sizes = (chance * (exists.sum(1)[:, None] + 1)).long()
    return _paired(sizes, exists, generator)


def _paired(sizes: Tensor, exists: Tensor, generator: torch.Generator) -> Tensor:
    """[B, N], [B, P] -> [B, 2 N, P]."""
    order = torch.rand(*sizes.shape, exists.shape[1], generator=generator).to(exists.device)
    order = torch.where(exists[:, None], order, 2.0)  # those that are not there come last
    first = order.argsort(-1).argsort(-1) < sizes[..., None]
    both = torch.stack([first & exists[:, None], ~first & exists[:, None]], 2)
    return both.flatten(1, 2)


def informed_subsets(
    exists: Tensor,
    likelihood: Likelihood,
    count: int,
    generator: torch.Generator,
    unbiased: bool = False,
) -> Subsets:
    """Half by the kernel, half out of many more so that each range of predicted likelihood is met alike.

    Args:
        likelihood: predicts how likely the target is with some players only.
        unbiased: weigh each subset so that the loss is that of the kernel, in expectation; otherwise the fit is closer
            where the kernel seldom looks, and its optimum another than the kernel's.
    """
    kernel = max(2, int(count * KERNEL) // 2 * 2)
    candidates = shapley_subsets(exists, CANDIDATES * count, generator)
    bins = (likelihood(candidates) * BINS).long().clamp(0, BINS - 1)  # [B, N]
    counts = torch.zeros(len(exists), BINS, device=exists.device).scatter_add_(
        1, bins, torch.ones_like(bins, dtype=torch.float32)
    )
    rarity = -counts.gather(1, bins).log()
    noise = torch.rand(bins.shape, generator=generator).to(exists.device).clamp(min=1e-12)
    chosen = (rarity - (-noise.log()).log()).topk(count - kernel, dim=1).indices  # without replacement
    balanced = candidates.gather(1, chosen[..., None].expand(-1, -1, candidates.shape[-1]))
    present = torch.cat([shapley_subsets(exists, kernel, generator), balanced], 1)
    weights = torch.ones(present.shape[:2], device=exists.device)
    if unbiased:
        own = bins.gather(1, chosen)
        taken = torch.zeros_like(counts).scatter_add_(1, own, torch.ones_like(own, dtype=torch.float32))
        share = (counts / counts.sum(1, keepdim=True)).gather(1, own) / (taken / (count - kernel)).gather(1, own)
        weights[:, kernel:] = share / share.mean(1, keepdim=True)
    return Subsets(present, weights)


def gumbel_subsets(exists: Tensor, values: Tensor, count: int, generator: torch.Generator) -> Subsets:
    """Half by the kernel, half the players with the greatest values plus Gumbel noise, each with its complement.

    Args:
        values: [B, P], of the target, on the scale of log-odds.
    """
    kernel = max(2, int(count * KERNEL) // 2 * 2)
    if count - kernel < 2:
        return Subsets(shapley_subsets(exists, count, generator), torch.ones(len(exists), count, device=exists.device))
    guided = shapley_subsets(exists, count - kernel, generator)[:, ::2]
    noise = torch.rand(*guided.shape, generator=generator).to(exists.device).clamp(1e-12, 1 - 1e-7)
    spread = values.std(1, keepdim=True).clamp(min=1e-6)
    keys = torch.where(exists[:, None], (values / spread)[:, None] - (-noise.log()).log(), -torch.inf)
    first = keys.argsort(-1, descending=True).argsort(-1) < guided.sum(-1, keepdim=True)
    both = torch.stack([first & exists[:, None], ~first & exists[:, None]], 2).flatten(1, 2)
    present = torch.cat([shapley_subsets(exists, kernel, generator), both], 1)
    return Subsets(present, torch.ones(present.shape[:2], device=exists.device))


class Likelihood:
    """How likely a picture's target is with some players only, as the explainer predicts it without a pass."""

    def __init__(self, values: Tensor, null: Tensor, targets: Tensor, temperature: float, sigmoid: bool) -> None:
        """values [B, P, C]; null [C] or [B, C]; targets [B]; all detached."""
        self.values, self.null, self.targets = values, null.expand(len(values), -1), targets
        self.temperature, self.sigmoid = temperature, sigmoid

    def __call__(self, present: Tensor) -> Tensor:
        """[B, M, P] -> [B, M] in [0, 1]."""
        logits = (self.null[:, None] + present.to(self.values.dtype) @ self.values) / self.temperature
        found = logits.sigmoid() if self.sigmoid else logits.softmax(-1)
        return of_class(found, self.targets)


def balance(likelihoods: Tensor) -> tuple[float, float, float]:
    """Parts of the subsets whose target is unlikely (below 0.2), in between, and likely (above 0.8)."""
    low, high = (likelihoods < BOUNDS[0]).float().mean(), (likelihoods > BOUNDS[1]).float().mean()
    return float(low), float(1 - low - high), float(high)


def drawn(
    name: str,
    exists: Tensor,
    likelihood: Likelihood,
    count: int,
    numbers: torch.Generator,
    unbiased: bool = False,
) -> Subsets:
    """By the sampler of that name, one of `core.learning.SAMPLERS`."""
    if name == "informed":
        return informed_subsets(exists, likelihood, count, numbers, unbiased)
    if name == "gumbel":
        return gumbel_subsets(exists, of_class(likelihood.values, likelihood.targets), count, numbers)
    make = shapley_subsets if name == "shapley" else uniform_subsets
    present = make(exists, count, numbers)
    return Subsets(present, torch.ones(present.shape[:2], device=exists.device))
