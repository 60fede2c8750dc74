"""Masks with names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from core.preprocessing import Geometry

KINDS = ("object", "context", "unset")
CONTEXT_BY_DEFAULT = ("background",)


def default_kind(name: str) -> str:
    """ "background" starts as context, every other name as unset."""
    return "context" if name.lower() in CONTEXT_BY_DEFAULT else "unset"


@dataclass(frozen=True)
class Segments:
    """The segments of one picture, over its upright pixels. Masks may overlap.

    Attributes:
        masks: bool [P, h, w].
        names: one each; a name that occurs twice has instances 0, 1, ...
        kinds: "object", "context" or "unset", one each.
        source: where they came from ("files", "superpixels", "sam:...").
    """

    masks: np.ndarray
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        if self.masks.ndim != 3 or not len(self.masks) == len(self.names) == len(self.kinds):
            raise ValueError(f"{len(self.names)} names and {len(self.kinds)} kinds for masks {self.masks.shape}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def instances(self) -> tuple[int, ...]:
        """For each mask, how many of the same name stand before it."""
        return tuple(self.names[:i].count(name) for i, name in enumerate(self.names))

    @property
    def named(self) -> bool:
        """False for superpixels and the like, whose names are only numbers."""
        return self.source != "superpixels"

    def with_context(self, context: Iterable[str]) -> Segments:
        """The same, with these names marked as context."""
        marked = set(context)
        kinds = tuple("context" if name in marked else kind for name, kind in zip(self.names, self.kinds))
        return replace(self, kinds=kinds)

    def to_model(self, geometry: Geometry) -> Tensor:
        """[P, H, W] float32 in [0, 1]: area-averaged into the model's frame."""
        return geometry.mask_to_model(self.masks)

    def regions(self, geometry: Geometry) -> Tensor:
        """[P + 1, H, W]: a partition for games: where masks overlap they share equally; the last is what is left."""
        masks = self.to_model(geometry)
        total = masks.sum(0, keepdim=True)
        return torch.cat([masks / total.clamp(min=1), (1 - total).clamp(min=0)])


def segments_from_label_map(
    label_map: np.ndarray, names: dict[int, tuple[str, str]], source: str = "files"
) -> Segments:
    """From one integer label a pixel.

    Args:
        label_map: [h, w] integers.
        names: value -> (name, kind); values without a name belong to no segment.
    """
    present = [value for value in np.unique(label_map).tolist() if value in names]
    masks = np.stack([label_map == value for value in present]) if present else np.zeros((0, *label_map.shape), bool)
    chosen = [names[value] for value in present]
    return Segments(masks, tuple(name for name, _ in chosen), tuple(kind for _, kind in chosen), source)


def check_size(segments: Segments, size: tuple[int, int], what: str) -> Segments:
    """Segments must lie over their own picture.

    Raises:
        UserError: of another size.
    """
    if segments.masks.shape[1:] != size:
        got, want = "x".join(map(str, segments.masks.shape[1:])), "x".join(map(str, size))
        raise UserError(f"The mask of {what} is {got} pixels (height x width), its picture {want}; make them equal.")
    return segments
