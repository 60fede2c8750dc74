"""Outlines that become masks."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as theirs

from core.errors import UserError
from core.segments.files import shapes


def grid(mask) -> list[str]:
    return ["".join(".#"[int(v)] for v in row) for row in mask.decode()]


def test_polygons_are_those_of_pycocotools(size):
    rng = np.random.default_rng(4)
    for _ in range(40):
        # corners up to six pictures away: clipped, but to the pixel
        polygons = [((rng.random((rng.integers(3, 8), 2)) - 0.5) * 12 * max(size)).ravel().tolist() for _ in range(2)]
        expected = theirs.decode(theirs.merge(theirs.frPyObjects(polygons, *size)))
        assert np.array_equal(shapes.polygons(polygons, size).decode(), expected)


def test_corners_far_away_cost_nothing():
    triangle = shapes.polygons([[0, 0, 1e12, 0, 1e12, 1e12]], (30, 40)).decode()
    rows, columns = np.mgrid[:30, :40]
    assert np.array_equal(triangle, columns > rows)


def test_outlines_of_absurd_length_are_refused(monkeypatch):
    monkeypatch.setattr(shapes, "LONGEST_OUTLINE", 100)
    assert shapes.polygons([[0, 0, 20, 0, 20, 20]], (30, 30)).area > 0
    with pytest.raises(UserError, match="longer than any"):
        shapes.polygons([[0, 0, 20, 0, 20, 20] * 2], (30, 30))


def test_a_box_turned_about_a_corner():
    # clockwise, as y points down: what lay to the right of the pivot lies below it
    assert grid(shapes.box((3, 1), (3, 1), (5, 6), 90, pivot=(3, 1))) == [
        "......",
        "..#...",
        "..#...",
        "..#...",
        "......",
    ]


def test_a_box_turned_about_its_middle():
    assert grid(shapes.box((0, 1), (4, 2), (4, 4), 90)) == [".##."] * 4
    assert shapes.box((0, 1), (4, 2), (4, 4), 180) == shapes.box((0, 1), (4, 2), (4, 4))


def test_ellipses_hold_the_middles_of_pixels():
    assert grid(shapes.ellipse((2, 2), (2, 1), (4, 4))) == ["....", "####", "####", "...."]
    assert grid(shapes.ellipse((2.5, 2.5), (3, 0.6), (5, 5), 45)) == ["#....", ".#...", "..#..", "...#.", "....#"]
    assert shapes.ellipse((2, 2), (3, 2), (5, 4), 90) == shapes.ellipse((2, 2), (2, 3), (5, 4))
    assert shapes.ellipse((2, 2), (0, 3), (4, 4)).area == 0
    assert shapes.ellipse((-9, 2), (3, 3), (4, 4)).area == 0
    assert shapes.ellipse((2, 2), (1e9, 1e9), (4, 4)).area == 16
    with pytest.raises(UserError, match="no numbers"):
        shapes.ellipse((2, 2), (float("nan"), 3), (4, 4))


def test_pieces_are_cut_off_at_the_border():
    piece = np.array([[True, False], [True, True]])
    assert grid(shapes.pasted(piece, 0, 1, (2, 3))) == [".#.", ".##"]
    assert grid(shapes.pasted(piece, -1, -1, (2, 3))) == ["#..", "..."]
    assert grid(shapes.pasted(piece, 1, 2, (2, 3))) == ["...", "..#"]
    assert shapes.pasted(piece, 5, 5, (2, 3)).area == shapes.pasted(piece, -5, 0, (2, 3)).area == 0
