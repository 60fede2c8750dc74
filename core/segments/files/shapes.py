"""Outlines become masks: polygons, boxes and ellipses, clipped to the picture.

Coordinates are pixels with (0, 0) at the top left corner of the top left pixel, as COCO counts them; a polygon is
filled by pycocotools, so that masks are the very ones that COCO's own tools make of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import UserError
from core.segments.files.rle_text import from_text
from core.segments.mask import Mask, covered

# Outlines are cut off so many pictures away. Nearer by, they are pycocotools' to clip, which cuts to the pixel.
FAR = 8
# pycocotools walks along an outline in fifths of a pixel and keeps every step
LONGEST_OUTLINE = 20_000_000
HUGE = 1e50


def empty(size: tuple[int, int]) -> Mask:
    """Nothing."""
    return Mask(np.array([size[0] * size[1]]), size)


def polygons(outlines: Sequence[Any], size: tuple[int, int]) -> Mask:
    """All that these polygons cover.

    Args:
        outlines: each x, y, x, y, ... or pairs; fewer than three points cover nothing.

    Raises:
        UserError: coordinates that are no numbers, an odd count of them, or an outline of absurd length.
    """
    from pycocotools import mask as coco

    kept = []
    for outline in outlines:
        points = _points(outline)
        far = FAR * max(size)
        if len(points) and np.abs(points).max() > far:
            points = _clipped(points, float(far))
        if len(points) >= 3:
            kept.append(points.ravel().tolist())
    if not kept:
        return empty(size)
    length = sum(np.abs(np.diff(points, append=points[:2])).sum() for points in map(np.asarray, kept))
    if length > LONGEST_OUTLINE:
        raise UserError("An outline is longer than any that is drawn by hand; export it as a mask instead.")
    masks = [from_text(filled["counts"], size) for filled in coco.frPyObjects(kept, *size)]
    return covered(masks) if len(masks) > 1 else masks[0]


def box(
    corner: tuple[float, float],
    extent: tuple[float, float],
    size: tuple[int, int],
    degrees: float = 0.0,
    pivot: tuple[float, float] | None = None,
) -> Mask:
    """A rectangle.

    Args:
        corner: (x, y) of the top left corner before it is turned; extent: (width, height).
        degrees: turned so far clockwise about `pivot` (x, y), by default its middle.

    Raises:
        UserError: as `polygons`.
    """
    (x, y), (width, height) = corner, extent
    corners = _points([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
    if degrees:
        about = np.array(pivot or (x + width / 2, y + height / 2))
        corners = (corners - about) @ _turn(degrees).T + about
    return polygons([corners], size)


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], size: tuple[int, int], degrees: float = 0.0
) -> Mask:
    """The pixels whose middle lies in an ellipse.

    Args:
        centre: (x, y); radii: along x and y before it is turned; degrees: clockwise, about the centre.

    Raises:
        UserError: values that are no numbers.
    """
    if not all(map(math.isfinite, (*centre, *radii, degrees))):
        raise UserError("An ellipse has coordinates that are no numbers; export it again.")
    if min(radii) <= 0:
        return empty(size)
    # so that no square of them is infinite
    along, middle = np.clip(radii, 1 / HUGE, HUGE), np.clip(centre, -HUGE, HUGE)
    turn = _turn(degrees)

    def inside(rows: np.ndarray) -> np.ndarray:
        away = np.stack([np.broadcast_to(x[:, None], rows.shape), rows + 0.5 - middle[1]], -1) @ turn
        return ((away / along) ** 2).sum(-1) <= 1

    reach = np.hypot(*(turn * along).T)[0]
    left, right = (int(np.clip(middle[0] + side * reach, -1, size[1])) for side in (-1, 1))
    columns = np.arange(max(0, left), min(right + 1, size[1]))
    x = columns + 0.5 - middle[0]
    # down a column it lies between the roots of a square equation, which are right within a pixel
    across, mixed, down = ((turn / along) @ (turn / along).T)[[0, 0, 1], [0, 1, 1]]
    at = middle[1] - 0.5 - mixed * x / down
    half = np.sqrt(np.maximum(0, (mixed * x / down) ** 2 - (across * x**2 - 1) / down))
    tops = np.clip(np.ceil(at - half), -2, size[0] + 1).astype(np.int64)[:, None] + [-1, 0, 1]
    ends = np.clip(np.floor(at + half), -2, size[0] + 1).astype(np.int64)[:, None] + [1, 0, -1]
    first, last = inside(tops), inside(ends)
    starts = np.take_along_axis(tops, first.argmax(1)[:, None], 1)[:, 0].clip(0, size[0])
    stops = np.take_along_axis(ends, last.argmax(1)[:, None], 1)[:, 0].clip(-1, size[0] - 1) + 1
    some = first.any(1) & last.any(1) & (starts < stops)
    return Mask.from_spans((columns * size[0] + starts)[some], (columns * size[0] + stops)[some], size)


def _points(outline: Any) -> np.ndarray:
    """float [n, 2]"""
    try:
        flat = np.asarray(outline, float).ravel()
    except (TypeError, ValueError) as error:
        raise UserError(f"An outline has coordinates that are no numbers ({error}); export it again.") from error
    if len(flat) % 2 or not np.isfinite(flat).all():
        raise UserError("An outline has coordinates that are no numbers, or an odd count of them; export it again.")
    return flat.reshape(-1, 2)


def _turn(degrees: float) -> np.ndarray:
    """Clockwise, as y points down."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


def _clipped(points: np.ndarray, far: float) -> np.ndarray:
    """What of a polygon lies within [-far, far] on both axes: one side after the other.

    Sutherland, Hodgman: Reentrant polygon clipping (CACM 1974).
    """
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        depths = far + sign * points[:, axis]
        out = []
        for here, there, depth, beyond in zip(points, np.roll(points, -1, 0), depths, np.roll(depths, -1)):
            if depth >= 0:
                out.append(here)
            if (depth >= 0) != (beyond >= 0):
                crossing = here + (there - here) * (depth / (depth - beyond))
                crossing[axis] = -sign * far  # exactly, however far the ends are
                out.append(crossing)
        points = np.array(out).reshape(-1, 2)
    return points
