"""The one reader of untrusted pictures: what is a picture is handled right, what is not says so."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from made_pictures import BLUE, GREEN, RED, encoded, pixel, png, smooth
from PIL import Image, ImageCms

from core.images import EXIF_ORIENTATION, read_picture, turn_upright

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_every_format(form, tmp_path):
    image = smooth()
    (tmp_path / "p").write_bytes(encoded(image, form))
    picture = read_picture(tmp_path / "p")
    assert picture.size == (32, 48)
    assert picture.image.mode == "RGB"
    assert picture.name == "p"
    assert picture.orientation == 1
    difference = np.abs(picture.array().astype(int) - np.asarray(image)).mean()
    assert difference == 0 if form in ("PNG", "BMP", "TIFF") else difference < 12


def test_the_digest_is_the_pixels_own():
    image = smooth()
    one, other = read_picture(encoded(image, "PNG")), read_picture(encoded(image, "BMP"), name="other")
    assert one.digest == other.digest
    assert read_picture(encoded(turn_upright(image, 2), "PNG")).digest != one.digest


def test_sixteen_bit_grey_keeps_its_scale():
    values = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    for form in ("PNG", "TIFF"):
        picture = read_picture(encoded(Image.fromarray(values), form))
        assert np.abs(picture.array()[0, :, 0].astype(int) - np.arange(256)).max() <= 1
        assert "8 bit" in picture.notes[0]
    dark = read_picture(encoded(Image.fromarray(values // 4), "PNG"))
    assert int(dark.array().max()) == 64  # its nominal range, not its own


@pytest.mark.parametrize(("top", "brightest"), [(255, 255), (16_384, 64), (1_000_000, 255)])
def test_wide_integers_keep_the_scale_of_what_they_hold(top, brightest):
    values = np.linspace(0, top, 64).astype(np.int32).reshape(8, 8)
    assert int(read_picture(encoded(Image.fromarray(values), "TIFF")).array().max()) == brightest


def test_sixteen_bit_colour():
    rows = b"".join(b"\x00" + struct.pack(">6H", 65535, 0, 0, 0, 32768, 65535) for _ in range(2))
    picture = read_picture(png(2, 2, 2, 16, rows))
    assert pixel(picture, 0, 0) == RED
    assert pixel(picture, 1, 1)[2] == 255
    assert pixel(picture, 1, 1)[1] == pytest.approx(128, abs=1)
    assert picture.notes == ("Its colours were scaled to 8 bit.",)


def test_lab_is_converted_and_told():
    picture = read_picture(encoded(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF"))
    assert min(pixel(picture, 0, 0)) > 240
    assert picture.notes == ("It was converted from LAB to RGB.",)


def test_float_tiff_is_scaled_by_its_own_range():
    values = np.linspace(-2.0, 3.0, 64, dtype=np.float32).reshape(8, 8)
    picture = read_picture(encoded(Image.fromarray(values), "TIFF"))
    assert pixel(picture, 0, 0) == (0, 0, 0)
    assert pixel(picture, 7, 7) == (255, 255, 255)
    values[0, 0] = np.nan
    assert read_picture(encoded(Image.fromarray(values), "TIFF")).size == (8, 8)
    values[0, 1] = np.inf
    holed = read_picture(encoded(Image.fromarray(values), "TIFF"))
    assert pixel(holed, 1, 0) == pixel(holed, 7, 7) == (255, 255, 255)
    assert 100 < pixel(holed, 0, 4)[0] < 160  # the rest keeps its scale
    flat = read_picture(encoded(Image.fromarray(np.full((4, 4), 7.5, np.float32)), "TIFF"))
    assert int(flat.array().max()) == 0


def test_cmyk_jpeg():
    picture = read_picture(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    red, green, blue = pixel(picture, 8, 8)
    assert red > 240
    assert max(green, blue) < 15
    assert "CMYK" in picture.notes[0]


def test_transparency_is_laid_over_white():
    rgba = Image.new("RGBA", (2, 1), (0, 0, 255, 255))
    rgba.putpixel((0, 0), (255, 0, 0, 0))
    for data in (encoded(rgba, "PNG"), encoded(rgba, "WEBP", lossless=True, exact=True), encoded(rgba, "TIFF")):
        picture = read_picture(data)
        assert pixel(picture, 0, 0) == (255, 255, 255)
        assert pixel(picture, 1, 0) == BLUE
        assert "over white" in picture.notes[0]
    half = read_picture(encoded(Image.new("LA", (2, 2), (0, 128)), "PNG"))
    assert pixel(half, 0, 0) == (127, 127, 127)
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    picture = read_picture(encoded(palette, "PNG", transparency=0))
    assert (pixel(picture, 0, 0), pixel(picture, 1, 0)) == ((255, 255, 255), BLUE)
    opaque = read_picture(encoded(Image.new("RGBA", (2, 2), (*GREEN, 255)), "PNG"))
    assert (pixel(opaque, 0, 0), opaque.notes) == (GREEN, ())


def test_one_bit_and_palette():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    picture = read_picture(encoded(image, "PNG"))
    assert (pixel(picture, 0, 0), pixel(picture, 1, 0)) == ((0, 0, 0), (255, 255, 255))
    palette = smooth().quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(read_picture(encoded(palette, "PNG")).array(), expected)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_give_their_first_frame(form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE, GREEN)]
    options = {"lossless": True} if form == "WEBP" else {}
    picture = read_picture(encoded(frames[0], form, save_all=True, append_images=frames[1:], **options))
    assert pixel(picture, 4, 4) == RED
    assert "first of its 3 frames" in picture.notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_turned_upright(orientation, form):
    """Stored so that, turned as its tag says, red is top left, green top right and blue bottom left."""
    upright = Image.new("RGB", (64, 32), "white")
    for colour, corner in ((RED, (0, 0)), (GREEN, (48, 0)), (BLUE, (0, 16))):
        upright.paste(colour, (*corner, corner[0] + 16, corner[1] + 16))
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    options = {"quality": 95, "subsampling": 0} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    picture = read_picture(encoded(turn_upright(upright, inverse), form, exif=exif, **options))
    assert picture.size == (32, 64)
    assert picture.orientation == orientation
    assert bool(picture.notes) == (orientation != 1)
    for colour, point in ((RED, (8, 8)), (GREEN, (56, 8)), (BLUE, (8, 24))):
        assert np.abs(np.subtract(pixel(picture, *point), colour)).max() < 12


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_impossible_orientation_is_left_alone(value):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = value
    assert read_picture(encoded(smooth(), "JPEG", exif=exif)).orientation == 1


@pytest.mark.parametrize(
    "block", [b"", b"Exif\x00\x00", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00MM\x00*junk" * 9]
)
def test_a_broken_exif_block_is_passed_over(block):
    data = encoded(smooth(), "JPEG")
    broken = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    picture = read_picture(broken)
    assert (picture.size, picture.orientation) == ((32, 48), 1)


def test_a_colour_profile_does_not_hinder():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (profile, b"no profile at all"):
        assert pixel(read_picture(encoded(Image.new("RGB", (4, 4), RED), "PNG", icc_profile=icc)), 1, 1) == RED


@pytest.mark.parametrize(
    ("form", "options", "known", "loses"),
    [
        ("JPEG", {"quality": 30}, True, True),
        ("PNG", {}, True, False),
        ("GIF", {}, True, False),
        ("WEBP", {"lossless": True}, True, False),
        ("WEBP", {"quality": 30}, False, False),
        ("TIFF", {}, False, False),
    ],
)
def test_it_is_known_what_the_file_lost(form, options, known, loses):
    compression = read_picture(encoded(smooth(), form, **options)).compression
    assert (compression.known, bool(compression.tables)) == (known, loses)


def test_a_worse_jpeg_has_coarser_steps_and_grey_ones_are_read():
    worse, better = (read_picture(encoded(smooth(), "JPEG", quality=q)).compression for q in (30, 90))
    assert worse.step > 2 * better.step > 2
    again = worse.of(smooth())
    assert (again.size, again.mode) == (smooth().size, "RGB")
    grey = read_picture(encoded(smooth().convert("L"), "JPEG", quality=30)).compression
    assert grey.of(smooth()).mode == "RGB"


def test_a_wrong_extension_does_not_matter(tmp_path):
    (tmp_path / "really.jpg").write_bytes(encoded(smooth(), "PNG"))
    assert np.array_equal(read_picture(tmp_path / "really.jpg").array(), np.asarray(smooth()))


def test_one_pixel_and_a_long_strip():
    assert read_picture(encoded(Image.new("RGB", (1, 1), GREEN), "PNG")).size == (1, 1)
    assert read_picture(encoded(Image.new("RGB", (1, 20_000), RED), "PNG")).size == (20_000, 1)
