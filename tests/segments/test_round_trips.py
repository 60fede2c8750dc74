"""What is written is read back exactly: masks to the bit, names, kinds, scores, provenance, order."""

from __future__ import annotations

import json
import resource

import numpy as np
import pytest

from core.errors import UserError
from core.segments import Mask, Segment, Segments
from core.segments.files import coco, label_maps, mask_folders, match, open_segments

PICTURES = ("a.png", "train/b.jpg", "train/deep/c.v2.jpeg", "00007_finch.big")


def write_coco(form: str):
    return lambda folder, pictures: coco.write(folder / "coco.json", pictures, form)


WRITERS = {
    "coco-rle": (write_coco("rle"), True),
    "coco-counts": (write_coco("counts"), True),
    "coco-polygons": (write_coco("polygons"), True),
    "label-maps": (label_maps.write, False),
    "mask-folders": (mask_folders.write, True),
}


@pytest.fixture(params=WRITERS)
def writer(request):
    """(write(folder, pictures), whether it can hold overlaps)"""
    return WRITERS[request.param]


def reread(folder, pictures: dict[str, Segments]) -> dict[str, Segments]:
    files = open_segments(folder)
    return {picture: files[key] for picture, key in match(list(pictures), files).items()}


@pytest.mark.slow
def test_exactly(writer, size, make_segments, tmp_path):
    write, overlaps = writer
    pictures = {name: make_segments(size, seed, overlaps) for seed, name in enumerate(PICTURES)}
    pictures = {name: segments for name, segments in pictures.items() if len(segments)}
    assert pictures
    write(tmp_path / "out", pictures.items())
    assert reread(tmp_path / "out", pictures) == pictures


def test_every_field_alone(writer, tmp_path):
    write, _ = writer
    mask = Mask.from_dense(np.eye(4, dtype=bool))
    variants = [
        Segment(mask),
        Segment(mask, source="drawn", score=1e-17),
        Segment(mask, "beak", naming="file"),
        Segment(mask, "beak", "object", naming="typed"),
        Segment(mask, "beak", "context"),  # a name that nobody gave
        Segment(mask, "background", "unset", naming="accepted", score=-0.1),
        Segment(mask, "category 3", "object", 0.1 + 0.2, "semantic:deeplab", "proposed", 1 / 3),
    ]
    pictures = {f"{i}.png": Segments((4, 4), (one,)) for i, one in enumerate(variants)}
    write(tmp_path / "out", pictures.items())
    assert reread(tmp_path / "out", pictures) == pictures


def test_a_picture_without_segments(writer, tmp_path):
    write, _ = writer
    pictures = {
        "a.png": Segments((3, 5), ()),
        "b.png": Segments.from_masks(np.ones((1, 3, 5), bool), ["x"], ["object"]),
    }
    write(tmp_path / "out", pictures.items())
    if write is mask_folders.write:  # there it leaves no trace
        del pictures["a.png"]
    assert reread(tmp_path / "out", pictures) == pictures


def test_empty_masks_are_not_written(writer, tmp_path):
    write, _ = writer
    full, none = np.ones((3, 5), bool), np.zeros((3, 5), bool)
    segments = Segments.from_masks(np.stack([none, full, none]), ["a", "b", "c"], ["unset"] * 3)
    write(tmp_path / "out", [("a.png", segments)])
    (got,) = reread(tmp_path / "out", {"a.png": segments}).values()
    assert got == Segments((3, 5), segments.items[1:2])
    assert not got.notes


@pytest.mark.parametrize("write", [label_maps.write, mask_folders.write])
def test_a_folder_is_added_to_and_a_picture_written_anew(write, make_segments, tmp_path):
    first = {"a.png": make_segments((13, 6), 1, False), "b.png": make_segments((13, 6), 2, False)}
    later = {"b.png": make_segments((13, 6), 3, False), "c.png": make_segments((13, 6), 4, False)}
    write(tmp_path / "out", first.items())
    names = json.loads((tmp_path / "out/segments.json").read_text())
    write(tmp_path / "out", later.items())
    assert reread(tmp_path / "out", {**first, **later}) == {**first, **later}
    assert json.loads((tmp_path / "out/segments.json").read_text()).items() >= names.items()


def test_label_maps_refuse_overlaps(tmp_path):
    masks = np.ones((2, 3, 5), bool)
    masks[1, :, 2:] = False
    segments = Segments.from_masks(masks, ["a", "b"], ["unset", "unset"])
    with pytest.raises(UserError, match=r"x.png overlap in 6 pixels.*COCO") as caught:
        label_maps.write(tmp_path / "out", [("x.png", segments)])
    assert "\n" not in str(caught.value)


def test_more_segments_than_eight_bits_can_number(tmp_path):
    size = (20, 20)
    masks = np.eye(400, dtype=bool).reshape(400, *size)
    segments = Segments.from_masks(masks, [f"n{i % 7}" for i in range(400)], ["unset"] * 400)
    label_maps.write(tmp_path / "out", [("x.png", segments)])
    assert reread(tmp_path / "out", {"x.png": segments}) == {"x.png": segments}


def test_a_folder_of_another_form_is_left_alone(tmp_path):
    pictures = [("x.png", Segments.from_masks(np.ones((1, 2, 2), bool), ["a"], ["unset"]))]
    label_maps.write(tmp_path / "maps", pictures)
    mask_folders.write(tmp_path / "folders", pictures)
    (tmp_path / "zero").mkdir()
    (tmp_path / "zero/segments.json").write_text('{"0": "a", "7": "b"}')
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/segments.json").write_text('{"²": "a"}')
    maps, folders = label_maps.write, mask_folders.write
    for write, folder in ((maps, "folders"), (folders, "maps"), (maps, "zero"), (maps, "odd")):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError, match=r"another form|the value 0"):
            write(tmp_path / folder, pictures)
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("write", [label_maps.write, mask_folders.write])
def test_pictures_that_would_share_a_mask(write, tmp_path):
    segments = Segments.from_masks(np.ones((1, 2, 2), bool), ["a"], ["unset"])
    with pytest.raises(UserError, match=r"x.jpg and x.png would share.*COCO"):
        write(tmp_path / "out", [("x.png", segments), ("x.jpg", segments)])


@pytest.mark.parametrize("write", [label_maps.write, mask_folders.write])
@pytest.mark.parametrize("picture", ["../x.png", "/etc/x.png", "a/../../x.png", "", "x\0.png"])
def test_pictures_whose_path_leads_out(write, picture, tmp_path):
    segments = Segments.from_masks(np.ones((1, 2, 2), bool), ["a"], ["unset"])
    with pytest.raises(UserError, match="no path inside"):
        write(tmp_path / "out", [(picture, segments)])
    assert [path.name for path in tmp_path.rglob("*") if path.suffix == ".png"] == []


def test_a_full_disk_leaves_what_was_there(writer, tmp_path):
    write, _ = writer
    rng = np.random.default_rng(0)
    small = Segments.from_masks(np.ones((1, 4, 4), bool), ["a"], ["unset"])
    noise = Segments.from_masks(rng.random((1, 200, 200)) < 0.5, ["a"], ["unset"])
    write(tmp_path / "out", [("x.png", small)])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match="cannot be written") as caught:
            write(tmp_path / "out", [("x.png", noise)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_place_that_cannot_be_written(writer, tmp_path):
    write, _ = writer
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot be"):
        write(tmp_path / "file", [("x.png", Segments.from_masks(np.ones((1, 2, 2), bool), ["a"], ["unset"]))])
