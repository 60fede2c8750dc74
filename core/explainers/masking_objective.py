"""What makes a mask good: with it the classifier still knows the class, without it no more, and it is small and smooth.

Equations of Phang, Park and Geras (2020), from their public code. Per picture, with mask m, class y, classifier F,
masked-in picture x m and masked-out picture x (1 - m):

    in:  CE(F(x m), y) - w_in relu(1[F(x m) = y] - mean(m)) + w_tv TV(m)
    out: -1[F(x) = y] H(F(x (1 - m))) - w_out relu(1[F(x) = y and F(x (1 - m)) != y] - mean(m)) + w_tv TV(m)

so that a mask is asked to be small only where it works already. TV(m) is half the sum of squared differences between
neighbours, along both sides, and 0.3 times the squares along the border.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.classifier import named

BORDER = 0.3


@dataclass(frozen=True)
class MaskingObjective:
    """Weights, and which of both terms count.

    Attributes:
        parts: "both", "in" or "out".
        area_in, area_out, smooth: w_in, w_out, w_tv.
    """

    parts: str = "both"
    area_in: float = 1.0
    area_out: float = 10.0
    smooth: float = 1e-3

    @property
    def inside(self) -> bool:
        return self.parts in ("both", "in")

    @property
    def outside(self) -> bool:
        return self.parts in ("both", "out")

    def loss(
        self,
        masks: Tensor,
        targets: Tensor,
        right: Tensor,
        kept: Tensor | None,
        lost: Tensor | None,
        exclusive: bool,
    ) -> Tensor:
        """[B].

        Args:
            masks: [B, H, W] in [0, 1]. targets: [B], y. right: [B] of booleans, F(x) = y.
            kept, lost: [B, C] logits of the masked-in and the masked-out pictures; those that count are needed.
            exclusive: classes exclude each other; otherwise each stands on its own.
        """
        area, loss = masks.mean((1, 2)), masks.new_zeros(len(masks))
        if self.inside:
            assert kept is not None
            reward = F.relu(named(kept, targets, exclusive).float() - area)
            loss = loss + cross_entropy(kept, targets, exclusive) - self.area_in * reward
        if self.outside:
            assert lost is not None
            away = right & ~named(lost, targets, exclusive)
            reward = F.relu(away.float() - area)
            loss = loss - right.float() * entropy(lost, targets, exclusive) - self.area_out * reward
        return loss + (self.inside + self.outside) * self.smooth * total_variation(masks)


def cross_entropy(logits: Tensor, targets: Tensor, exclusive: bool) -> Tensor:
    """[B], of the class; where classes stand on their own, of it alone."""
    return F.cross_entropy(logits, targets, reduction="none") if exclusive else F.softplus(-_own(logits, targets))


def entropy(logits: Tensor, targets: Tensor, exclusive: bool) -> Tensor:
    """[B] nats, of the answer; where classes stand on their own, of whether it is the class."""
    if not exclusive:
        own = _own(logits, targets)
        return F.softplus(own) - own * own.sigmoid()
    logs = logits.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1)


def _own(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.gather(1, targets[:, None])[:, 0]


def total_variation(masks: Tensor) -> Tensor:
    """[B, H, W] -> [B]: a sum over pixels, as published."""
    down = (masks[:, 1:] - masks[:, :-1]).square().sum((1, 2))
    along = (masks[:, :, 1:] - masks[:, :, :-1]).square().sum((1, 2))
    border = sum(side.square().sum(1) for side in (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]))
    return (down + along + BORDER * border) / 2


def masked(images: Tensor, plates: Tensor, masks: Tensor) -> Tensor:
    """[B, 3, H, W] twice, [B, H, W]: the picture where the mask is 1, the plate where it is 0."""
    return torch.lerp(plates, images, masks[:, None])
