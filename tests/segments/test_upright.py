"""Masks over pictures that cameras stored turned."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from core.data import open_dataset
from core.errors import UserError
from core.segments.files import coco
from core.segments.files.upright import AS_UPRIGHT, WITH_PICTURE
from core.segments.files.values import TURNED
from core.segments.mask import Mask, turned
from core.segments.segments import Segment, Segments

BACK = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
UPRIGHT = (5, 6, 7, 8)


def write(folder, orientation: int, mask: str, square: bool = False, suffix: str = "png") -> np.ndarray:
    """A red patch in a picture that is stored turned, and its mask: "tag", "stored" or "upright"."""
    inside = np.zeros((24, 24 if square else 40), bool)
    inside[2:9, 3:15] = True
    picture = np.where(inside[..., None], (250, 10, 10), (90, 90, 90)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turned(picture, BACK[orientation]))
    Image.fromarray(stored).save(folder / "a.jpg", exif=exif, quality=95)
    values = inside if mask == "upright" else np.ascontiguousarray(turned(inside, BACK[orientation]))
    options = {"exif": exif} if mask == "tag" else {}
    Image.fromarray(values.astype(np.uint8)).save(folder / f"m.{suffix}", **options)
    (folder / "manifest.csv").write_text(f"image,mask\na.jpg,m.{suffix}\n")
    (folder / "segments.json").write_text(json.dumps({0: "rest", 1: "patch"}))
    return inside


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_mask_with_the_same_tag_lies_on_its_picture(tmp_path, orientation, square, suffix):
    inside = write(tmp_path, orientation, "tag", square, suffix)
    picture, segments = open_dataset(tmp_path).items[0].load()
    assert np.array_equal(segments.masks[1], inside)
    assert (picture.array()[inside][:, 1] < 60).all()
    assert segments.notes == (() if orientation == 1 else (TURNED,))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_without_a_tag_the_size_decides(tmp_path, orientation):
    write(tmp_path, orientation, "stored")
    data = open_dataset(tmp_path)
    _, segments = data.items[0].load()
    assert segments.notes == ((WITH_PICTURE,) if orientation in UPRIGHT else (AS_UPRIGHT,))
    assert dict(data.noted) == {"a.jpg": segments.notes}
    inside = write(tmp_path, orientation, "upright")
    _, segments = open_dataset(tmp_path).items[0].load()
    assert np.array_equal(segments.masks[1], inside)
    assert segments.notes == (() if orientation in UPRIGHT else (AS_UPRIGHT,))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_masks_over_the_stored_pixels_are_turned_with_the_picture(tmp_path, orientation):
    inside = write(tmp_path, orientation, "stored")
    _, segments = open_dataset(tmp_path).items[0].load()
    assert np.array_equal(segments.masks[1], inside)
    # whatever file they come from
    stored = Mask.from_dense(turned(inside, BACK[orientation]))
    coco.write(tmp_path / "coco.json", [("a.jpg", Segments(stored.size, (Segment(stored, "patch"),)))])
    _, segments = open_dataset(tmp_path, segments=tmp_path / "coco.json").items[0].load()
    assert np.array_equal(segments.masks[0], inside)
    assert segments.notes == (WITH_PICTURE,)


def test_squares_tell_nothing_by_their_size(tmp_path):
    inside = write(tmp_path, 6, "upright", square=True)
    _, segments = open_dataset(tmp_path).items[0].load()
    assert np.array_equal(segments.masks[1], inside)
    assert segments.notes == (AS_UPRIGHT,)


def test_a_tag_on_a_mask_that_is_upright_already_is_told(tmp_path):
    write(tmp_path, 6, "upright")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(tmp_path / "m.png").save(tmp_path / "m.png", exif=exif)
    with pytest.raises(UserError, match="is one of them turned"):
        open_dataset(tmp_path).items[0].load()


def test_masks_are_turned_as_pictures_are():
    from core.images import turn_upright

    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for orientation in range(1, 9):
        assert np.array_equal(
            turned(values, orientation), np.asarray(turn_upright(Image.fromarray(values), orientation))
        )
        mask = Mask.from_dense(values % 3 == 0)
        assert np.array_equal(mask.turned(orientation).decode(), turned(values % 3 == 0, orientation))
