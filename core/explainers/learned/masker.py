"""The network that says of every pixel whether the classifier needs it: features in, a mask out.

As in Phang, Park and Geras: Investigating and Simplifying Masking-based Saliency Methods (2020), whose code is public:
of each of the last two stages a 1x1 convolution to 64 channels, batch normalisation, ReLU, up to a quarter of the
picture's size; all beside each other, a 3x3 convolution, a sigmoid, and each value four pixels wide. Reading stages
that were found by watching, for CNNs, ViTs and Swin alike, is this project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.classifier import Classifier
from core.explainers.layers import SpatialLayer, stages

STAGES = 2  # the last ones
CHANNELS = 64  # of each, and of a class
REDUCED = 4  # the mask is so many times smaller than the picture
HARDNESS = 0.1  # temperature of the Gumbel sigmoid


@dataclass(frozen=True)
class MaskerShape:
    """What is needed to build it again.

    Attributes:
        layers: whose maps are read. channels: of each.
        classes: how many it is told apart; 0: the mask is the same for all.
        area: it is told how much to keep. gumbel: its masks are hard.
    """

    layers: tuple[SpatialLayer, ...]
    channels: tuple[int, ...]
    classes: int = 0
    area: bool = False
    gumbel: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> MaskerShape:
        """Back from JSON."""
        layers = tuple(SpatialLayer.from_dict(one) for one in given["layers"])
        return cls(layers, tuple(given["channels"]), given["classes"], given["area"], given["gumbel"])


def masker_shape(classifier: Classifier, by_class: bool, area: bool, gumbel: bool) -> MaskerShape | None:
    """The masker for a classifier; None if that keeps no map over the picture."""
    found = stages(classifier)
    if not found:
        return None
    layers, channels = zip(*found[-STAGES:])
    return MaskerShape(layers, channels, len(classifier.labels) if by_class else 0, area, gumbel)


class Masker(nn.Module):
    """Maps of features -> what the mask is the sigmoid of."""

    def __init__(self, shape: MaskerShape) -> None:
        super().__init__()
        self.shape = shape
        self.reads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, CHANNELS, 1, bias=False), nn.BatchNorm2d(CHANNELS), nn.ReLU())
            for channels in shape.channels
        )
        self.classes = nn.Embedding(shape.classes, CHANNELS) if shape.classes else None
        told = CHANNELS * bool(shape.classes) + shape.area
        self.last = nn.Conv2d(CHANNELS * len(shape.channels) + told, 1, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(
        self, maps: list[Tensor], frame: tuple[int, int], targets: Tensor | None = None, area: Tensor | None = None
    ) -> Tensor:
        """[B, c, h, w] each -> [B, H / 4, W / 4].

        Args:
            frame: (H, W). targets: [B], where classes are told apart. area: [B], where that is told.
        """
        size = (max(1, frame[0] // REDUCED), max(1, frame[1] // REDUCED))
        read = [layer(one) for layer, one in zip(self.reads, maps)]
        if self.classes is not None:
            assert targets is not None
            read.append(self.classes(targets)[:, :, None, None])
        if self.shape.area:
            assert area is not None
            read.append(area.to(read[0].dtype)[:, None, None, None])
        return self._last(read, size)

    def _last(self, read: list[Tensor], size: tuple[int, int]) -> Tensor:
        """`last` of all of them made so large and put beside each other, at a fraction of its cost: what each of the
        nine weights says of a small map is made large, instead of the map's 64 channels."""
        taps = self.last.weight[0].flip(1, 2).flatten(1).T[:, :, None, None]  # [9, channels, 1, 1]
        columns = [F.interpolate(F.conv2d(one, own), size, mode="bilinear", align_corners=False)
                   for one, own in zip(read, taps.split([one.shape[1] for one in read], 1))]  # fmt: skip
        summed = F.fold(sum(columns[1:], columns[0]).flatten(2), size, 3, padding=1)[:, 0]
        return summed if self.last.bias is None else summed + self.last.bias

    def masks(self, logits: Tensor, frame: tuple[int, int], noise: Tensor | None = None) -> Tensor:
        """[B, h, w] -> [B, H, W] in [0, 1].

        Args:
            noise: [B, h, w], evenly in (0, 1): with it a hard masker draws, by the straight-through Gumbel sigmoid;
                without it, it takes what is likelier.
        """
        if not self.shape.gumbel:
            small = logits.sigmoid()
        elif noise is None:
            small = (logits > 0).to(logits.dtype)
        else:
            soft = ((logits + torch.logit(noise, eps=1e-6)) / HARDNESS).sigmoid()
            small = soft + ((soft > 0.5).to(soft.dtype) - soft).detach()
        return F.interpolate(small[:, None], frame, mode="nearest")[:, 0]
