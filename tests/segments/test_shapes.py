"""Outlines that become masks."""

from __future__ import annotations

import tracemalloc

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


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 211.5])
def test_ellipses_are_the_pixels_whose_middle_lies_in_them(size, degrees):
    rng = np.random.default_rng([5, *size])
    turn = shapes._turn(degrees)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for step in (1, 2, 1000):
        for _ in range(12):
            centre, radii = (np.round(rng.uniform(low, 40, 2) * step) / step for low in (-8, 0.5))
            away = np.stack([columns + 0.5 - centre[0], rows + 0.5 - centre[1]], -1) @ turn
            inside = ((away / np.maximum(radii, 1e-3)) ** 2).sum(-1) <= 1
            found = shapes.ellipse(tuple(centre), tuple(np.maximum(radii, 1e-3)), size, degrees)
            assert np.array_equal(found.decode(), inside)


def test_ellipses_of_absurd_sizes():
    areas = {(x, r): shapes.ellipse((x, 3), (r, r), (6, 8), 5).area for x in (-1e308, 3) for r in (1e-308, 2, 1e308)}
    assert (areas[3, 1e308], areas[3, 2], areas[3, 1e-308], areas[-1e308, 2]) == (48, 12, 0, 0)


def test_large_ellipses_take_little_memory():
    tracemalloc.start()
    try:
        mask = shapes.ellipse((4000, 4000), (3999, 2500), (8000, 8000), 30)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert mask.area == pytest.approx(np.pi * 3999 * 2500, rel=1e-4)
