"""One region of a picture, kept as runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.errors import UserError
from core.images import MAX_PIXELS


@dataclass(frozen=True, eq=False)
class Mask:
    """A set of pixels as run lengths, in COCO's order: down the columns, left to right, outside first.

    A mask of a megapixel is a few kilobytes this way, and areas, boxes, unions and overlaps come from the runs alone.

    Attributes:
        counts: uint32 [R], read-only; pixels outside, inside, outside, ... Only the first may be 0 (the top left pixel
            is inside then), so that equal masks have equal runs.
        size: (height, width) of the picture.

    Raises:
        UserError: the runs do not fill the picture, or it is larger than any that is read.
    """

    counts: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        height, width = (int(side) for side in self.size)
        if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
            raise UserError(
                f"A mask of {height}x{width} pixels (height x width) fits no picture; "
                f"it must have 1 to {MAX_PIXELS // 1_000_000} million pixels."
            )
        counts = np.asarray(self.counts)
        if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer):
            raise UserError("The runs of a mask must be whole numbers; export it again.")
        # numbers of 2^32 and more must not come round to something that fits
        if len(counts) and (counts.min() < 0 or counts.max() > height * width):
            raise _misfit(height, width)
        counts = counts.astype(np.uint32)
        if int(counts.sum(dtype=np.int64)) != height * width:
            raise _misfit(height, width)
        if (counts[1:] == 0).any():
            starts, stops = _spans(counts)
            counts = _counts(starts, stops, height * width).astype(np.uint32)
        counts.setflags(write=False)
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "size", (height, width))

    @classmethod
    def from_dense(cls, dense: np.ndarray) -> Mask:
        """From bool [h, w]."""
        flat = np.asarray(dense, dtype=bool).ravel(order="F")
        turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        edges = np.concatenate([[0] if flat[:1].any() else [], turns, [flat.size] if flat[-1:].any() else []])
        return cls.from_spans(edges[0::2].astype(np.int64), edges[1::2].astype(np.int64), dense.shape)

    @classmethod
    def from_spans(cls, starts: np.ndarray, stops: np.ndarray, size: tuple[int, int]) -> Mask:
        """From the pixels [start, stop) of each run inside, counted down the columns; ascending and disjoint."""
        return cls(_counts(starts, stops, size[0] * size[1]), size)

    @classmethod
    def from_piece(cls, piece: np.ndarray, top: int, left: int, size: tuple[int, int]) -> Mask:
        """From bool [h, w], laid into a picture of `size` with its top left pixel there; what hangs over is cut off.

        Nothing larger than the piece is made.
        """
        height, width = size
        piece = piece[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
        top, left = max(0, top), max(0, left)
        steps = np.diff(piece.T.astype(np.int8), axis=1, prepend=0, append=0)
        columns, rows = np.nonzero(steps == 1)
        stop_columns, stop_rows = np.nonzero(steps == -1)
        starts, stops = (left + columns) * height + top + rows, (left + stop_columns) * height + top + stop_rows
        return cls.from_spans(starts, stops, size)

    @property
    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """(starts, stops), int64: each run inside is [start, stop), counted down the columns."""
        return _spans(self.counts)

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(self.counts[1::2].sum(dtype=np.int64))

    @cached_property  # four numbers, which every crop and every decoding asks for
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the smallest box around it; four zeros for an empty mask."""
        starts, stops = self.spans
        if not len(starts):
            return 0, 0, 0, 0
        height = self.size[0]
        left, right = int(starts[0]) // height, int(stops[-1] - 1) // height
        if (starts // height != (stops - 1) // height).any():  # a run goes on in the next column
            return left, 0, right - left + 1, height
        top, bottom = int((starts % height).min()), int(((stops - 1) % height).max())
        return left, top, right - left + 1, bottom - top + 1

    def crop(self) -> np.ndarray:
        """bool [height, width] of its box."""
        left, top, width, height = self.box
        starts, stops = self.spans
        if not len(starts):
            return np.zeros((0, 0), bool)
        columns = np.diff(np.stack([starts, stops], 1).ravel(), prepend=left * self.size[0])
        columns = np.append(columns, (left + width) * self.size[0] - stops[-1])
        inside = np.arange(len(columns)) % 2 == 1
        return np.repeat(inside, columns).reshape(width, self.size[0]).T[top : top + height]

    def decode(self, into: np.ndarray | None = None) -> np.ndarray:
        """bool [h, w] over the whole picture; written into `into`, bool [h, w] of False, where that is given."""
        dense = np.zeros(self.size, bool) if into is None else into
        left, top, width, height = self.box
        dense[top : top + height, left : left + width] = self.crop()
        return dense

    def crop_at(self, size: tuple[int, int]) -> tuple[int, int, np.ndarray]:
        """What of it is seen on a copy of the picture of another size (height, width), each pixel as the nearest one.

        Returns:
            (top, left) of its box on the copy, and bool [height, width] of that box. Nothing larger is decoded.
        """
        left, top, width, height = self.box
        if size == self.size:
            return top, left, self.crop()
        rows, first_row = _nearest(top, height, self.size[0], size[0])
        columns, first_column = _nearest(left, width, self.size[1], size[1])
        # a pixel lies inside where an odd number of runs ends before it
        places = columns[None, :] * self.size[0] + rows[:, None]
        inside = np.searchsorted(np.cumsum(self.counts, dtype=np.int64), places, side="right") % 2 == 1
        return first_row, first_column, inside

    def resized(self, size: tuple[int, int]) -> Mask:
        """Over a copy of the picture of another size (height, width); thin masks may vanish from a smaller one."""
        if size == self.size:
            return self
        dense = np.zeros(size, bool)
        top, left, inside = self.crop_at(size)
        dense[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        return Mask.from_dense(dense)

    def turned(self, orientation: int) -> Mask:
        """Over the picture after its EXIF orientation (1 to 8) was undone."""
        return Mask.from_dense(turned(self.decode(), orientation)) if orientation != 1 else self

    def complement(self) -> Mask:
        """Everything outside."""
        counts = self.counts[1:] if self.counts[0] == 0 else np.concatenate([[0], self.counts])
        return Mask(counts, self.size)

    def union(self, *others: Mask) -> Mask:
        """What any of them covers."""
        return covered((self, *others))

    def intersection(self, other: Mask) -> Mask:
        """What both cover."""
        return covered((self, other), at_least=2)

    def iou(self, other: Mask) -> float:
        """Intersection over union, in [0, 1]; 0 for two empty masks."""
        both = self.intersection(other).area
        return both / max(1, self.area + other.area - both)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.size == other.size and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        return hash((self.size, self.counts.tobytes()))

    def __repr__(self) -> str:
        return f"Mask({self.size[0]}x{self.size[1]}, area {self.area}, box {self.box})"


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """[h, w, ...] as it is seen after an EXIF orientation (1 to 8) was undone."""
    values = values.swapaxes(0, 1) if orientation >= 5 else values
    # what is flipped then: rows, columns
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return values[:: -1 if rows else 1, :: -1 if columns else 1]


def covered(masks: Sequence[Mask], at_least: int = 1) -> Mask:
    """What `at_least` so many of these masks cover; 2 gives the pixels where masks overlap.

    Raises:
        ValueError: no masks, or masks of different sizes.
    """
    sizes = {mask.size for mask in masks}
    if len(sizes) != 1:
        raise ValueError(f"expected masks of one size, got {sorted(sizes)}")
    spans = [mask.spans for mask in masks]
    starts = np.concatenate([start for start, _ in spans])
    edges = np.concatenate([starts, *(stop for _, stop in spans)])
    steps = np.where(np.arange(len(edges)) < len(starts), 1, -1)
    # a stable order: a mask that starts where another stops is counted first, so that the run goes on
    order = np.argsort(edges, kind="stable")
    depth = np.cumsum(steps[order])
    deep = depth >= at_least
    before = np.concatenate([[False], deep[:-1]])
    edges = edges[order]
    return Mask.from_spans(edges[deep & ~before], edges[~deep & before], masks[0].size)


def _nearest(start: int, length: int, full: int, other: int) -> tuple[np.ndarray, int]:
    """The pixels of another axis that show [start, start + length) of the full one: where they look, and the first."""
    at = ((np.arange(other) + 0.5) * full / other).astype(np.int64)
    first, stop = np.searchsorted(at, (start, start + length))
    return at[first:stop], int(first)


def _misfit(height: int, width: int) -> UserError:
    return UserError(
        f"The runs of a mask do not fill its picture of {height}x{width} pixels (height x width); "
        "it is damaged or belongs to another picture."
    )


def _spans(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.cumsum(counts, dtype=np.int64)
    stops = edges[1::2]
    starts = edges[0::2][: len(stops)]
    kept = starts < stops
    return starts[kept], stops[kept]


def _counts(starts: np.ndarray, stops: np.ndarray, pixels: int) -> np.ndarray:
    """Spans that touch become one run."""
    apart = starts[1:] != stops[:-1]
    starts = starts[np.concatenate([[True], apart])] if len(starts) else starts
    stops = stops[np.concatenate([apart, [True]])] if len(stops) else stops
    counts = np.diff(np.stack([starts, stops], 1).ravel(), prepend=0, append=pixels)
    return counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts
