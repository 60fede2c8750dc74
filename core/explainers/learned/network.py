"""The network that gives all players' values for all classes in one pass: a classifier's features, and a small head."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.classifier import Classifier
from core.explainers.games.players import grid_of
from core.explainers.layers import SpatialLayer, maps_of, stages
from core.runtime.folding import unfolded

GROUPS = 8  # of group normalisation
HEADS = 4  # of attention over tokens
POOLED = 3  # how much of a segment lies where: log of its part of the picture, and its centre


@dataclass(frozen=True)
class Shape:
    """What is needed to build the head again.

    Attributes:
        classes: C. grid: patches along each side, as (rows, columns); segments are pooled from a map of that size.
        layers: whose maps are read. channels: of each of them. width: of the head.
        segments: whether the players are each picture's own segments instead of the patches.
    """

    classes: int
    grid: tuple[int, int]
    layers: tuple[SpatialLayer, ...]
    channels: tuple[int, ...]
    width: int
    segments: bool

    @property
    def tokens(self) -> bool:
        """Whether the maps are tokens of a transformer."""
        return self.layers[-1].layout == "tokens"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Shape:
        """Back from JSON."""
        layers = tuple(SpatialLayer.from_dict(one) for one in given["layers"])
        return cls(
            given["classes"], tuple(given["grid"]), layers, tuple(given["channels"]), given["width"], given["segments"]
        )


class Head(nn.Module):
    """Maps of features -> values [B, P, C]; they are 0 until something was learned."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.reads = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in shape.channels)
        self.norm = nn.GroupNorm(GROUPS, width)
        if shape.tokens:
            self.mix: nn.Module = nn.TransformerEncoderLayer(
                width, HEADS, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
        else:
            self.mix = nn.Conv2d(width, width, 3, padding=1)
        inside = width + POOLED if shape.segments else width
        self.hidden = nn.Linear(inside, width)
        self.values = nn.Linear(width, shape.classes)
        nn.init.zeros_(self.values.weight)
        nn.init.zeros_(self.values.bias)

    def forward(self, maps: list[Tensor], masks: Tensor | None = None) -> Tensor:
        """maps: [B, c, h, w] each; masks: [B, P, H, W] of the segments, where those are the players."""
        grid = self.shape.grid
        read = [F.interpolate(layer(one), grid, mode="bilinear", align_corners=False)
                for layer, one in zip(self.reads, maps)]  # fmt: skip
        features = F.gelu(self.norm(torch.stack(read).sum(0)))
        if self.shape.tokens:
            mixed = self.mix(features.flatten(2).transpose(1, 2))
        else:
            mixed = (features + F.gelu(self.mix(features))).flatten(2).transpose(1, 2)  # [B, g * g, width]
        if self.shape.segments:
            assert masks is not None
            mixed = self._pooled(mixed, masks)
        return self.values(F.gelu(self.hidden(mixed)))

    def _pooled(self, features: Tensor, masks: Tensor) -> Tensor:
        """Each segment's mean feature, with how much of the picture it is and where."""
        rows, columns = self.shape.grid
        shares = F.adaptive_avg_pool2d(masks, self.shape.grid).flatten(2)  # [B, P, g * g]
        area = shares.sum(2, keepdim=True)
        shares = shares / area.clamp(min=1e-6)
        down = torch.linspace(-1, 1, rows, device=masks.device)[:, None].expand(rows, columns).flatten()
        along = torch.linspace(-1, 1, columns, device=masks.device)[None, :].expand(rows, columns).flatten()
        size = (area / (rows * columns)).clamp(min=1e-6).log() / 5
        return torch.cat([shares @ features, size, (shares @ down)[..., None], (shares @ along)[..., None]], 2)


def shape_for(classifier: Classifier, grid: int, segments: bool, width: int = 128, maps: int = 3) -> Shape | None:
    """The head for a classifier; None if it keeps no map over the picture."""
    found = stages(classifier)
    if not found:
        return None
    layers, channels = zip(*found[-maps:])
    return Shape(len(classifier.labels), grid_of(classifier.input_size, grid), layers, channels, width, segments)


def existing(masks: Tensor | None) -> Tensor | None:
    """[B, P, H, W] -> [B, P] of booleans: players that have any pixel; None of patches, which all have some."""
    return None if masks is None else masks.flatten(2).amax(2) > 0


def trainable(classifier: Classifier) -> Classifier:
    """A copy whose weights can learn; in evaluation mode, so that it answers a picture the same beside any other."""
    twin = copy.copy(classifier)
    twin.module = unfolded(classifier.module).eval().requires_grad_(True)
    return twin


class Network(nn.Module):
    """A classifier's copy, whose features are read, and the head on them."""

    def __init__(self, backbone: Classifier, shape: Shape, weights: Mapping[str, Tensor] | None = None) -> None:
        """With a head that is drawn anew, or one with these weights, for which no random number is drawn."""
        super().__init__()
        self.backbone = backbone
        self.module = backbone.module  # registered, so that it is trained and saved along
        if weights is None:
            self.head = Head(shape).to(backbone.device)
        else:
            with torch.device("meta"):
                self.head = Head(shape)
            own = {name: value.to(backbone.device, torch.float32) for name, value in weights.items()}
            self.head.load_state_dict(own, assign=True)

    @property
    def shape(self) -> Shape:
        return self.head.shape

    def forward(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] in [0, 1] -> ([B, P, C], and what the features' own last layer says, [B, C]), in one pass."""
        logits, maps = maps_of(self.backbone, self.shape.layers, images)
        return self.head(maps, masks), logits
