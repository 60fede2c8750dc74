"""Masks as runs: agreement with dense ones and with pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from core.errors import UserError
from core.segments import Mask, covered


def encoded(dense: np.ndarray) -> dict:
    return coco.encode(np.asfortranarray(dense, np.uint8))


def test_runs_by_hand():
    mask = Mask.from_dense(np.array([[0, 1, 1], [0, 1, 0]], bool))
    assert mask.counts.tolist() == [2, 3, 1]  # down the columns
    assert (mask.area, mask.box) == (3, (1, 0, 2, 2))
    assert mask.crop().tolist() == [[True, True], [True, False]]
    assert mask.complement().counts.tolist() == [0, 2, 3, 1]
    assert Mask.from_dense(np.ones((2, 2), bool)).counts.tolist() == [0, 4]
    assert Mask.from_dense(np.zeros((2, 2), bool)).counts.tolist() == [4]


def test_dense_and_back(size, make_masks):
    for dense in make_masks(size):
        mask = Mask.from_dense(dense)
        assert np.array_equal(mask.decode(), dense)
        assert mask == Mask(mask.counts, size)
        assert np.array_equal(mask.complement().decode(), ~dense)
        left, top, width, height = mask.box
        assert np.array_equal(mask.crop(), dense[top : top + height, left : left + width])


def test_area_box_and_iou_agree_with_pycocotools(size, make_masks):
    masks = make_masks(size)
    theirs = [encoded(dense) for dense in masks]
    ours = [Mask.from_dense(dense) for dense in masks]
    assert [mask.area for mask in ours] == coco.area(theirs).tolist()
    assert [list(mask.box) for mask in ours] == coco.toBbox(theirs).tolist()
    got = [[one.iou(other) for other in ours] for one in ours]
    assert np.allclose(got, coco.iou(theirs, theirs, [0] * len(theirs)), atol=1e-12)


def test_sets_of_pixels(size, make_masks):
    dense = np.stack(make_masks(size))
    masks = [Mask.from_dense(one) for one in dense]
    depth = dense.sum(0)
    for at_least in (1, 2, 5, 99):
        assert np.array_equal(covered(masks, at_least).decode(), depth >= at_least)
    assert np.array_equal(masks[0].union(*masks[1:]).decode(), depth > 0)
    assert np.array_equal(masks[0].intersection(masks[1]).decode(), dense[0] & dense[1])


def test_runs_of_nothing_are_joined():
    mask = Mask(np.array([1, 0, 2, 3, 0, 1, 2, 0, 0]), (3, 3))
    assert mask.counts.tolist() == [3, 4, 2]
    assert mask == Mask.from_dense(mask.decode())
    assert hash(mask) == hash(Mask.from_dense(mask.decode()))
    assert mask != Mask.from_dense(mask.decode().reshape(1, 9))


def test_a_mask_cannot_be_changed():
    mask = Mask.from_dense(np.eye(3, dtype=bool))
    with pytest.raises(ValueError, match="read-only"):
        mask.counts[0] = 2


@pytest.mark.parametrize(
    ("counts", "size", "words"),
    [
        ([3, 3], (3, 3), "do not fill"),
        ([3, 7], (3, 3), "do not fill"),
        ([3, -3, 9], (3, 3), "do not fill"),
        ([9 + 2**32], (3, 3), "do not fill"),
        ([2**70], (3, 3), "whole numbers"),
        ([4.5, 4.5], (3, 3), "whole numbers"),
        ([], (3, 3), "whole numbers"),
        ([[9]], (3, 3), "whole numbers"),
        ([0], (0, 3), "fits no picture"),
        ([2**40], (2**20, 2**20), "fits no picture"),
    ],
)
def test_runs_that_fit_no_picture(counts, size, words):
    with pytest.raises(UserError, match=words):
        Mask(np.array(counts), size)


def test_masks_of_different_sizes_are_not_compared():
    with pytest.raises(ValueError, match="one size"):
        Mask.from_dense(np.ones((2, 3), bool)).iou(Mask.from_dense(np.ones((3, 2), bool)))


@pytest.mark.parametrize("size", [(24, 40), (48, 80), (31, 17), (97, 203), (1, 1)])
def test_a_mask_on_a_copy_of_another_size_takes_the_nearest_pixels(size: tuple[int, int]) -> None:
    random = np.random.default_rng(5)
    for dense in (random.random((48, 80)) < 0.3, np.zeros((48, 80), bool), np.ones((48, 80), bool)):
        mask = Mask.from_dense(dense)
        rows = ((np.arange(size[0]) + 0.5) * 48 / size[0]).astype(int)
        columns = ((np.arange(size[1]) + 0.5) * 80 / size[1]).astype(int)
        np.testing.assert_array_equal(mask.resized(size).decode(), dense[rows][:, columns])


def test_pieces_are_cut_off_at_the_border():
    piece = np.array([[True, False], [True, True]])

    def grid(top: int, left: int) -> list[str]:
        return ["".join(".#"[int(v)] for v in row) for row in Mask.from_piece(piece, top, left, (2, 3)).decode()]

    assert grid(0, 1) == [".#.", ".##"]
    assert grid(-1, -1) == ["#..", "..."]
    assert grid(1, 2) == ["...", "..#"]
    assert Mask.from_piece(piece, 5, 5, (2, 3)).area == Mask.from_piece(piece, -5, 0, (2, 3)).area == 0


def test_a_piece_makes_the_mask_of_the_whole(size):
    rng = np.random.default_rng([6, *size])
    for _ in range(40):
        (height, width), (top, left) = rng.integers(0, 2 * max(size), 2), rng.integers(-max(size), max(size), 2)
        piece = rng.random((height, width)) < rng.random()
        around = np.pad(piece, 3 * max(size))[3 * max(size) - top :, 3 * max(size) - left :]
        assert Mask.from_piece(piece, top, left, size) == Mask.from_dense(around[: size[0], : size[1]])
