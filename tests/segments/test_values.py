"""From mask pictures to segments: the disc is 5,025 of 19,200 pixels, whatever it was saved as."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from core.segments.files import open_segments, read_label_map
from core.segments.files.mask_pictures import read_mask

ROWS, COLUMNS = np.mgrid[:120, :160]
DISC = (ROWS - 60) ** 2 + (COLUMNS - 80) ** 2 <= 40**2
GREY = (DISC * 255).astype(np.uint8)
TWO = {0: "background", 255: "lesion"}


@pytest.fixture
def seen(tmp_path):
    """seen(image, names, **options of saving): the segments of one mask with these names."""

    def read(image, names=TWO, suffix="png", **options):
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        for old in tmp_path.glob("a.*"):
            old.unlink()
        image.save(tmp_path / f"a.{suffix}", **options)
        (tmp_path / "segments.json").write_text(json.dumps(names))
        return open_segments(tmp_path)["a"]

    return read


@pytest.fixture
def in_folder(tmp_path):
    """in_folder(values): the same as the mask of one name."""

    def read(values):
        (tmp_path / "folders/lesion").mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(tmp_path / "folders/lesion/a.png")
        return open_segments(tmp_path / "folders")["a"]

    return read


def areas(segments) -> dict[str, int]:
    return {item.name: item.mask.area for item in segments}


def once_jpeg(values: np.ndarray, quality: int = 75) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(values).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def soft(draw, times: int = 8) -> np.ndarray:
    """Drawn so many times as large and made small again: shades along the edges."""
    large = Image.new("L", (160 * times, 120 * times))
    draw(ImageDraw.Draw(large), times)
    return np.asarray(large.resize((160, 120), Image.Resampling.BOX))


def soft_disc() -> np.ndarray:
    return soft(lambda pen, t: pen.ellipse([40 * t, 20 * t, 120 * t, 100 * t], fill=255))


def soft_line() -> np.ndarray:
    return soft(lambda pen, t: pen.line([10 * t, 12 * t, 150 * t, 107 * t], fill=255, width=3 * t // 2))


def with_alpha(shade: np.ndarray, opacity: np.ndarray, mode: str) -> Image.Image:
    channels = [Image.fromarray(shade)] * (len(mode) - 1) + [Image.fromarray(opacity)]
    return Image.merge(mode, channels)


# -- one image, one set of numbers -----------------------------------------------------------------------------------


def palette_picture(index: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(index.astype(np.uint8), "P")
    image.putpalette([part for colour in colours for part in colour])
    return image


WHITE, BLACK, RED = (255,) * 3, (0,) * 3, (255, 0, 0)


@pytest.mark.parametrize(
    ("image", "names", "options"),
    [
        (Image.fromarray(GREY), TWO, {}),
        (Image.fromarray(DISC), TWO, {}),
        (Image.fromarray(DISC), TWO, {"suffix": "tif", "compression": "group4"}),
        (Image.fromarray(DISC), TWO, {"suffix": "bmp"}),
        # an editor's PNG-8, whichever colour comes first; with more greys than two
        (palette_picture(~DISC, WHITE, BLACK), TWO, {}),
        (palette_picture(DISC, BLACK, WHITE), TWO, {}),
        (palette_picture(~DISC * 2, WHITE, (128,) * 3, BLACK), TWO, {}),
        (Image.fromarray(GREY).convert("RGB").quantize(2), TWO, {}),
        # colours in a palette: the index, as Pascal VOC has it; so does a palette that tells nothing apart
        (palette_picture(DISC, RED, WHITE), {0: "background", 1: "lesion"}, {}),
        (palette_picture(DISC, BLACK, BLACK), {0: "background", 1: "lesion"}, {}),
        (Image.fromarray(GREY).convert("RGB"), TWO, {}),
        (Image.fromarray(GREY).convert("RGBA"), TWO, {}),
        (with_alpha(GREY, np.full_like(GREY, 255), "LA"), TWO, {}),
        # drawn on nothing: white or black, or with what is hidden in white
        (with_alpha(np.full_like(GREY, 255), GREY, "RGBA"), TWO, {}),
        (with_alpha(np.zeros_like(GREY), GREY, "LA"), TWO, {}),
        (with_alpha(GREY, np.zeros_like(GREY), "RGBA"), TWO, {}),
        (with_alpha(GREY // 2 + 1, GREY, "RGBA"), {0: "background", 128: "lesion"}, {}),
        (Image.fromarray(GREY.astype(np.uint16) * 257), {0: "background", 65535: "lesion"}, {}),
        (Image.fromarray(GREY.astype(np.float32)), TWO, {"suffix": "tif"}),
        (Image.fromarray(GREY.astype(np.int32) * 1000), {0: "background", 255_000: "lesion"}, {"suffix": "tif"}),
    ],
)
def test_every_way_to_save_a_mask_holds_the_same_disc(seen, image, names, options):
    segments = seen(image, names, **options)
    assert areas(segments) == {"background": 14_175, "lesion": 5_025}
    assert np.array_equal(segments.masks[1], DISC)


def test_a_palette_of_one_colour_is_its_grey(seen):
    assert areas(seen(palette_picture(np.zeros_like(GREY), WHITE))) == {"lesion": 19_200}
    assert areas(seen(palette_picture(np.zeros_like(GREY), BLACK, WHITE))) == {"background": 19_200}


def test_colours_and_fractions_are_refused(seen, refused):
    colours = np.stack([GREY, GREY, ROWS.astype(np.uint8)], -1)
    refused(lambda: seen(colours), "colours in its 3 channels", "a.png")
    refused(lambda: seen(np.dstack([colours, GREY])), "colours in its")
    refused(lambda: seen(Image.fromarray(colours).convert("CMYK"), suffix="tif"), "CMYK")
    refused(lambda: seen(GREY.astype(np.float32) / 100, suffix="tif"), "fractions")
    for odd in (np.nan, np.inf, 1e30):
        refused(lambda odd=odd: seen(np.full((3, 3), odd, np.float32), suffix="tif"), "no numbers, or far too large")


def test_colours_of_16_bits_are_refused_as_half_of_them_is_lost(tmp_path, refused):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 200, np.uint16))
    refused(lambda: read_label_map(tmp_path / "a.png"), "16 bits a channel")


def test_the_first_page_counts_and_others_are_told(seen):
    other = [Image.fromarray(np.zeros_like(GREY))]
    for suffix in ("tif", "png"):
        segments = seen(GREY, suffix=suffix, save_all=True, append_images=other)
        assert areas(segments)["lesion"] == 5_025
        assert segments.notes == ("Only the first page or frame of the mask was taken.",)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_mask_is_turned_by_its_own_tag(tmp_path, orientation, suffix):
    from core.images import turn_upright

    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    mask = read_mask(tmp_path / f"a.{suffix}")
    assert np.array_equal(mask.values, np.asarray(turn_upright(stored, orientation)))
    assert mask.notes == ("The mask was turned upright by its own tag.",)


# -- numbers and names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "inside", "between"),
    [
        (soft_disc(), int((soft_disc() >= 128).sum()), 286),
        (soft_line(), int((soft_line() >= 128).sum()), int(((soft_line() > 0) & (soft_line() < 255)).sum())),
        (once_jpeg(GREY, 95), 5_025, 833),
        (once_jpeg(GREY), 5_025, 1_127),
        (np.asarray(Image.fromarray(GREY).filter(ImageFilter.GaussianBlur(1))), 5_021, 1_432),
        (GREY // 255 * 254, 5_025, 5_025),
    ],
    ids=["soft disc", "soft line", "JPEG 95", "JPEG 75", "blurred", "254"],
)
def test_of_two_names_half_and_above_counts(seen, in_folder, values, inside, between):
    segments = seen(values)
    assert areas(segments) == {"background": 19_200 - inside, "lesion": inside}
    told = f"Values without a name were taken as 0 or 255, whichever is nearer ({between:,} pixels)."
    assert segments.notes == (told,)
    alone = seen(values, {255: "lesion"})
    assert (areas(alone), alone.notes) == ({"lesion": inside}, (told,))
    found = in_folder(values)
    assert areas(found) == {"lesion": inside}
    assert all(f"({between:,} pixels)" in note for note in found.notes) or len(np.unique(values)) == 2


def test_in_a_folder_of_masks_any_one_other_value_is_inside(in_folder):
    for value in (1, 15, 128, 255):
        found = in_folder((DISC * value).astype(np.uint8))
        assert (areas(found), found.notes) == ({"lesion": 5_025}, ())
    assert areas(in_folder(np.full_like(GREY, 7))) == {"lesion": 19_200}
    assert in_folder(np.zeros_like(GREY)).notes == ("Empty masks were left out (lesion).",)


def test_a_line_of_shades_is_wider_than_what_is_wholly_inside():
    assert ((soft_line() == 255).sum(), (soft_line() >= 128).sum()) == (35, 245)


def test_a_class_without_a_name_is_no_shade(seen, in_folder, refused):
    values = GREY.copy()
    values[5:20, 5:25] = 128
    for names in (TWO, {255: "lesion"}):
        segments = seen(values, names)
        assert areas(segments)["lesion"] == 5_025
        assert areas(segments).get("background", 13_875) == 13_875
        (note,) = segments.notes
        assert "Values without a name belong to no segment (300 pixels of 128; named are" in note
    refused(lambda: in_folder(values), "more than inside and outside", "segments.json")


def test_of_many_names_what_lies_between_belongs_to_no_segment(seen):
    values = (DISC * 3).astype(np.uint8)
    values[:, :10] = 2
    values[0, 0] = 200
    segments = seen(values, {1: "a", 3: "b", 5: "c"})
    assert areas(segments) == {"b": 5_025}
    assert segments.notes == (
        "Values without a name belong to no segment (1,200 pixels of 2 and 200; named are 1, 3 and 5).",
    )
    assert seen(values, {1: "a", 2: "x", 3: "b", 200: "y"}).notes == ()


@pytest.mark.parametrize(
    ("values", "names", "stand", "named"),
    [
        (DISC.astype(np.uint8), (0, 255), "0 and 1", "0 and 255"),
        (DISC.astype(np.uint16) * 65_535, (0, 255), "0 and 65535", "0 and 255"),
        (GREY, (0, 1), "0 and 255", "0 and 1"),
        (once_jpeg(GREY), (0, 1), "0, 1, 2", "0 and 1"),
    ],
)
def test_other_numbers_for_inside_are_told(seen, refused, values, names, stand, named):
    told = dict(zip(names, ("background", "lesion")))
    refused(lambda: seen(values, told), f"holds the values {stand}", f"those with names are {named}", "a.png")
    high = seen(values, {names[1]: "lesion"})
    assert "Values without a name belong to no segment (" in high.notes[0]


def test_vocs_border_is_no_note_but_other_strangers_are(tmp_path):
    (tmp_path / "SegmentationClass").mkdir()
    values = np.where(DISC, 15, 0).astype(np.uint8)
    values[:, 0] = 255
    Image.fromarray(values).save(tmp_path / "SegmentationClass/a.png")
    assert open_segments(tmp_path)["a"].notes == ()
    values[:, 1] = 99
    Image.fromarray(values).save(tmp_path / "SegmentationClass/a.png")
    (note,) = open_segments(tmp_path)["a"].notes
    assert "(120 pixels of 99;" in note
    # the whole of a mask of two names is not its border
    (tmp_path / "labelmap.txt").write_text("background:::\nlesion:::\n")
    Image.fromarray(np.where(DISC, 255, 0).astype(np.uint8)).save(tmp_path / "SegmentationClass/a.png")
    with pytest.raises(Exception, match="those with names are 0 and 1"):
        open_segments(tmp_path)["a"]


def test_pipes_are_not_opened(tmp_path, refused):
    import os

    os.mkfifo(tmp_path / "a.png")
    refused(lambda: read_label_map(tmp_path / "a.png"), "a device, a pipe or a socket")
