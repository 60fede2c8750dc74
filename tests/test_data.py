"""Data sets: class folders, manifests and masks."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from core.classifier import Classifier
from core.data import check_context, open_dataset
from core.errors import UserError
from core.segments.files import read_label_map, read_names

NAMES = {"0": "background", "128": "body", "255": {"name": "beak", "kind": "object"}}


def mask_values(size: tuple[int, int] = (12, 16)) -> np.ndarray:
    values = np.zeros(size, np.uint8)
    values[2:8, 3:9] = 128
    values[4:6, 4:6] = 255
    return values


@pytest.fixture
def folder(tmp_path):
    """Four pictures with a manifest and masks."""
    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    lines = ["image,label,mask,group,note"]
    for i in range(4):
        Image.new("RGB", (16, 12), (i * 40, 0, 0)).save(tmp_path / f"images/{i}.png")
        Image.fromarray(mask_values()).save(tmp_path / f"masks/{i}.png")
        lines.append(f"images/{i}.png,{'ab'[i % 2]},masks/{i}.png,g{i // 2},n{i}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "segments.json").write_text(json.dumps(NAMES))
    return tmp_path


def refused(folder, *words: str, **options) -> None:
    with pytest.raises(UserError) as caught:
        [item.load() for item in open_dataset(folder, **options).items]
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_manifest_with_masks(folder):
    data = open_dataset(folder)
    assert data.labels == ("a", "b")
    assert [item.id for item in data.items] == [f"images/{i}.png" for i in range(4)]
    item = data.items[3]
    assert (item.label, item.group, item.columns["note"]) == ("b", "g1", "n3")
    picture, segments = item.load()
    assert picture.image.getpixel((0, 0)) == (120, 0, 0)
    assert segments.names == ("background", "body", "beak")
    assert segments.kinds == ("context", "unset", "object")
    assert segments.masks.sum((1, 2)).tolist() == [12 * 16 - 36, 32, 4]
    assert open_dataset(folder).with_context(["body"]).items[0].segments().kinds == ("context", "context", "object")


def test_class_folders(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label / "more").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / label / "x.PNG")
        Image.new("RGB", (4, 4)).save(tmp_path / label / "more" / "y.jpg")
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    data = open_dataset(tmp_path)
    assert {item.id: item.label for item in data.items} == {
        "cat/x.PNG": "cat",
        "cat/more/y.jpg": "cat",
        "dog/x.PNG": "dog",
        "dog/more/y.jpg": "dog",
    }
    assert data.items[0].segments() is None
    flat = open_dataset(tmp_path / "cat" / "more")
    assert flat.items[0].label is None
    assert flat.labels == ()


def test_masks_of_every_kind(folder):
    path = folder / "masks/0.png"
    bits = Image.fromarray(mask_values() == 255)
    bits.save(path)
    assert set(np.unique(read_label_map(path))) == {0, 255}
    assert open_dataset(folder).items[0].segments().names == ("background", "beak")
    palette = Image.fromarray(mask_values(), "P")
    palette.putpalette([0, 0, 0] * 128 + [250, 3, 4] * 128)
    palette.save(path)
    assert np.array_equal(read_label_map(path), mask_values())
    Image.fromarray(np.repeat(mask_values()[..., None], 3, -1)).save(path)
    assert np.array_equal(read_label_map(path), mask_values())
    Image.fromarray(mask_values().astype(np.uint16) * 200).save(path)
    assert int(read_label_map(path).max()) == 51_000


def test_masks_that_do_not_fit(folder):
    Image.fromarray(mask_values((12, 15))).save(folder / "masks/2.png")
    refused(folder, "12x15 pixels", "12x16", "make them equal")
    Image.new("RGB", (16, 12), (1, 2, 3)).save(folder / "masks/2.png")
    refused(folder, "3 channels")
    (folder / "masks/2.png").write_bytes(b"nothing")
    refused(folder, "cannot be read")
    (folder / "masks/2.png").unlink()
    refused(folder, "no mask", "2.png")
    (folder / "segments.json").unlink()
    refused(folder, "no segments.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no whole JSON file"),
        ("[1, 2]", "must map mask values to names"),
        ('{"a": "body"}', "whole numbers"),
        ('{"1": 3}', r'must map mask values to names, such as \{"128": "nucleus"\}\.$'),
        ('{"1": null}', "must map mask values to names"),
        ('{"1": {"kind": "object"}}', "must map mask values to names"),
        ('{"1": {"name": 3}}', "must map mask values to names"),
        ('{"1": {"name": "x", "kind": "thing"}}', "object, context or unset"),
    ],
)
def test_broken_names(tmp_path, text, words):
    (tmp_path / "segments.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_names(tmp_path / "segments.json")


def test_both_forms_of_names(folder):
    assert read_names(folder / "segments.json") == {
        0: ("background", "context"),
        128: ("body", "unset"),
        255: ("beak", "object"),
    }


def test_masks_from_elsewhere(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "images").mkdir(parents=True)
    (elsewhere / "segments.json").write_text('{"7": "thing"}')
    seven = Image.fromarray(np.full((12, 16), 7, np.uint8))
    seven.save(elsewhere / "images/0.png")  # under the picture's own path
    seven.save(elsewhere / "1.png")  # or under its name
    data = open_dataset(folder, segments=elsewhere)
    assert [item.segments().names for item in data.items[:2]] == [("thing",)] * 2
    assert data.items[2].segments().names == ("background", "body", "beak")
    Image.new("L", (5, 5), 7).save(elsewhere / "1.png")
    refused(folder, "5x5", segments=elsewhere)
    refused(folder, "no folder of masks", segments=folder / "none")
    refused(folder, "no segments.json", segments=folder / "masks")
    (folder / "masks/segments.json").write_text("{}")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/segments.json").write_text('{"7": "thing"}')
    refused(folder, "no mask for any picture", segments=tmp_path / "bare")


def write(folder, *lines: str) -> None:
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_broken_manifests(folder, tmp_path):
    write(folder, "image,label", "../secret.png,a")
    refused(folder, "points outside")
    write(folder, "image,label", "/etc/hostname,a")
    refused(folder, "points outside")
    write(folder, "image,label", "images/0.png,a", "images/0.png,b")
    refused(folder, "twice")
    write(folder, "file,label", "images/0.png,a")
    refused(folder, "no column 'image' (only file, label)")
    for mark in ";\t":
        write(folder, f"image{mark}label", f"images/0.png{mark}a")
        refused(folder, "must be separated by commas")
    write(folder, "image,group", "images/0.png,a,b")
    refused(folder, "more cells than columns in line 2")
    (folder / "manifest.csv").write_text("")
    refused(folder, "is empty")
    write(folder, "image,label")
    refused(folder, "lists no pictures")
    write(folder, "image,label", "images/none.png,a")
    refused(folder, "There is no file")
    write(folder, "image,label", ",a")
    refused(folder, "manifest.csv")
    (folder / "manifest.csv").write_bytes(b"image,label\nimages/0.png,\xff\xfe\n")
    refused(folder, "UTF-8")
    refused(tmp_path / "none", "There is no folder")
    (tmp_path / "void").mkdir()
    refused(tmp_path / "void", "holds no pictures")


def test_paths_as_other_systems_write_them(folder):
    """Backslashes, spaces, other accents and case, paths in full, and what only says "here"."""
    decomposed, written = unicodedata.normalize("NFD", "bäh.png"), unicodedata.normalize("NFC", "bäh.PNG")
    (folder / "images/3.png").rename(folder / "images" / decomposed)
    write(
        folder,
        "image, label ,mask,group",
        r" images\0.png  ,a  ,masks\0.png ,p1 ",
        f"{folder}/images/1.PNG,a,./masks/1.png,p1",
        "./images/../images/2.png,b,,",
        f"Images/{written},b,,",
    )
    data = open_dataset(folder)
    assert [item.id for item in data.items] == ["images/0.png", "images/1.png", "images/2.png", f"images/{decomposed}"]
    assert [item.group for item in data.items[:2]] == ["p1", "p1"]
    assert [item.load()[0].image.getpixel((0, 0))[0] for item in data.items] == [0, 40, 80, 120]
    assert [len(item.segments() or ()) for item in data.items] == [3, 3, 0, 0]
    (folder / "manifest.csv").rename(folder / "Manifest.CSV")
    assert [item.id for item in open_dataset(folder).items] == [item.id for item in data.items]


def test_one_picture_in_two_lines(folder):
    write(folder, "image,label", "images/0.png,a", "", "./images/0.png,b")
    refused(folder, "lists images/0.png twice, in lines 2 and 4; keep one line a picture.")
    (folder / "images/again.png").symlink_to("0.png")
    write(folder, "image,label", "images/0.png,a", "images/again.png,b")
    refused(folder, "lists images/again.png twice, in lines 2 and 3, once as images/0.png")


def test_lines_are_counted_as_an_editor_counts_them(folder):
    write(folder, "", "image,note", "", ",,", 'images/0.png,"two', 'lines"', "", "images/1.png,a,b")
    refused(folder, "more cells than columns in line 8")
    write(folder, "image,group", "images/0.png,a,,", "images/1.png,b")  # a spreadsheet's empty cells
    assert [item.group for item in open_dataset(folder).items] == ["a", "b"]
    write(folder, "image,Image", "images/0.png,images/1.png")
    refused(folder, "two columns 'image'")
    write(folder, "image,label", "a\0b.png,x")
    refused(folder, "NUL character in line 2")
    write(folder, "image,label", f"{'x' * 300}.png,x")
    refused(folder, "File name too long")


def test_manifests_in_utf_16(folder):
    (folder / "manifest.csv").write_text("image,label\nimages/0.png,Käse\n", encoding="utf-16")
    assert open_dataset(folder).labels == ("Käse",)
    (folder / "manifest.csv").write_text("image,label\nimages/0.png,Käse\n", encoding="latin-1")
    refused(folder, "no CSV file in UTF-8")


def test_names_are_compared_in_one_form(folder, small_cnn):
    other = unicodedata.normalize("NFD", "Käse")
    (folder / "segments.json").write_text(json.dumps({"128": other}))
    write(folder, "image,label,mask", f"images/0.png,{other},masks/0.png")
    data = open_dataset(folder)
    assert data.labels == ("Käse",)
    assert data.with_context([other]).items[0].segments().kinds == ("context",)
    check_context([other], ["Käse"])
    labels, preprocessing = [other, "b", "c", "d"], small_cnn.preprocessing
    labelled = Classifier(small_cnn.module, labels=labels, preprocessing=preprocessing, device="cpu")
    assert labelled.labels == ("Käse", "b", "c", "d")
    assert labelled.class_index(other) == labelled.class_index("käse") == 0


def test_short_rows_and_a_byte_order_mark(folder):
    (folder / "manifest.csv").write_bytes("\ufeffimage,label\nimages/0.png\nimages/1.png,a\n".encode())
    data = open_dataset(folder)
    assert [item.label for item in data.items] == [None, "a"]


def test_columns_are_known_however_they_are_written(folder):
    write(folder, "Image, LABEL , Group, Note", "images/0.png, a, g, n", "images/1.png,,,", 'images/2.png, "b, c"')
    first, second, third = open_dataset(folder).items
    assert (first.id, first.label, first.group, first.columns["Note"]) == ("images/0.png", "a", "g", "n")
    assert (second.label, third.label) == (None, "b, c")
    assert open_dataset(folder).labels == ("a", "b, c")


def test_the_limit_spreads_over_the_whole(folder):
    assert [item.id for item in open_dataset(folder, limit=2).items] == ["images/0.png", "images/3.png"]
    assert len(open_dataset(folder, limit=99)) == 4
    refused(folder, "at least 1", limit=0)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "pictures", "classes", "names"),
    [
        ("wbc", 300, 5, {"background", "cytoplasm", "nucleus"}),
        ("ph2", 200, 3, {"skin", "lesion"}),
        ("imagenet100", 100, 100, None),
        ("imagenette/val", 1000, 10, None),
    ],
)
def test_real_data_sets(data, name, pictures, classes, names):
    opened = open_dataset(data / name)
    assert len(opened) == pictures
    assert len(opened.labels) == classes
    for item in opened.items[:: pictures // 7]:
        picture, segments = item.load()
        assert min(picture.size) > 50
        if names is None:
            assert segments is None
        else:
            assert set(segments.names) <= names
            assert len(segments) >= 2
            assert segments.masks.sum(0).min() == segments.masks.sum(0).max() == 1  # a partition


def test_masks_beside_class_folders(tmp_path):
    root = tmp_path / "pets"
    (root / "masks").mkdir(parents=True)
    for name in ("ant", "bee"):
        (root / name).mkdir()
        for i in range(2):
            Image.new("RGB", (16, 12), (i * 40, 0, 0)).save(root / name / f"{name}{i}.png")
            Image.fromarray(mask_values()).save(root / "masks" / f"{name}{i}.png")
    (root / "masks" / "segments.json").write_text(json.dumps(NAMES))
    data = open_dataset(root)
    assert data.labels == ("ant", "bee")
    assert len(data) == 4
    assert all(item.load()[1].names == ("background", "body", "beak") for item in data.items)
    assert "Masks were found in masks and are used." in data.notes
    assert data.masks is not None
    assert data.masks.path == root / "masks"


def test_a_class_called_masks_is_a_class(tmp_path):
    for name in ("hats", "masks"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (16, 12)).save(tmp_path / name / f"{name}.png")
    (tmp_path / "labels.json").write_text('["hats", "masks"]')
    data = open_dataset(tmp_path)
    assert data.labels == ("hats", "masks")
    assert not data.notes
    assert data.first_without_masks is not None
