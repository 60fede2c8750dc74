"""The renderer keeps its promises: exact masks, plants that change nothing else, no global state."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.demo import segments
from core.demo.birds import CLASSES, SEGMENTS, overlay, render
from core.demo.plants import FRAMES, Plants

SIZE = 96
ALWAYS = (segments.BEAK, segments.EYE, segments.HEAD, segments.BODY, segments.WING, segments.TAIL)


def same(first, second):
    return np.array_equal(first.image, second.image) and np.array_equal(first.mask, second.mask)


def test_a_picture_depends_on_its_arguments_alone():
    np_state, py_state, torch_state = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()  # noqa: NPY002
    first = render(3, 7, SIZE)
    assert np.array_equal(np.random.get_state()[1], np_state)  # noqa: NPY002
    assert random.getstate() == py_state
    assert torch.equal(torch.get_rng_state(), torch_state)
    render(1, 2, SIZE)
    assert same(first, render(3, 7, SIZE))
    assert not same(first, render(3, 8, SIZE))
    assert first.image.shape == (SIZE, SIZE, 3)
    assert first.image.dtype == first.mask.dtype == np.uint8


def test_the_filled_in_plants_draw_the_same_picture_again():
    scene = render(0, 5, SIZE, Plants(watermark=True, frame="gold"))
    assert None not in (scene.plants.sky, scene.plants.ground, scene.plants.perch, scene.plants.corner)
    assert same(scene, render(0, 5, SIZE, scene.plants))


@pytest.mark.slow
@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_plants_change_what_they_cover_and_nothing_else(label):
    bare = render(label, 40 + label, SIZE)
    both = replace(bare.plants, watermark=True, frame="red")
    for plants in (replace(bare.plants, watermark=True), replace(bare.plants, frame="red"), both):
        planted = render(label, 40 + label, SIZE, plants)
        covered = np.isin(planted.mask, (segments.WATERMARK, segments.FRAME))
        assert 0.02 < covered.mean() < 0.25
        assert np.array_equal(planted.image[~covered], bare.image[~covered])
        assert np.array_equal(planted.mask[~covered], bare.mask[~covered])
        assert np.abs(planted.image[covered].astype(int) - bare.image[covered]).mean() > 15
        assert same(planted, overlay(bare, watermark=plants.watermark, frame=plants.frame))


def test_the_stamp_is_whole_inside_every_frame_and_goes_to_the_corner_asked_for():
    alone = render(2, 1, SIZE, Plants(watermark=True, corner="bottom right")).mask == segments.WATERMARK
    for colour in FRAMES:
        framed = render(2, 1, SIZE, Plants(watermark=True, corner="bottom right", frame=colour))
        assert np.array_equal(framed.mask == segments.WATERMARK, alone)
    rows, columns = np.nonzero(alone)
    assert rows.min() > SIZE / 2
    assert columns.min() > SIZE / 2


def test_another_sky_or_ground_leaves_the_bird_and_its_labels_alone():
    first = render(5, 9, SIZE, Plants(sky="clear", ground="sand", perch="branch"))
    second = render(5, 9, SIZE, Plants(sky="dusk", ground="water", perch="branch"))
    bird = np.isin(first.mask, segments.OBJECT_VALUES)
    assert np.array_equal(bird, np.isin(second.mask, segments.OBJECT_VALUES))
    assert np.array_equal(first.mask[bird], second.mask[bird])
    inner = bird.copy()  # edges are averaged with what lies behind them
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(bird, step, axis)
    assert np.array_equal(first.image[inner], second.image[inner])
    assert not np.array_equal(first.image, second.image)


@pytest.mark.slow
@pytest.mark.parametrize("label", range(len(CLASSES)), ids=CLASSES)
def test_every_class_shows_its_parts_under_known_names(label):
    pixels = np.zeros(256, int)
    whole = 0
    count = 12
    for seed in range(count):
        mask = render(label, 300 + seed, SIZE).mask
        found = np.bincount(mask.ravel(), minlength=256)
        pixels += found
        whole += all(found[value] > 0 for value in ALWAYS)
        assert 0.04 < np.isin(mask, segments.OBJECT_VALUES).mean() < 0.5
    assert set(np.nonzero(pixels)[0]) <= set(SEGMENTS)
    assert all(pixels[value] > 0 for value in (*ALWAYS, segments.LEGS, segments.SKY, segments.GROUND, segments.PERCH))
    assert whole >= count - 3  # a leaf may hide an eye now and then


def test_sizes_show_the_same_picture():
    small, large = render(6, 3, 64), render(6, 3, 128)
    halved = large.image.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(halved - small.image).mean() < 8
    assert (large.mask[::2, ::2] == small.mask).mean() > 0.93


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="label"):
        render(len(CLASSES), 0)
    with pytest.raises(ValueError, match="seed"):
        render(0, -1)
    with pytest.raises(ValueError, match="sky"):
        Plants(sky="green")
    with pytest.raises(ValueError, match="already"):
        overlay(render(0, 0, 32, Plants(watermark=True)), watermark=True)
