"""Boxes around what is marked, and how two overlap."""

from __future__ import annotations

import torch

from core.boxes import Box, box_of, centre_box, largest_piece, overlap, tight_box


def marked(*boxes: tuple[int, int, int, int], side: int = 12) -> torch.Tensor:
    values = torch.zeros(side, side)
    for top, left, bottom, right in boxes:
        values[top : bottom + 1, left : right + 1] = 1
    return values


def test_sides_are_inclusive() -> None:
    assert tight_box(marked((3, 4, 3, 4)) > 0) == Box(3, 4, 3, 4)
    assert Box(3, 4, 3, 4).area == 1
    assert tight_box(marked((0, 0, 11, 11)) > 0) == Box(0, 0, 11, 11)
    assert tight_box(torch.zeros(5, 5, dtype=torch.bool)) is None
    assert torch.equal(Box(2, 3, 4, 6).mask((12, 12)), marked((2, 3, 4, 6)) > 0)


def test_pieces_hang_together_by_their_sides() -> None:
    corner = marked((0, 0, 1, 1), (2, 2, 4, 4)) > 0  # they touch at a corner only
    assert torch.equal(largest_piece(corner), marked((2, 2, 4, 4)) > 0)
    assert torch.equal(largest_piece(marked((1, 1, 2, 2)) > 0), marked((1, 1, 2, 2)) > 0)


def test_a_maps_box_is_around_the_largest_piece_above_its_mean() -> None:
    values = 0.5 * marked((0, 0, 1, 1)) + marked((5, 5, 8, 9)) + 0.01
    assert box_of(values) == Box(5, 5, 8, 9)
    assert box_of(values, strict_repo=True) == Box(5, 5, 7, 8)
    assert box_of(torch.full((6, 8), 0.3)) == Box(0, 0, 5, 7)
    assert box_of(torch.zeros(6, 8)) is None


def test_overlap_is_intersection_over_union() -> None:
    one = Box(0, 0, 9, 9)
    assert overlap(one, one) == 1
    assert overlap(one, Box(0, 5, 9, 14)) == 50 / 150
    assert overlap(one, Box(20, 20, 25, 25)) == 0
    assert overlap(one, None) == overlap(None, one) == 0
    assert overlap(Box(3, 3, 2, 2), Box(3, 3, 2, 2)) == 0  # a box of nothing


def test_the_box_in_the_middle_is_the_papers() -> None:
    assert centre_box((224, 224)) == Box(33, 33, 190, 190)
