"""A task that teaches a SAM's encoder to tell things apart, with every pixel of a picture and no prompt.

Pixels are given places in a small space, near to each other where they belong to one thing: the pixels within reach of
an anchor are to be its thing. One pass of the encoder answers for as many anchors as one likes, where the mask decoder
has to work for each prompt. The idea is that of Fathi et al.: Semantic Instance Segmentation via Deep Metric Learning
(2017). The head only serves training and is no part of the SAM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.demo.sam_loss import balanced, dice

DIMENSIONS = 16  # of the space, once for parts and once for wholes
FINER = 4  # as many pixels a side as a SAM's masks have for each place of its embedding


class Apart(nn.Module):
    """The head: embedding [B, C, g, g] and positions [B, C, g, g] -> places [B, 2, DIMENSIONS, 4g * 4g]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(channels, 2 * DIMENSIONS * FINER**2, 1)
        self.where = nn.Conv2d(channels, 2 * DIMENSIONS, 1, bias=False)
        self.reach = nn.Parameter(torch.tensor([2.0, 2.0]))

    def forward(self, embedding: Tensor, positions: Tensor) -> Tensor:
        near = F.interpolate(self.where(positions), scale_factor=float(FINER), mode="bilinear")
        places = F.pixel_shuffle(self.fine(embedding), FINER) + near
        return places.float().unflatten(1, (2, DIMENSIONS)).flatten(3)

    def loss(self, places: Tensor, things: Tensor, anchors: int, generator: torch.Generator) -> tuple[Tensor, float]:
        """How badly the anchors' surroundings are their things; and the mean IoU of both.

        Args:
            places: as of `forward`; things: [B, 2, 4g, 4g] integers, by parts and by wholes.
        """
        labels = things.flatten(2).long()
        at = drawn(labels[:, 0], anchors, generator)
        targets = (labels.gather(2, at[:, None].expand(-1, 2, -1))[..., None] == labels[:, :, None]).float()
        own = places.gather(3, at[:, None, None].expand(-1, 2, DIMENSIONS, -1))
        apart = own.square().sum(2)[..., None] + places.square().sum(2)[:, :, None] - 2 * own.transpose(2, 3) @ places
        logits = (self.reach[:, None, None] - apart)[..., None]
        targets = targets[..., None]
        loss = (balanced(logits, targets) + dice(logits, targets)).mean()
        with torch.no_grad():
            masks = logits > 0
            both, either = (masks & (targets > 0)).sum((3, 4)), (masks | (targets > 0)).sum((3, 4))
        return loss, float((both / either).mean())


def drawn(labels: Tensor, anchors: int, generator: torch.Generator) -> Tensor:
    """[B, P] -> [B, anchors] pixels, of small things nearly as many as of large ones."""
    sizes = torch.zeros(len(labels), 256).scatter_add_(1, labels, torch.ones(labels.shape))
    return torch.multinomial(sizes.clamp(min=1).pow(-0.7).gather(1, labels), anchors, generator=generator)
