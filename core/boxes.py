"""Boxes around what a map or a mask marks. Sides are inclusive: in a box of one pixel, top is bottom and left right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Box(NamedTuple):
    """Rows top to bottom and columns left to right, in pixels, inclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Pixels; 0 where it is empty (bottom above top)."""
        return max(0, self.bottom - self.top + 1) * max(0, self.right - self.left + 1)

    def mask(self, frame: tuple[int, int]) -> Tensor:
        """[H, W] of booleans."""
        inside = torch.zeros(frame, dtype=torch.bool)
        inside[self.top : self.bottom + 1, self.left : self.right + 1] = True
        return inside


def tight_box(marked: Tensor) -> Box | None:
    """Around all of [H, W] booleans; None where nothing is marked."""
    rows, columns = (marked.any(dim).nonzero().flatten() for dim in (1, 0))
    if not len(rows):
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1]))


def largest_piece(marked: Tensor) -> Tensor:
    """[H, W] of booleans: of the pieces that hang together by their sides, the one with most pixels."""
    from scipy.ndimage import label

    numbers, count = label(marked.cpu().numpy())
    if count < 2:
        return marked
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return torch.from_numpy(numbers == sizes.argmax()).to(marked.device)


def box_of(values: Tensor, strict_repo: bool = False) -> Box | None:
    """[H, W] -> the box around the largest piece of what is above the map's mean (Phang, Park and Geras 2020).

    A map that is the same all over marks everything, or nothing where it is 0.

    Args:
        strict_repo: as their code has it, whose last row and column are left out: one pixel short.
    """
    marked = values > values.mean()
    if not bool(marked.any()) and bool((values > 0).all()):
        marked = torch.ones_like(marked)
    box = tight_box(largest_piece(marked))
    if box is None or not strict_repo:
        return box
    return Box(box.top, box.left, box.bottom - 1, box.right - 1)


def overlap(one: Box | None, other: Box | None) -> float:
    """Intersection over union, in [0, 1]; 0 where there is no box."""
    if one is None or other is None:
        return 0.0
    shared = Box(
        max(one.top, other.top), max(one.left, other.left), min(one.bottom, other.bottom), min(one.right, other.right)
    ).area
    union = one.area + other.area - shared
    return shared / union if union else 0.0


def centre_box(frame: tuple[int, int], border: float = 33 / 224) -> Box:
    """The box in the middle that is a trivial answer: the frame less a border, a part of each side."""
    height, width = frame
    down, along = round(border * height), round(border * width)
    return Box(down, along, height - 1 - down, width - 1 - along)
