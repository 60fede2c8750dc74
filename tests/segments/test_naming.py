"""Masks as numbers, and names for them: answers known in advance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import UserError
from core.images import Picture
from core.segments import Mask, Segment, Segments
from core.segments.naming import describing
from core.segments.naming.describing import HAND, describe
from core.segments.naming.namer import UNSURE, Described, Namer


def picture(array: np.ndarray) -> Picture:
    return Picture(Image.fromarray(array.astype(np.uint8)))


def unnamed(*masks: np.ndarray) -> Segments:
    return Segments(masks[0].shape, tuple(Segment(Mask.from_dense(mask)) for mask in masks))


def box(size: tuple[int, int], top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


# -- describing ------------------------------------------------------------------------------------------------------


def test_colours_inside_and_around():
    """Inside is red, the ring is grey: means are 5 times lightness, two opponents and saturation."""
    image = np.full((40, 40, 3), 51)
    mask = box((40, 40), 15, 10, 25, 30)
    image[mask] = (255, 0, 0)
    (row,) = describe(picture(image), unnamed(mask))
    assert np.allclose(row[:4], 5 * np.array([1 / 3, 1, 0.5, 1]), atol=1e-5)
    assert np.allclose(row[6:10], 5 * np.array([0.2, 0, 0, 0]), atol=1e-5)
    assert np.allclose(row[12:16], row[:4] - row[6:10], atol=1e-5)
    assert np.allclose(row[16:20], 0, atol=0.01)  # one colour does not vary


def test_place_size_and_shape():
    """A box over rows 10-29 and columns 0-9 of 40x40: centre (0.5, 0.125), an eighth of the picture, on the left."""
    (row,) = describe(picture(np.zeros((40, 40, 3))), unnamed(box((40, 40), 10, 0, 30, 10)))
    y, top, bottom, x, left, right, off_centre, size = row[20:28]
    assert np.allclose([y / 4, top / 3, bottom / 3, x / 2, left, right / 1.5], [0.5, 0.25, 0.75, 0.125, 0, 0.25])
    assert np.allclose([off_centre / 4, size / 1.5], [0.375, np.log(1 / 8)])
    assert np.allclose(row[32:36] / 3, [0, 0, 0.5, 0])  # parts of the top, bottom, left and right border
    long, short, filled, aspect, stretched, outline, taper, solid = row[36:44]
    assert np.allclose([long / 9, short / 12], np.sqrt([(20**2) / 12, (10**2) / 12]) / 40)
    assert np.allclose([filled / 6, aspect / 2, stretched / 4], [1, np.log(0.5), 0.6])
    assert np.allclose([outline / 4, taper], [np.log(60 / (4 * np.sqrt(200))), 0], atol=1e-5)
    assert solid == pytest.approx(4)
    assert np.allclose(row[44:], 1.5)


def test_a_wedge_tapers_and_a_ring_is_not_solid():
    rows, columns = np.mgrid[:60, :60]
    wedge = (np.abs(rows - 30) < columns / 3) & (columns < 50)
    ring = np.abs(np.hypot(rows - 30, columns - 30) - 20) < 3
    described = describe(picture(np.zeros((60, 60, 3))), unnamed(wedge, ring))
    assert described[0, 42] > 0.5 > described[1, 42]
    assert described[0, 43] > 3 > 2 > described[1, 43]


def test_other_segments_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    shown = picture(rng.integers(0, 255, (30, 50, 3)))
    masks = [box((30, 50), 3, 4, 12, 30), box((30, 50), 0, 0, 30, 50), rng.random((30, 50)) < 0.1]
    together = describe(shown, unnamed(*masks))
    alone = np.concatenate([describe(shown, unnamed(mask)) for mask in masks])
    assert together.shape == (3, HAND)
    assert together.dtype == np.float32
    assert np.allclose(together, alone, atol=1e-4)
    monkeypatch.setattr(describing, "TOGETHER", 2)
    assert np.allclose(describe(shown, unnamed(*masks)), together, atol=1e-4)


def test_left_and_right_are_nearly_the_same():
    rng = np.random.default_rng(1)
    image, mask = rng.integers(0, 255, (40, 40, 3)), box((40, 40), 5, 3, 20, 12)
    mask[5:9, 3:20] = True
    (row,) = describe(picture(image), unnamed(mask))
    (mirrored,) = describe(picture(image[:, ::-1]), unnamed(mask[:, ::-1]))
    sided = [23, 24, 25, 34, 35]  # x, left, right, the left and the right border
    assert np.allclose(np.delete(row, sided), np.delete(mirrored, sided), atol=1e-4)


def test_the_picture_may_be_twice_as_large():
    rng = np.random.default_rng(2)
    image = np.kron(rng.integers(0, 255, (16, 16, 3)), np.ones((32, 32, 1)))
    mask = np.kron(box((16, 16), 3, 4, 9, 13), np.ones((32, 32))) > 0
    (large,) = describe(picture(image), unnamed(mask))
    (small,) = describe(picture(image[::2, ::2]), unnamed(mask[::2, ::2]))
    assert np.abs(large - small).max() < 0.15


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (3, 2)])
def test_any_mask_has_finite_numbers(size):
    masks = [np.ones(size, bool), np.zeros(size, bool), box(size, 0, 0, 1, 1)]
    rows = describe(picture(np.zeros((*size, 3))), unnamed(*masks), torch.randn(4, 2, 2))
    assert rows.shape == (3, HAND + 8)
    assert np.isfinite(rows).all()
    assert describe(picture(np.zeros((*size, 3))), Segments(size, ()), torch.randn(4, 2, 2)).shape == (0, HAND + 8)


def test_features_are_averaged_in_the_mask_and_in_its_ring():
    """Left half (1, 0), right half (0, 1): a mask of the left half has its ring in the right half."""
    features = torch.zeros(2, 4, 4)
    features[0, :, :2], features[1, :, 2:] = 7, 3
    mask = box((40, 40), 0, 0, 40, 20)
    (row,) = describe(picture(np.zeros((40, 40, 3))), unnamed(mask), features)
    assert np.allclose(row[HAND:], [3, 0, 0, 3], atol=1e-5)


def test_masks_of_another_picture():
    with pytest.raises(UserError, match="make them equal"):
        describe(picture(np.zeros((4, 4, 3))), unnamed(box((4, 5), 0, 0, 1, 1)))


# -- naming ----------------------------------------------------------------------------------------------------------

CENTRES = np.random.default_rng(7).normal(0, 1.5, (4, HAND))


def rows_of(labels: list[int], seed: int, centres: np.ndarray = CENTRES) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.4, (len(labels), centres.shape[1]))
    return (centres[labels] + noise).astype(np.float32)


def described(labels: list[int], pictures: str, seed: int = 0, names: str = "abcd") -> Described:
    return Described(rows_of(labels, seed), tuple(names[label] for label in labels), tuple(pictures))


EXAMPLES = described([0, 1, 2, 0, 1, 2, 0, 1, 2], "111222333")


def test_what_is_like_the_examples_is_named_and_what_is_not_is_unsure():
    namer = Namer(EXAMPLES)
    assert namer.names == ("a", "b", "c")
    found = namer.beliefs(rows_of([2, 0, 1, 3], 1), "4445")
    assert found.best[:3] == found.proposed[:3] == ("c", "a", "b")
    assert found.proposed[3] == ""
    assert found.confidence[:3].min() > 0.8 > UNSURE > found.confidence[3]
    assert ((found.each >= 0) & (found.each.sum(1, keepdims=True) <= 1 + 1e-9)).all()
    assert not found.nameless.any()


def test_the_same_examples_give_the_same_names():
    rows, pool = rows_of([0, 1, 2, 3] * 5, 1), described([0, 1, 2] * 4, "456789456789", 3)
    one, two = Namer(EXAMPLES, pool), Namer(EXAMPLES, pool)
    assert np.array_equal(one.beliefs(rows, "x" * 20).each, two.beliefs(rows, "x" * 20).each)
    others = [Namer(EXAMPLES), Namer(EXAMPLES, described([0], "4")), Namer(described([0, 1, 2], "111", names="abx"))]
    assert len({namer.fingerprint for namer in (one, two, *others)}) == 4
    apart = [one.beliefs(rows[i : i + 4], "abcd"[i // 4 % 4] * 4).each for i in range(0, 20, 4)]
    assert np.allclose(np.concatenate(apart), one.beliefs(rows, [str(i // 4) for i in range(20)]).each, atol=1e-12)


def test_whoever_names_one_mask_of_many_is_asked_about_few_others():
    """Of ten masks of the example picture one has a name: of masks half way to it, fewer are proposed."""
    example = described([0], "1")
    rows = (0.3 * rows_of([0, 1, 2, 3] * 5, 1) + 0.7 * CENTRES[0]).astype(np.float32)
    alone = Namer(example, described([0, 1, 2, 3], "4444")).beliefs(rows, "5" * 20)
    among = Namer(example, described([0, 1, 2, 3, 1, 2, 3, 1, 2, 3], "1" * 10)).beliefs(rows, "5" * 20)
    own = np.arange(20) % 4 == 0
    assert min(alone.confidence) > UNSURE
    assert among.confidence[own].min() > 0.9  # what is quite like it is proposed all the same
    assert among.confidence[~own].max() < UNSURE


def test_a_name_that_occurred_once_rarely_occurs_twice():
    """A mask between a and b, beside a clear a, is a b; beside a clear b it is an a; alone it may be either."""
    namer = Namer(EXAMPLES)
    between = (CENTRES[0] + CENTRES[1]) / 2 + 0.02 * (CENTRES[0] - CENTRES[1])
    rows = np.stack([between, CENTRES[0], between, CENTRES[1], between]).astype(np.float32)
    found = namer.beliefs(rows, "11223").best
    assert found[0], found[2] == ("b", "a")
    assert found[4] == "a"
    given = namer.beliefs(rows[[4, 2]], "11", ["", "a"])
    assert given.best == ("b", "a")
    assert given.confidence[1] == pytest.approx(1)
    # where a name occurred twice in one example picture it may do so again
    often = Namer(described([0, 1, 2, 0, 1, 2, 0, 0, 1, 2], "1112223333"))
    assert often.beliefs(rows[:2], "11").best == ("a", "a")


def test_a_name_that_was_in_every_example_picture_is_probably_there():
    """Between a and b, nearer to a, with a name for c beside it: if only b was in every picture, it is a b."""
    between = 0.55 * CENTRES[0] + 0.45 * CENTRES[1]
    rows = np.stack([between, CENTRES[2]]).astype(np.float32)
    seldom_b = Namer(described([0, 2, 0, 2, 0, 1, 2], "1122333"))
    seldom_a = Namer(described([1, 2, 1, 2, 0, 1, 2], "1122333"))
    assert seldom_b.beliefs(rows, "44").best == ("a", "c")
    assert seldom_a.beliefs(rows, "44").best == ("b", "c")


def test_masks_left_without_a_name_teach_what_has_none():
    rows = rows_of([3] * 4 + [0], 5)
    shift = 0.8 * CENTRES[0] + 0.2 * CENTRES[3]
    near = (rows_of([3] * 6, 6) - CENTRES[3] + shift).astype(np.float32)
    before = Namer(EXAMPLES).beliefs(near, "444444")
    left = Described(
        np.concatenate([EXAMPLES.rows, near[:2]]), (*EXAMPLES.names, "", ""), (*EXAMPLES.pictures, "1", "2")
    )
    after = Namer(left).beliefs(np.concatenate([near[2:], rows]), "4" * 9)
    assert after.names == ("a", "b", "c")
    assert after.nameless[:4].min() > 0.5 > after.nameless[-1]
    assert after.confidence[:4].max() < before.confidence[2:].max()
    assert after.best[-1] == "a"
    assert after.confidence[-1] > 0.7


def test_one_example_picture_and_one_name_are_enough():
    found = Namer(described([0, 1], "11")).beliefs(rows_of([0, 1, 3], 2), "444")
    assert found.best[:2] == ("a", "b")
    assert found.confidence[2] < UNSURE
    found = Namer(described([0], "1")).beliefs(rows_of([0, 3], 2), "44")
    assert found.proposed == ("a", "")


def test_encoder_features_decide_where_all_else_is_equal():
    rng = np.random.default_rng(0)
    hand = rng.normal(0, 0.1, (40, HAND))
    features = np.zeros((40, 100))
    features[np.arange(40), np.arange(40) % 2] = 3
    rows = np.concatenate([hand, features], 1).astype(np.float32)
    names, pictures = ("a", "b") * 20, tuple(str(i // 2) for i in range(40))
    namer = Namer(Described(rows[:6], names[:6], pictures[:6]), Described(rows[6:], names[6:], pictures[6:]))
    assert namer.beliefs(rows, pictures).best == names
    with pytest.raises(UserError, match="different encoders"):
        namer.beliefs(rows[:, :-1], pictures)
    with pytest.raises(UserError, match="different encoders"):
        Namer(Described(rows[:6], names[:6], pictures[:6]), EXAMPLES)


def test_nothing_to_learn_from():
    with pytest.raises(UserError, match="name a few"):
        Namer(replace(EXAMPLES, names=("",) * 9))
    with pytest.raises(ValueError, match="names"):
        replace(EXAMPLES, names=("a",))
    assert Namer(EXAMPLES).beliefs(np.zeros((0, HAND), np.float32), ()).best == ()
