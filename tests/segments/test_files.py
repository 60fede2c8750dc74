"""Which form lies at a path, and which entry belongs to which picture."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from PIL import Image

from core.data import open_dataset
from core.segments import Segments
from core.segments.files import coco, label_maps, mask_folders, match, open_segments, opened
from core.segments.files.opened import SegmentFiles

SIZE = (6, 8)


def some(name: str = "beak", size: tuple[int, int] = SIZE) -> Segments:
    return Segments.from_masks(np.ones((1, *size), bool), [name], ["object"])


@pytest.fixture
def pictures(tmp_path):
    """Three pictures in two class folders."""
    for name in ("finch/1.jpg", "finch/2.png", "owl/3.jpg"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE[::-1]).save(path)
    return tmp_path / "pictures"


def test_forms_are_found_out(tmp_path):
    coco.write(tmp_path / "coco/instances.json", [("a.png", some())])
    label_maps.write(tmp_path / "maps", [("a.png", some())])
    mask_folders.write(tmp_path / "folders", [("a.png", some())])
    (tmp_path / "cvat").mkdir()
    (tmp_path / "cvat/annotations.xml").write_text(
        '<annotations><image name="a.png" width="8" height="6">'
        '<box label="beak" xtl="0" ytl="0" xbr="8" ybr="6"/></image></annotations>'
    )
    (tmp_path / "cvat/images").mkdir()
    (tmp_path / "ls.json").write_text(
        json.dumps(
            [
                {
                    "data": {"image": "a.png"},
                    "annotations": [
                        {
                            "result": [
                                {
                                    "original_width": 8,
                                    "original_height": 6,
                                    "value": {"x": 0, "y": 0, "width": 100, "height": 100, "labels": ["beak"]},
                                }
                            ]
                        }
                    ],
                }
            ]
        )
    )
    paths = ("coco", "coco/instances.json", "maps", "maps/segments.json", "folders", "cvat", "ls.json")
    files = {path: open_segments(tmp_path / path) for path in paths}
    assert {path: found.form for path, found in files.items()} == {
        "coco": "COCO JSON",
        "coco/instances.json": "COCO JSON",
        "maps": "PNG label maps",
        "maps/segments.json": "PNG label maps",
        "folders": "masks in folders",
        "cvat": "CVAT for images 1.1",
        "ls.json": "Label Studio JSON",
    }
    for found in files.values():
        (key,) = match(["a.png"], found).values()
        assert np.array_equal(found[key].masks, some().masks)
        assert found[key].names == ("beak",)


def test_a_folder_of_pictures_may_be_called_like_a_mask_value(tmp_path):
    label_maps.write(tmp_path, [("1/a.png", some())])
    assert list(open_segments(tmp_path)) == ["1/a"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no masks"),
        (["a.txt", "b/c.txt"], "holds no masks"),
        (["a.png"], "no segments.json"),
        (["lesion/a.JPG"], "holds only JPEG files"),
        (["a.json", "b.xml"], "several annotation files (a.json, b.xml)"),
        (["a.json"], "no whole JSON file"),
        (["a.xml"], "no whole XML file"),
    ],
)
def test_folders_that_hold_something_else(names, words, tmp_path, refused):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    refused(lambda: open_segments(tmp_path), words)


def test_paths_that_are_nothing(tmp_path, refused):
    refused(lambda: open_segments(tmp_path / "none"), "no folder of masks or annotation file")
    (tmp_path / "export.zip").write_bytes(b"PK")
    refused(lambda: open_segments(tmp_path / "export.zip"), "unpack archives")


def test_nothing_is_read_before_it_is_asked_for():
    asked = []
    readers = {key: lambda key=key: asked.append(key) or some(key) for key in "abc"}
    files = SegmentFiles("x", "test", readers)
    assert (len(files), list(files), "b" in files, "z" in files) == (3, ["a", "b", "c"], True, False)
    assert asked == []
    assert files["b"].names == ("b",)
    assert files.get("z") is None
    assert asked == ["b"]


@pytest.mark.parametrize(
    ("given", "keys", "found"),
    [
        # the same path, whatever the suffix; the bare name; folders above
        (["a/1.jpg"], ["a/1.jpg"], {"a/1.jpg": "a/1.jpg"}),
        (["a/1.jpg"], ["a/1"], {"a/1.jpg": "a/1"}),
        (["a/1.jpg"], ["a/1.png"], {"a/1.jpg": "a/1.png"}),
        (["a/1.jpg"], ["1"], {"a/1.jpg": "1"}),
        (["1.jpg"], ["home/a/1.JPG"], {"1.jpg": "home/a/1.JPG"}),
        (["images/1.jpg"], ["masks/1.png"], {"images/1.jpg": "masks/1.png"}),
        # the longer common end counts
        (["a/1.jpg", "b/1.jpg"], ["x/a/1", "x/b/1"], {"a/1.jpg": "x/a/1", "b/1.jpg": "x/b/1"}),
        (["a/1.jpg"], ["1", "a/1"], {"a/1.jpg": "a/1"}),
        # an entry of another folder is not taken from the picture that it belongs to
        (["a/1.jpg", "b/1.jpg"], ["a/1"], {"a/1.jpg": "a/1"}),
        # the same suffix decides between pictures that differ in nothing else
        (["1.jpg", "1.png"], ["1.png", "1.jpg"], {"1.jpg": "1.jpg", "1.png": "1.png"}),
        # points that are no suffix; numbers of rendered pictures
        (["a.v1.jpg", "a.v2.jpg"], ["a.v2", "a.v1"], {"a.v1.jpg": "a.v1", "a.v2.jpg": "a.v2"}),
        (["00001_owl"], ["00001_owl.png"], {"00001_owl": "00001_owl.png"}),
        (["1.jpg"], ["2.jpg", "11.jpg"], {}),
        ([], ["1"], {}),
    ],
)
def test_which_entry_belongs_to_which_picture(given, keys, found):
    assert match(given, keys) == found


@pytest.mark.parametrize(
    ("given", "keys", "words"),
    [
        (["1.jpg"], ["a/1", "b/1"], ["Two entries fit the picture 1.jpg", "a/1", "b/1"]),
        (["a/1.jpg", "b/1.jpg"], ["1"], ["1 fits two pictures", "a/1.jpg", "b/1.jpg"]),
        (["1.jpg", "1.png"], ["1"], ["1 fits two pictures"]),
    ],
)
def test_what_is_ambiguous_is_told(given, keys, words, refused):
    refused(lambda: match(given, keys), *words)


def test_one_file_name_in_very_many_folders_is_compared_with_few(monkeypatch):
    compared = []
    closeness = opened._closeness
    monkeypatch.setattr(opened, "_closeness", lambda *pair: compared.append(pair) or closeness(*pair))
    pictures = [f"clips/{i}/frame.jpg" for i in range(300)]
    assert match(pictures, [f"{i}/frame.png" for i in range(300)]) == {
        f"clips/{i}/frame.jpg": f"{i}/frame.png" for i in range(300)
    }
    assert len(compared) <= 4 * 300


def test_the_index_finds_what_comparing_all_would():
    rng = random.Random(0)

    def some_path() -> str:
        folders = [rng.choice("ab") for _ in range(rng.randrange(3))]
        return "/".join([*folders, rng.choice("12") + rng.choice(["", ".png", ".jpg", ".JPG", ".x"])])

    for _ in range(400):
        given, keys = ({some_path() for _ in range(rng.randrange(1, 7))} for _ in range(2))
        for picture in given:
            same = [key for key in keys if opened._parts(key)[-1] == opened._parts(picture)[-1]]
            ranked = sorted(((opened._closeness(picture, key), key) for key in same), reverse=True)
            near = sorted(
                ((opened._closeness(picture, key), key) for key in opened._Index(keys).near(picture)), reverse=True
            )
            assert near[:2] == ranked[:2]


def test_a_data_set_takes_every_form(pictures, tmp_path):
    coco.write(tmp_path / "coco.json", [("finch/1.jpg", some()), ("3.jpg", some("eye")), ("other.jpg", some())])
    label_maps.write(tmp_path / "maps", [("2.png", some())])
    mask_folders.write(tmp_path / "folders", [("owl/3.jpg", some("a/<b>"))])
    data = open_dataset(pictures, segments=tmp_path / "coco.json")
    assert [found and found.names for found in (item.segments() for item in data.items)] == [("beak",), None, ("eye",)]
    assert data.first_without_masks.id == "finch/2.png"
    assert data.notes == ("Entries of coco.json that belong to no picture of pictures were left out (1).",)
    data = open_dataset(pictures, segments=tmp_path / "maps")
    assert [item.segments() is not None for item in data.items] == [False, True, False]
    data = open_dataset(pictures, segments=tmp_path / "folders").with_context(["a/<b>"])
    assert data.items[2].load()[1].kinds == ("context",)


def test_what_does_not_fit_a_data_set_is_told(pictures, tmp_path, refused):
    coco.write(tmp_path / "size.json", [("1.jpg", some(size=(6, 9)))])
    item = open_dataset(pictures, segments=tmp_path / "size.json").items[0]
    refused(item.load, "finch/1.jpg", "6x9", "6x8", "make them equal")
    coco.write(tmp_path / "none.json", [("9.jpg", some())])
    refused(lambda: open_dataset(pictures, segments=tmp_path / "none.json"), "no mask for any picture")
    coco.write(tmp_path / "two.json", [("a/1.jpg", some()), ("b/1.jpg", some())])
    refused(lambda: open_dataset(pictures, segments=tmp_path / "two.json"), "Two entries fit the picture finch/1.jpg")


def test_notes_of_the_whole_file_come_with_the_data_set(pictures, tmp_path):
    value = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 8, "height": 6}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(value))
    (note,) = open_dataset(pictures, segments=tmp_path / "coco.json").notes
    assert note == "Annotations of pictures that coco.json does not list were left out (1)."


def test_pictures_that_are_no_masks_are_told(tmp_path):
    mask = Image.fromarray(np.full((4, 4), 255, np.uint8))
    (tmp_path / "beak").mkdir()
    mask.save(tmp_path / "beak" / "a.png")
    mask.save(tmp_path / "beak" / "b.jpg")
    files = open_segments(tmp_path)
    assert list(files) == ["a"]
    assert files.notes == ("Files beside the masks are not read as masks, which are PNG, TIFF or BMP (1 .jpg).",)
