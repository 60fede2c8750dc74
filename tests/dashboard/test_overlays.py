"""Colours say what the numbers say."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from core.overlays import (
    OUTSIDE,
    Scale,
    beyond,
    colour_table,
    cover_of,
    dim_outside,
    display_size,
    layer,
    overlay,
    scale_of,
    shrunk,
)
from core.preprocessing import Preprocessing
from dashboard.overlays import GRID_SIDE, grid, jpeg, legend
from tests.dashboard.conftest import attribution

SQUARE = Preprocessing(resize=(8, 8), crop=None).geometry(8, 8)
BLACK = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_a_flat_map_has_no_evidence_and_is_no_white_square(value: float) -> None:
    flat = attribution(torch.full((8, 8), value))
    assert flat.condition == "flat"
    assert scale_of(flat, linked=True) is None
    grey = np.full((8, 8, 3), 90, np.uint8)
    assert np.abs(overlay(grey, flat, SQUARE, None, 1.0).astype(int) - 90).max() <= 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_map_that_is_not_finite_is_said_to_be_broken(bad: float) -> None:
    values = torch.rand(8, 8)
    values[3, 3] = bad
    assert attribution(values).condition == "broken"
    assert scale_of(attribution(values), linked=True) is None


def test_signed_zero_is_neutral_and_sides_are_blue_and_red() -> None:
    table = colour_table(signed=True).astype(int)
    middle = table[len(table) // 2]
    assert middle.max() - middle.min() <= 6
    assert (table[:128, 2] > table[:128, 0] + 60).all()  # blue as soon as it is not zero, and red
    assert (table[129:, 0] > table[129:, 2] + 60).all()
    assert (np.diff(table[129:].sum(1)) <= 2).all()  # stronger is darker, either way
    assert (np.diff(table[:128].sum(1)) >= -2).all()
    values = torch.zeros(8, 8)
    values[0, 0], values[7, 7] = 1.0, -1.0
    grey = np.full((8, 8, 3), 120, np.uint8)
    shown = overlay(grey, attribution(values, signed=True), SQUARE, Scale(1.0, 1.0, False), 1.0).astype(int)
    assert shown[0, 0].tolist() == colour_table(True)[-1].tolist()
    assert shown[7, 7].tolist() == colour_table(True)[0].tolist()
    assert shown[4, 4].tolist() == [120, 120, 120]


def test_the_sequential_map_gets_steadily_lighter_and_is_dark_nowhere() -> None:
    light = colour_table(signed=False) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) > -0.6).all()  # but for rounding
    assert 15 < light[0] < 60
    assert light[-1] > 200


def test_a_map_covers_nothing_at_zero_little_at_its_average_and_most_at_twice_that() -> None:
    levels = np.linspace(0, 1, 101)
    cover = cover_of(levels)
    assert cover[0] == 0
    assert (np.diff(cover) >= 0).all()
    assert cover[25] < 0.4  # the average on a linked scale of four
    assert cover[50] > 0.9
    assert cover_of(np.array([0.6, 1.0])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("signed", [False, True])
def test_zero_is_transparent_and_the_photo_keeps_its_colours_there(signed: bool) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    values = torch.zeros(8, 8)
    values[2, 2], values[5, 5] = 1.0, 0.5
    shown = overlay(photo, attribution(values, signed), SQUARE, Scale(1.0, 1.0, False), 0.8).astype(int)
    touched = np.abs(shown - photo).max(2) > 1
    assert np.argwhere(touched).tolist() == [[2, 2], [5, 5]]
    for place, level in (((2, 2), 1.0), ((5, 5), 0.5)):  # it covers the more the larger it is
        table = colour_table(signed)
        colour = table[round(((level + 1) / 2 if signed else level) * (len(table) - 1))].astype(float)
        cover = 0.8 * float(cover_of(np.asarray(level)))
        assert np.abs(shown[place] - (photo[place] + (colour - photo[place]) * cover)).max() <= 2


def test_a_smooth_map_can_be_read() -> None:
    """A hill of three times the average covers the photo well at its top, and its foot leaves the photo alone."""
    y, x = np.mgrid[:64, :64] - 31.5
    values = torch.from_numpy(np.maximum(0, 1 - np.hypot(y, x) / 32)).float() ** 0.5
    values = values / values.mean()
    values = torch.where(values > 3, 3.0, values)
    scale = scale_of(attribution(values), linked=True)
    assert scale is not None
    assert (scale.top, round(scale.unit, 2)) == (4.0, 1.0)
    photo = np.full((64, 64, 3), 128, np.uint8)
    whole = Preprocessing(resize=(64, 64), crop=None).geometry(64, 64)
    shown = overlay(photo, attribution(values), whole, scale).astype(int)
    assert np.abs(shown[31, 31] - 128).max() > 100
    assert np.abs(shown[0, 0] - 128).max() <= 1


def test_the_legend_states_zero_top_and_unit() -> None:
    linked, own = legend(False, Scale(0.2, 4.0, True)), legend(True, Scale(1.0, 0.031, False))
    assert "<span>0</span><span>2x</span><span>4x average or more</span>" in linked
    assert "<span>against, 0.031</span><span>0</span><span>for, 0.031</span>" in own
    assert "#5d05a400" in linked  # nothing at zero, as over the picture
    assert "00," in own
    assert 'class="scale none"' in legend(False, None)
    assert "for, 0.031 a pixel" in legend(True, Scale(1.0, 0.031, False), "density")
    assert "a pixel" not in legend(False, Scale(0.2, 4.0, True), "density")


def test_the_legend_says_what_is_cut_off() -> None:
    values = torch.ones(10, 10)
    values[0, :2] = 50.0
    scale = scale_of(attribution(values), linked=True)
    assert scale is not None
    share, most = beyond(attribution(values), scale)
    assert share == pytest.approx(0.02)
    assert most == pytest.approx(50 / 1.98)
    assert "2.0 % lies beyond, up to 25.3x average" in legend(False, scale, beyond=(share, most))
    assert "peak 3.15x average" in legend(False, scale, beyond=(0.0, 3.153))
    assert "beyond" not in legend(False, scale)


@pytest.mark.parametrize("side", [8, 112, 224, 299])
def test_numbers_on_the_page_are_the_maps(side: int) -> None:
    values = torch.randn(side, side, generator=torch.Generator().manual_seed(0)) ** 3
    sent = grid(values)
    step = -(-side // GRID_SIDE)
    assert max(sent.rows, sent.columns) <= GRID_SIDE
    read = np.frombuffer(base64.b64decode(sent.text), np.int8).astype(float).reshape(sent.rows, sent.columns)
    read = np.sign(read) * (read / 127) ** 2 * sent.most
    if side % step == 0:
        cells = values.view(sent.rows, step, sent.columns, step).mean((1, 3)).numpy()
        assert np.abs(read - cells).max() <= sent.most / 127
        small = np.abs(cells) < sent.most / 100
        assert np.abs(read - cells)[small].max() <= sent.most / 1000


def test_linked_maps_are_in_multiples_of_their_own_average_with_one_top() -> None:
    values = torch.rand(8, 8) + 0.1
    one, two = scale_of(attribution(values), linked=True), scale_of(attribution(values * 1000), linked=True)
    assert one is not None
    assert two is not None
    assert one.top == two.top
    assert two.unit == pytest.approx(one.unit * 1000, rel=1e-5)
    picture = np.full((8, 8, 3), 120, np.uint8)
    first = overlay(picture, attribution(values), SQUARE, one, 0.8)
    second = overlay(picture, attribution(values * 1000), SQUARE, two, 0.8)
    assert np.abs(first.astype(int) - second).max() <= 2


def test_unlinked_maps_run_to_their_own_percentile() -> None:
    values = torch.linspace(0, 10, 64).view(8, 8)
    scale = scale_of(attribution(values), linked=False)
    assert scale is not None
    assert scale.unit == 1.0
    assert scale.top == pytest.approx(np.percentile(values.numpy(), 98))


def test_values_fade_where_their_error_is_larger() -> None:
    values = torch.ones(8, 8)
    values[0] = 0.5
    error = torch.zeros(8, 8)
    error[:, 4:] = 2.0
    shown = overlay(BLACK, attribution(values, error=error), SQUARE, Scale(1.0, 1.0, False), 1.0).astype(int)
    assert shown[4, 0].sum() > 2 * shown[4, 7].sum() > 0


def test_no_opacity_shows_the_picture() -> None:
    grey = np.full((8, 8, 3), 90, np.uint8)
    shown = overlay(grey, attribution(torch.rand(8, 8)), SQUARE, Scale(1.0, 1.0, False), 0.0)
    assert np.abs(shown.astype(int) - 90).max() <= 1


def test_what_the_model_does_not_see_is_dimmed_and_keeps_its_place() -> None:
    geometry = Preprocessing(resize=8, crop=(8, 8)).geometry(8, 24)
    shown = dim_outside(np.full((8, 24, 3), 200, np.float32), geometry)
    assert (shown[:, 8:16] == 200).all()
    assert np.abs(shown[:, :8].astype(int) - 200 * OUTSIDE).max() <= 1
    assert np.abs(shown[:, 16:].astype(int) - 200 * OUTSIDE).max() <= 1


def test_a_map_lies_where_it_belongs_on_a_copy_of_another_size() -> None:
    """The brightest point of the map, laid over the picture and over a half-size copy of it, is the same point."""
    geometry = Preprocessing(resize=16, crop=(16, 16)).geometry(64, 120)
    values = torch.zeros(16, 16)
    values[4, 11] = 1.0
    full = geometry.map_to_picture(values)
    half = shrunk(geometry, (32, 60)).map_to_picture(values)
    where = np.array(np.unravel_index(int(full.argmax()), full.shape))
    where_half = np.array(np.unravel_index(int(half.argmax()), half.shape))
    assert np.abs(where - 2 * where_half).max() <= 2
    top, left, bottom, right = geometry.seen_box()
    assert np.allclose(shrunk(geometry, (32, 60)).seen_box(), np.array([top, left, bottom, right]) / 2, atol=1)


def test_pictures_on_the_page_are_whole_and_at_most_so_large() -> None:
    assert display_size((300, 200)) == (300, 200)
    assert display_size((4000, 3000)) == (1024, 768)
    assert display_size((1, 9000)) == (1, 1024)


def test_pictures_travel_as_jpeg() -> None:
    address = jpeg(np.full((5, 7, 3), 200, np.uint8))
    head, data = address.split(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (head, image.format, image.size) == ("data:image/jpeg;base64", "JPEG", (7, 5))


@pytest.mark.parametrize("signed", [False, True])
def test_a_layer_over_the_picture_is_the_overlay(signed: bool) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    made = attribution(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)), signed=signed)
    scale = Scale(1.0, 2.0, False)
    drawn = layer(made, SQUARE, scale).astype(float)
    for opacity in (0.3, 1.0):
        cover = opacity * drawn[..., 3:] / 255
        over = photo + (drawn[..., :3] - photo) * cover
        assert np.abs(over - overlay(photo, made, SQUARE, scale, opacity)).max() <= 2
