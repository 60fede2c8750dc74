"""Masks become polygons that run along the edges of pixels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from core.segments.mask import Mask

# right, down, left, up; the next in line is a turn to the right
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def outlines(mask: Mask) -> list[list[int]] | None:
    """x, y, x, y, ... of each piece that hangs together by the sides of pixels; None where a piece has a hole.

    COCO's polygons have no holes. Filled by its rules they give the very mask again.
    """
    left, top, _, _ = mask.box
    piece = np.pad(mask.crop(), 1)
    inside = piece[1:-1, 1:-1]
    # every side of a pixel with nothing beyond is an edge, walked with the pixel on the right
    open_sides = (
        (inside & ~piece[:-2, 1:-1], (0, 0)),
        (inside & ~piece[1:-1, 2:], (1, 0)),
        (inside & ~piece[2:, 1:-1], (1, 1)),
        (inside & ~piece[1:-1, :-2], (0, 1)),
    )
    leaving: dict[tuple[int, int], set[int]] = defaultdict(set)
    for direction, (side, (dx, dy)) in enumerate(open_sides):
        for row, column in np.argwhere(side).tolist():
            leaving[column + dx, row + dy].add(direction)
    found = []
    while leaving:
        corners = _walk(leaving)
        if _signed_area(corners) < 0:
            return None
        found.append([n for x, y in corners for n in (x + left, y + top)])
    return found


def _walk(leaving: dict[tuple[int, int], set[int]]) -> list[tuple[int, int]]:
    """Take one closed path out of the edges; only its corners."""
    start = here = next(iter(leaving))
    direction = before = min(leaving[start])
    corners = []
    while True:
        leaving[here].discard(direction)
        if not leaving[here]:
            del leaving[here]
        if direction != before or not corners:
            corners.append(here)
        before = direction
        here = (here[0] + STEPS[direction][0], here[1] + STEPS[direction][1])
        if here == start and (start not in leaving or (direction + 1) % 4 not in leaving[start]):
            return corners
        # where two pixels touch by their corners, stay with the one that is being walked round: turn right
        direction = next(turn % 4 for turn in (direction + 1, direction, direction + 3) if turn % 4 in leaving[here])


def _signed_area(corners: list[tuple[int, int]]) -> int:
    """Positive round a piece, negative round a hole."""
    return sum(x * other_y - other_x * y for (x, y), (other_x, other_y) in zip(corners, corners[1:] + corners[:1]))
