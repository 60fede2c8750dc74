"""Drawing with exact labels: every mark lands in a colour plane and in a label plane at once.

Coordinates are picture units: x to the right and y down, the whole picture being [0, 1] x [0, 1]. Shapes are drawn
without antialiasing on planes that are `SUPERSAMPLE` times larger than the picture; the colours are then averaged down
and the labels are read at the centre of each picture pixel, so that edges are smooth and labels stay exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

SUPERSAMPLE = 3
_SHIFT = 4  # OpenCV takes fixed-point coordinates: 4 fractional bits

Colour = tuple[float, float, float]  # red, green, blue in [0, 255]


class Shape(Protocol):
    """Anything that can be drawn with one value into a plane."""

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in picture units."""

    def draw(self, plane: np.ndarray, value: tuple[float, ...], side: int, corner: tuple[int, int]) -> None:
        """Set the shape's pixels of `plane` to `value`; `corner` is the plane's top left in a picture `side` wide."""


def _fixed(points: np.ndarray, side: int, corner: tuple[int, int]) -> np.ndarray:
    # A pixel's centre is its integer coordinate for OpenCV, hence the half pixel.
    return np.round((points * side - 0.5 - np.asarray(corner)) * (1 << _SHIFT)).astype(np.int32)


@dataclass(frozen=True)
class Polygon:
    """A filled outline, points [N, 2]."""

    points: np.ndarray

    def bounds(self) -> tuple[float, float, float, float]:
        (left, top), (right, bottom) = self.points.min(0), self.points.max(0)
        return left, top, right, bottom

    def draw(self, plane: np.ndarray, value: tuple[float, ...], side: int, corner: tuple[int, int]) -> None:
        import cv2

        cv2.fillPoly(plane, [_fixed(self.points, side, corner)], value, cv2.LINE_8, _SHIFT)


@dataclass(frozen=True)
class Tube:
    """A chain of discs so dense that it reads as one smooth limb: centres [N, 2], radii [N]."""

    centres: np.ndarray
    radii: np.ndarray

    def bounds(self) -> tuple[float, float, float, float]:
        left, top = (self.centres - self.radii[:, None]).min(0)
        right, bottom = (self.centres + self.radii[:, None]).max(0)
        return left, top, right, bottom

    def draw(self, plane: np.ndarray, value: tuple[float, ...], side: int, corner: tuple[int, int]) -> None:
        import cv2

        radii = np.maximum(np.round(self.radii * side * (1 << _SHIFT)), 1).astype(int)
        for (x, y), radius in zip(_fixed(self.centres, side, corner).tolist(), radii.tolist(), strict=True):
            cv2.circle(plane, (x, y), radius, value, -1, cv2.LINE_8, _SHIFT)


@dataclass(frozen=True)
class Strokes:
    """Open lines of one width: each line [N, 2]; width in picture units."""

    lines: Sequence[np.ndarray]
    width: float

    def bounds(self) -> tuple[float, float, float, float]:
        points = np.concatenate(self.lines)
        (left, top), (right, bottom) = points.min(0) - self.width, points.max(0) + self.width
        return left, top, right, bottom

    def draw(self, plane: np.ndarray, value: tuple[float, ...], side: int, corner: tuple[int, int]) -> None:
        import cv2

        joined = _fixed(np.concatenate(self.lines), side, corner)
        ends = np.cumsum([len(line) for line in self.lines]).tolist()
        fixed = [joined[end - len(line) : end] for line, end in zip(self.lines, ends, strict=True)]
        cv2.polylines(plane, fixed, False, value, max(1, round(self.width * side)), cv2.LINE_8, _SHIFT)


class Canvas:
    """The two planes of a picture in the making.

    Attributes:
        size: side of the finished picture in pixels.
        side: side of the planes, `size * SUPERSAMPLE`.
        colours: [side, side, 3] uint8.
        labels: [side, side] uint8, the segment that is on top.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.side = size * SUPERSAMPLE
        self.colours = np.zeros((self.side, self.side, 3), np.uint8)
        self.labels = np.zeros((self.side, self.side), np.uint8)

    def paint(
        self,
        shape: Shape,
        colour: Colour,
        label: int | None = None,
        *,
        within: tuple[int, ...] = (),
        opacity: float = 1.0,
    ) -> None:
        """Draw `shape`.

        Args:
            shape: what to draw.
            colour: red, green, blue in [0, 255].
            label: the segment that the shape belongs to; None leaves the labels as they are.
            within: draw only where the label plane holds one of these; empty for everywhere.
            opacity: in (0, 1], of the colour; a label is always set in full.
        """
        import cv2

        red, green, blue = (float(min(max(channel, 0.0), 255.0)) for channel in colour)
        colour = (red, green, blue)
        if not within and opacity >= 1:
            shape.draw(self.colours, colour, self.side, (0, 0))
            if label is not None:
                shape.draw(self.labels, (float(label),), self.side, (0, 0))
            return
        left, top, right, bottom = (np.asarray(shape.bounds()) * self.side).tolist()
        x0, y0 = max(int(left) - 2, 0), max(int(top) - 2, 0)
        x1, y1 = min(int(right) + 3, self.side), min(int(bottom) + 3, self.side)
        if x1 <= x0 or y1 <= y0:
            return
        inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
        shape.draw(inside, (255.0,), self.side, (x0, y0))
        labels = self.labels[y0:y1, x0:x1]
        if within:
            allowed = np.zeros(256, np.uint8)
            allowed[list(within)] = 255
            inside = cv2.bitwise_and(inside, cv2.LUT(labels, allowed))
        region = self.colours[y0:y1, x0:x1]
        paint = np.empty_like(region)
        paint[:] = colour
        if opacity < 1:
            paint = cv2.addWeighted(region, 1 - opacity, paint, opacity, 0)
        cv2.copyTo(paint, inside, region)
        if label is not None:
            labels[inside > 0] = label

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Colours averaged down to [size, size, 3] float32 in [0, 255], labels read at pixel centres [size, size]."""
        import cv2

        colours = cv2.resize(self.colours, (self.size, self.size), interpolation=cv2.INTER_AREA)
        middle = SUPERSAMPLE // 2
        return colours.astype(np.float32), self.labels[middle::SUPERSAMPLE, middle::SUPERSAMPLE].copy()


def smooth(points: np.ndarray, count: int, *, closed: bool = False) -> np.ndarray:
    """A Catmull-Rom curve [count, D] through `points` [N, D], at equal steps of its parameter."""
    points = np.asarray(points, np.float64)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    spans = len(padded) - 3
    at = np.linspace(0, spans, count, endpoint=not closed)
    index = np.minimum(at.astype(int), spans - 1)
    t = (at - index)[:, None]
    p0, p1, p2, p3 = (padded[index + offset] for offset in range(4))
    return 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)


def leaf(base: np.ndarray, tip: np.ndarray, width: float, *, blunt: float = 4.0, count: int = 9) -> np.ndarray:
    """Outline [2 * count, 2] of a leaf or feather from `base` to `tip`, `width` across; larger `blunt`, rounder tip."""
    base, tip = np.asarray(base, np.float64), np.asarray(tip, np.float64)
    axis = tip - base
    length = max(float(np.hypot(*axis)), 1e-9)
    normal = np.array([-axis[1], axis[0]]) / length
    t = np.sin(np.linspace(0, np.pi / 2, count))  # denser towards the rounded tip
    half = 0.5 * width * (0.45 + 0.55 * np.minimum(1, t * 2.2)) * np.sqrt(np.maximum(1 - t**blunt, 0))
    middle = base + t[:, None] * axis
    return np.concatenate([middle + half[:, None] * normal, (middle - half[:, None] * normal)[::-1]])


def mix(first: Colour, second: Colour, amount: float) -> Colour:
    """`first` moved towards `second` by `amount` in [0, 1]."""
    red, green, blue = (a + (b - a) * amount for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, amount: float = 0.25) -> Colour:
    """`colour` moved towards a warm ink rather than black, as printed shadows are."""
    return mix(colour, (32, 28, 44), amount)


def lighter(colour: Colour, amount: float = 0.25) -> Colour:
    """`colour` moved towards paper white."""
    return mix(colour, (255, 250, 238), amount)


def rgb(code: str) -> Colour:
    """'#rrggbb' as numbers."""
    red, green, blue = (float(int(code[start : start + 2], 16)) for start in (1, 3, 5))
    return red, green, blue
