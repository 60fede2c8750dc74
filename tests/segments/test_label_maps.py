"""Label maps and mask folders as other tools and people write them. Satchel's own: test_round_trips.py."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_pictures import png
from PIL import Image, PngImagePlugin

from core.data import open_dataset
from core.segments.files import open_segments, read_label_map
from core.segments.files.names import folder_name
from core.segments.files.opened import match

VALUES = np.array([[0, 0, 1, 1], [0, 15, 15, 255], [20, 15, 255, 255]], np.uint8)


def palette_picture(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values, "P")
    image.putpalette([i * 7 % 256 for i in range(768)])
    return image


def save(path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_voc_palettes_have_vocs_names_and_a_border_of_nothing(tmp_path):
    (tmp_path / "SegmentationClass").mkdir()
    palette_picture(VALUES).save(tmp_path / "SegmentationClass/2007_000032.png")
    for place in (tmp_path, tmp_path / "SegmentationClass"):
        segments = open_segments(place)["2007_000032"]
        assert segments.names == ("background", "aeroplane", "person", "tvmonitor")
        assert segments.kinds == ("context", "unset", "unset", "unset")
        assert np.array_equal(segments.masks.any(0), VALUES != 255)


def test_names_and_colours_from_labelmap_txt(tmp_path):
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nbeak: deep:250,50,83:a,b:\neye:52,209,183::\n"
    )
    colours = np.array([[0, 0, 0], [250, 50, 83], [52, 209, 183], [9, 9, 9]], np.uint8)
    values = np.array([[0, 1, 1], [2, 3, 0]])
    save(tmp_path / "SegmentationClass/sub/a.png", colours[values])
    save(tmp_path / "SegmentationClass/b.png", values.astype(np.uint8))
    files = open_segments(tmp_path)
    assert sorted(files) == ["b", "sub/a"]
    for segments in files.values():
        assert segments.names == ("background", "beak: deep", "eye")
        assert np.array_equal(segments.masks, [values == 0, values == 1, values == 2])


@pytest.mark.parametrize("text", ["beak\n", "beak:1,2::\n", "beak:a,b,c::\n", f"{'x' * 300}:1,2,3::\n"])
def test_broken_labelmap_txt(text, tmp_path, refused):
    (tmp_path / "labelmap.txt").write_text(text)
    refused(lambda: open_segments(tmp_path), "labelmap.txt")


def test_a_value_that_is_named_counts_even_if_it_is_255(tmp_path):
    (tmp_path / "segments.json").write_text('{"255": "nucleus"}')
    save(tmp_path / "a.png", VALUES)
    assert open_segments(tmp_path)["a"].names == ("nucleus",)


@pytest.mark.parametrize(
    "details",
    ['{"1": {"kind": 3}}', '{"one": {}}', "[1]", "{", '{"1": [2]}', '{"1": {"naming": "guessed"}}', "[" * 50_000],
)
def test_details_that_nobody_wrote(details, tmp_path, refused):
    (tmp_path / "segments.json").write_text('{"1": "beak"}')
    info = PngImagePlugin.PngInfo()
    info.add_itxt("satchel", details)
    Image.fromarray(VALUES).save(tmp_path / "a.png", pnginfo=info)
    refused(lambda: open_segments(tmp_path)["a"], "details", "a.png")


def test_names_that_were_changed_by_hand_hold(tmp_path, make_segments):
    from core.segments.files import label_maps

    segments = make_segments((13, 6), overlaps=False)
    label_maps.write(tmp_path, [("a.png", segments)])
    names = json.loads((tmp_path / "segments.json").read_text())
    (tmp_path / "segments.json").write_text(json.dumps(dict.fromkeys(names, "all") | {"1": ""}))
    got = open_segments(tmp_path)["a"]
    assert sorted(got.names) == ["", *["all"] * (len(segments) - 1)]
    assert np.array_equal(got.masks, segments.masks)
    assert [item.score for item in got] == [item.score for item in segments]


def test_masks_that_are_no_label_maps(tmp_path, refused):
    Image.fromarray(np.full((3, 4), 0.5, np.float32)).save(tmp_path / "f.tif")
    refused(lambda: read_label_map(tmp_path / "f.tif"), "fractions")
    save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8))
    data = bytearray((tmp_path / "a.png").read_bytes())
    for tenth in range(10):
        (tmp_path / "cut.png").write_bytes(data[: len(data) * tenth // 10])
        refused(lambda: read_label_map(tmp_path / "cut.png"), "cannot be read")
    data[16:24] = (60_000).to_bytes(4, "big") * 2  # the size in the header
    (tmp_path / "big.png").write_bytes(data)
    refused(lambda: read_label_map(tmp_path / "big.png"), "big.png")


def test_a_mask_whose_last_rows_are_missing_is_cut_off(tmp_path, refused):
    rows = b"\0" + bytes([7] * 9)
    (tmp_path / "short.png").write_bytes(png(9, 20, 0, 8, rows * 12))
    refused(lambda: read_label_map(tmp_path / "short.png"), "is cut off")
    (tmp_path / "whole.png").write_bytes(png(9, 20, 0, 8, rows * 12 + (b"\0" + bytes(9)) * 8))
    assert read_label_map(tmp_path / "whole.png").sum() == 7 * 9 * 12


def test_two_masks_of_one_name(tmp_path, refused):
    (tmp_path / "segments.json").write_text('{"1": "beak"}')
    save(tmp_path / "a.png", VALUES)
    save(tmp_path / "a.tif", VALUES)
    refused(lambda: open_segments(tmp_path), "a.png", "a.tif", "remove one")
    (tmp_path / "a.tif").rename(tmp_path / "._a.png")  # what some systems leave behind
    assert list(open_segments(tmp_path)) == ["a"]


def test_a_folder_of_masks_a_name_without_a_names_file(tmp_path):
    inside = VALUES == 15
    save(tmp_path / "beak/train/a.png", inside.astype(np.uint8) * 255)
    save(tmp_path / "beak/b.png", inside.astype(np.uint8))
    Image.fromarray(inside).save(tmp_path / "beak/c.png")
    save(tmp_path / "background/train/a.png", (~inside).astype(np.uint8) * 255)
    save(tmp_path / "background/b.png", inside.astype(np.uint8) * 0)
    (tmp_path / ".cache").mkdir()
    files = open_segments(tmp_path)
    assert list(files) == ["b", "c", "train/a"]
    assert files["train/a"].names == ("background", "beak")
    assert files["train/a"].kinds == ("context", "unset")
    assert all(np.array_equal(files[key].masks[-1], inside) for key in files)
    assert files["b"].notes == ("Empty masks were left out (background).",)


def test_mask_folders_that_are_something_else(tmp_path, refused):
    save(tmp_path / "train/a.png", VALUES)
    refused(lambda: open_segments(tmp_path)["a"], "a.png", "segments.json")
    save(tmp_path / "train/a.png", VALUES // 255)
    save(tmp_path / "val/a.png", VALUES.T // 255)
    refused(lambda: open_segments(tmp_path)["a"], "different sizes", "3x4", "4x3")
    (tmp_path / ("x" * 201)).mkdir()
    refused(lambda: open_segments(tmp_path), "limit is 200")


def test_a_names_file_that_leads_out(tmp_path, refused):
    save(tmp_path / "secret/a.png", VALUES // 255)
    (tmp_path / "in/beak").mkdir(parents=True)
    for key in ("../secret", "..", "", ".", "/etc"):
        (tmp_path / "in/segments.json").write_text(json.dumps({"beak": "beak", key: "x"}))
        refused(lambda: open_segments(tmp_path / "in"), f"names {key!r}")


def test_folder_names_are_safe_and_unlike():
    names = ["a/b", "A/B", "a b", "..", "", "\N{BIRD}", "128", "CON", "x" * 200, "x" * 199, "Flügel"]
    taken: list[str] = []
    for name in names:
        taken.append(folder_name(name, taken))
    assert taken[:9] == ["a-b", "a-b-2", "a-b-3", "name", "name-2", "name-3", "name-128", "name-con", "x" * 40]
    assert taken[9:] == [f"{'x' * 40}-2", "flugel"]
    assert len({name.casefold() for name in taken}) == len(names)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "names"), [("wbc", {"background", "cytoplasm", "nucleus"}), ("ph2", {"skin", "lesion"})]
)
def test_the_masks_of_real_data_sets_from_elsewhere(data, name, names, tmp_path):
    (tmp_path / "segments.json").write_text((data / name / "segments.json").read_text())
    for path in sorted((data / name / "masks").iterdir())[:4]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    own = open_dataset(data / name)
    other = open_dataset(data / name, segments=tmp_path)
    keys = match([item.id for item in own.items], open_segments(tmp_path))
    assert len(keys) == 4
    for item, again in zip(own.items, other.items):
        if item.id in keys:
            assert again.load()[1] == item.load()[1]
            assert set(again.segments().names) <= names
