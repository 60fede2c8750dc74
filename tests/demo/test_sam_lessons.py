"""Pictures and prompts that a SAM is trained on: their masks are exact, and they come from their numbers alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from core.demo.making.sam_lessons import CLICKS, MEANINGS, NOWHERE, ask, box_of, lesson, meanings, middle
from core.demo.making.sam_pictures import BIRD, BIRD_PARENTS, bird, moved, picture
from core.demo.making.sam_scenes import GROUND, Labelled, scene
from core.demo.making.sam_shapes import OUTLINES, TEXTURES, cover, texture
from core.demo.segments import BEAK, HEAD, SKY

SIDE = 64


@pytest.mark.parametrize("kind", OUTLINES)
def test_shapes_lie_where_they_are_put(kind):
    alpha = cover(np.random.default_rng(1), SIDE, (40.0, 20.0), 12.0, kind)
    assert alpha.shape == (SIDE, SIDE)
    assert alpha.min() == 0
    assert 0.9 < alpha.max() <= 1
    ys, xs = np.nonzero(alpha > 0.5)
    assert abs(xs.mean() - 40) < 14
    assert abs(ys.mean() - 20) < 14


@pytest.mark.parametrize("kind", TEXTURES)
def test_textures_lie_around_nought(kind):
    values = np.stack([texture(np.random.default_rng(seed), SIDE, kind) for seed in range(20)])
    assert values.dtype == np.float32
    assert abs(values.mean()) < 0.5
    assert np.abs(values).max() < 8


def test_scenes_come_from_their_seed_and_their_parts_from_their_parents():
    nested = 0
    for seed in range(12):
        first, again = scene(seed, SIDE), scene(seed, SIDE)
        assert np.array_equal(first.image, again.image)
        assert np.array_equal(first.labels, again.labels)
        assert first.image.shape == (SIDE, SIDE, 3)
        present = set(np.unique(first.labels).tolist())
        for part, parent in first.parents.items():
            assert part > parent > GROUND
            nested += part in present and parent in present
    assert nested > 3


def test_a_click_on_a_part_means_it_or_what_it_is_a_part_of():
    drawn = bird(3, 128)
    beak, head, sky = (meanings(drawn.labels, BIRD_PARENTS, value) for value in (BEAK, HEAD, SKY))
    assert [len(chain) for chain in (beak, sky)] == [3, 1]
    assert np.array_equal(beak[0], drawn.labels == BEAK)
    assert np.array_equal(beak[-1], head[-1])
    for chain in (beak, head):
        assert all((small & ~large).sum() == 0 for small, large in pairwise(chain))
    assert not (drawn.labels == BIRD).any()


def test_no_more_meanings_than_outputs_and_none_twice():
    labels = np.repeat(np.arange(1, 7)[:, None], 6, 1)
    parents = {part: part + 1 for part in range(1, 6)}
    chain = meanings(labels, parents, 1)
    assert [int(mask.sum()) for mask in chain] == [6, 12, 36]
    nearly = np.ones((10, 10), int)
    nearly[0, 0] = 2
    assert [int(mask.sum()) for mask in meanings(nearly, {2: 1}, 1)] == [99]


def test_the_middle_is_inside_and_deep():
    ring = np.zeros((20, 30), bool)
    ring[2:18, 2:28] = True
    ring[6:10, 6:24] = False
    x, y = middle(ring)
    assert ring[y - 2 : y + 3, x - 2 : x + 3].all()
    assert middle(np.ones((5, 5), bool)) == (2, 2)
    assert box_of(ring) == (2, 2, 28, 18)


def test_a_picture_that_is_moved_keeps_its_masks():
    corner = np.zeros((SIDE, SIDE), np.uint8)
    corner[8:40, 12:28] = 1
    drawn = Labelled(np.repeat(corner[..., None] * np.uint8(200), 3, 2), corner, {})
    sizes = set()
    for seed in range(30):
        shown = moved(np.random.default_rng(seed), drawn, SIDE // 2)
        sizes.add(shown.labels.shape)
        assert shown.image.shape == (*shown.labels.shape, 3)
        assert ((shown.image[..., 0] > 100) != (shown.labels == 1)).mean() < 0.04
    assert (SIDE // 2, SIDE // 2) in sizes
    assert len(sizes) > 3


def test_things_are_told_apart_by_parts_and_by_wholes():
    labels = np.zeros((20, 32), np.uint8)
    labels[:8], labels[:4, :4], labels[12:] = 1, 2, 3
    drawn = Labelled(np.zeros((20, 32, 3), np.uint8), labels, {2: 1})
    parts, wholes = ask(np.random.default_rng(0), drawn, 32, 0, with_boxes=False).things
    assert np.array_equal(parts[:10], labels[::2, ::2])
    assert np.array_equal(wholes[:10], np.where(labels == 2, 1, labels)[::2, ::2])
    assert (parts[10:] == NOWHERE).all()


def test_lessons_hold_what_they_promise():
    boxes = clicks = 0
    for index in range(10):
        drawn = picture(0, index, SIDE)
        given, again = (lesson(0, index, drawn, SIDE, 5) for _ in range(2))
        assert given.things.shape == (2, SIDE // 2, SIDE // 2)
        assert np.array_equal(given.image, again.image)
        assert np.array_equal(given.targets, again.targets)
        assert given.image.shape == (3, SIDE, SIDE)
        assert given.points.shape == (*given.marks.shape, 2)
        assert given.marks.shape[0] == 5
        assert given.marks.shape[1] <= CLICKS
        assert given.targets.shape == (5, MEANINGS, SIDE // 2, SIDE // 2)
        assert given.targets[np.arange(5), given.meant].reshape(5, -1).any(1).all()
        if given.boxes is not None:
            boxes += 1
            assert given.marks.size == 0
            assert (given.boxes[:, 2:] >= given.boxes[:, :2]).all()
            assert given.boxes.min() >= 0
            assert given.boxes.max() <= SIDE
            continue
        clicks += 1
        assert (given.marks[:, 0] == 1).all()
        for n in range(5):
            assert given.targets[n, 0].any()
            x, y = np.clip(np.round(given.points[n, 0]) // 2, 0, SIDE // 2 - 1).astype(int)
            assert given.targets[n, 0][max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any()
    assert boxes
    assert clicks


def test_birds_of_different_seeds_differ():
    assert not np.array_equal(bird(0, SIDE).image, bird(0, SIDE, 99).image)
