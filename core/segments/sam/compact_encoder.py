"""The image encoder of the compact SAM: a small residual network with a way back up, made of plain convolutions.

Segment Anything's own encoder is a vision transformer, which has to learn from very many pictures what an edge is.
Trained from nothing for ten minutes it reached an IoU of 0.06 to 0.12 for a click. Convolutions see edges from the
start. The way back up is that of Lin et al., Feature Pyramid Networks (CVPR 2017); blocks are those of He et al., Deep
Residual Learning (CVPR 2016), with Wu and He's group normalisation (ECCV 2018), which does the same in training and in
use.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP = 8  # channels that are normalised together
FINE = 4  # pixels a side of the finest features that the embedding is made from
GRID = 8  # pixels a side of one place of the embedding


class ConvEncoder(nn.Module):
    """[B, 3, s, s] -> [B, embedding, s / 8, s / 8], for any s of whole strides.

    Four levels (strides 4, 8, 16, 32) go down, and up again to stride 4, where thin parts are still seen. What is found
    there is folded, four neighbours into one place, so that no detail is averaged away: a SAM's mask decoder unfolds
    each place into four by four pixels of a mask.

    Args:
        side: of the whole input in pixels, which the package reads as `img_size`.
        widths: channels of the four levels; blocks: residual blocks of each; way_back: channels of each level on the
            way up.
        embedding: channels of the answer.
    """

    def __init__(
        self, side: int, widths: tuple[int, ...], blocks: tuple[int, ...], way_back: tuple[int, ...], embedding: int
    ) -> None:
        super().__init__()
        self.img_size = side
        first = max(GROUP, widths[0] // 2)
        self.stem = nn.Sequential(_halving(3, first), nn.ReLU())
        self.levels = nn.ModuleList(
            nn.Sequential(_halving(before, width), nn.ReLU(), *(Block(width) for _ in range(count)))
            for (before, width), count in zip(pairwise((first, *widths)), blocks)
        )
        self.sides = nn.ModuleList(nn.Conv2d(width, own, 1) for width, own in zip(widths, way_back))
        self.ups = nn.ModuleList(nn.Conv2d(coarse, own, 1) for own, coarse in pairwise(way_back))
        self.mixes = nn.ModuleList(Block(own) for own in way_back)
        self.out = nn.Conv2d(way_back[1] + way_back[0] * (GRID // FINE) ** 2, embedding, 1)
        self.norm = nn.GroupNorm(embedding // GROUP, embedding)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures as `Sam.preprocess` makes them -> embeddings."""
        x = self.stem(images)
        seen = []
        for level in self.levels:
            x = level(x)
            seen.append(x)
        grid = x = self.mixes[-1](self.sides[-1](x))
        for at in range(len(seen) - 2, -1, -1):
            grid = x
            below = F.interpolate(self.ups[at](x), scale_factor=2.0, mode="bilinear")
            x = self.mixes[at](self.sides[at](seen[at]) + below)
        return self.norm(self.out(torch.cat([grid, F.pixel_unshuffle(x, GRID // FINE)], 1)))


class Block(nn.Module):
    """A residual block; at first it hands its input on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(width // GROUP, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.gain = nn.GroupNorm(width // GROUP, width)
        nn.init.zeros_(self.gain.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.gain(self.second(F.relu(self.norm(self.first(x))))))


def _halving(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(after // GROUP, after)
    )
