"""The regions of pictures that can be taken away: the players of a removal or a game."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from core.errors import UserError
from core.parameters import parameter

SEGMENTS = "segments"
"""The choice of a parameter called `regions` that asks for the picture's own."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Each picture's own, however many they are. Equal contents are equal.

    Attributes:
        masks: [B, P, H, W] in [0, 1], or of booleans; of one picture they add up to 1 at most, anywhere.
        present: [B, P] of booleans; a picture's own come first, what is left up to P is padding.
        names: a name, or None where it has none, for each that is present, of each of the B pictures.
    """

    masks: Tensor
    present: Tensor
    names: tuple[tuple[str | None, ...], ...]

    @classmethod
    def of(cls, masks: Sequence[Tensor], names: Sequence[Sequence[str | None]] | None = None) -> Regions:
        """From one [P, H, W] a picture, each with as many as it has, at least one."""
        most = max(len(own) for own in masks)
        padded = torch.stack([torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])]) for own in masks])
        counts = torch.tensor([[len(own)] for own in masks], device=padded.device)
        present = torch.arange(most, device=padded.device) < counts
        names = names or [(None,) * len(own) for own in masks]
        return cls(padded, present, tuple(tuple(own) for own in names))

    @property
    def counts(self) -> list[int]:
        """How many each picture has."""
        return self.present.sum(1).tolist()

    @cached_property
    def digest(self) -> str:
        """Of masks and names."""
        found = hashlib.sha256(repr((self.masks.shape, self.counts, self.names)).encode("utf-8", "surrogateescape"))
        found.update(self.masks.cpu().contiguous().numpy())
        return found.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regions) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def to(self, device: torch.device) -> Regions:
        """The same on a device, as float32."""
        return Regions(self.masks.to(device, torch.float32), self.present.to(device), self.names)


def regions_parameter(*otherwise: str, help: str) -> Any:  # noqa: A002 - the word `parameter` uses
    """What is removed: an explainer's own cuts (`otherwise`, the first the default), or the picture's segments."""
    return parameter(otherwise[0], help, choices=(*otherwise, SEGMENTS))


def checked_regions(given: Tensor | Regions, count: int, frame: tuple[int, int]) -> Regions:
    """As `BoundExplainer.steps` takes them: [P, H, W] for all pictures, or [B, P, H, W].

    Raises:
        UserError: of another shape.
    """
    masks = given.masks if isinstance(given, Regions) else given
    if masks.dim() == 3 and not isinstance(given, Regions):
        masks = masks.expand(count, *masks.shape)
    if masks.dim() != 4 or (len(masks), *masks.shape[-2:]) != (count, *frame) or not masks.shape[1]:
        raise UserError(
            f"Expected regions [P, {frame[0]}, {frame[1]}], or [{count}, P, {frame[0]}, {frame[1]}] with each "
            f"picture's own, got {list(masks.shape)}."
        )
    if isinstance(given, Regions):
        return given
    present = torch.ones(masks.shape[:2], dtype=torch.bool, device=masks.device)
    return Regions(masks, present, ((None,) * masks.shape[1],) * count)


def laid_out(values: Tensor, masks: Tensor) -> Tensor:
    """[..., P], [..., P, H, W] -> [..., H, W]: each value over its region's pixels, divided by its area.

    So the map sums to the sum of the values, whatever the sizes; a region of no area says nothing.
    """
    masks = masks.to(values.dtype)
    each = values / masks.sum((-2, -1)).clamp(min=1e-6)
    return (each.unsqueeze(-2) @ masks.flatten(-2)).squeeze(-2).unflatten(-1, masks.shape[-2:])
