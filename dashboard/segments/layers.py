"""The masks of one picture as one picture: which masks cover a pixel, for drawing and for finding what is pointed at.

A page with a hundred masks gets one array and one table. Every pixel of the array holds the number of a set of masks,
and the table says which masks each set has, the smallest first. Colours, outlines and the mask under the pointer are
then found in the browser, without asking the server.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.runtime.recent import Recent
from core.segments.mask import Mask
from core.segments.saved.records import mask_key
from core.segments.segments import Segments

COPY_BYTES = 48 * 2**20  # small copies of masks; one takes its box in bytes


@dataclass(frozen=True)
class Copy:
    """A mask on the page: its box (top, left) and what of it is inside, over the smaller picture."""

    top: int
    left: int
    inside: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


_copies: Recent[tuple[str, tuple[int, int]], Copy] = Recent(COPY_BYTES, lambda copy: copy.inside.nbytes)


def small_copy(mask: Mask, size: tuple[int, int]) -> Copy:
    """The mask over a picture of another size (height, width): every pixel as the nearest one of the mask."""
    return _copies.get_or_make((mask_key(mask), size), lambda: Copy(*mask.crop_at(size)))


@dataclass(frozen=True)
class Layers:
    """One picture's masks on the page.

    Attributes:
        sets: int32 [h, w], the number of the set of masks that cover each pixel; 0 is no mask.
        members: for each set the places of its masks in `Segments`, the smallest first.
        anchors: (x, y) of a pixel well inside each mask, in [0, 1]; None for one too small to be seen.
    """

    sets: np.ndarray
    members: tuple[tuple[int, ...], ...]
    anchors: tuple[tuple[float, float] | None, ...]


def layers(segments: Segments, size: tuple[int, int]) -> Layers:
    """Lay all masks over a picture of `size` (height, width)."""
    copies = [small_copy(item.mask, size) for item in segments]
    # every mask adds a random number, so that equal sums are equal sets (unequal ones with a chance below 1e-12)
    drawn = np.random.default_rng(0).integers(1, 1 << 62, max(1, len(copies)), dtype=np.int64)
    sums = np.zeros(size, np.int64)
    for copy, number in zip(copies, drawn):
        sums[copy.window] ^= np.where(copy.inside, number, 0)
    numbers, values = pd.factorize(np.concatenate([[0], sums.ravel()]))
    sets = numbers[1:].reshape(size).astype(np.int32)
    order = sorted(range(len(copies)), key=lambda place: segments.items[place].mask.area)
    return Layers(sets, _members(sets, copies, order, len(values)), tuple(_anchor(copy, size) for copy in copies))


def _members(sets: np.ndarray, copies: list[Copy], order: list[int], count: int) -> tuple[tuple[int, ...], ...]:
    """The masks of each set, looked up at one pixel of it."""
    where = np.full(count, -1, np.int64)
    where[sets.ravel()] = np.arange(sets.size)
    ys, xs = np.divmod(where, sets.shape[1])
    members: list[list[int]] = [[] for _ in range(count)]
    for place in order:
        copy = copies[place]
        rows, columns = ys - copy.top, xs - copy.left
        height, width = copy.inside.shape
        near = np.flatnonzero((where >= 0) & (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width))
        for number in near[copy.inside[rows[near], columns[near]]]:
            members[number].append(place)
    return tuple(map(tuple, members))


def _anchor(copy: Copy, size: tuple[int, int]) -> tuple[float, float] | None:
    """The pixel of a mask nearest to the middle of its pixels."""
    ys, xs = np.nonzero(copy.inside)
    if not len(ys):
        return None
    best = int(((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2).argmin())
    return (copy.left + int(xs[best]) + 0.5) / size[1], (copy.top + int(ys[best]) + 0.5) / size[0]
