"""COCO JSON: agreement with pycocotools, and what other tools write."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as theirs
from pycocotools.coco import COCO

from core.errors import UserError
from core.segments import Mask, Segments
from core.segments.files import coco, open_segments
from core.segments.files.outlines import outlines
from core.segments.files.rle_text import from_text, to_text

SQUARE = [2, 1, 6, 1, 6, 4, 2, 4]


def document(**changes) -> dict:
    return {
        "images": [{"id": 7, "file_name": "train\\a.jpg", "width": 8, "height": 6}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "segmentation": [SQUARE]}],
        "categories": [{"id": 3, "name": " beak "}],
        **changes,
    }


def opened(tmp_path, value):
    path = tmp_path / "coco.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return open_segments(path)


def annotated(tmp_path, *annotations: dict) -> Segments:
    """The segments of one picture of 6 x 8 pixels with these annotations."""
    whole = [{"id": i, "image_id": 7, "category_id": 3, **entry} for i, entry in enumerate(annotations)]
    return opened(tmp_path, document(annotations=whole))["train/a.jpg"]


def test_texts_are_those_of_pycocotools(size, make_masks):
    for dense in make_masks(size, 30):
        mask = Mask.from_dense(dense)
        expected = theirs.encode(np.asfortranarray(dense, np.uint8))["counts"]
        assert to_text(mask).encode() == expected
        assert from_text(expected, size) == from_text(expected.decode(), size) == mask


def test_texts_of_very_long_runs():
    mask = Mask(np.array([1, 29_999_999, 20_000_000, 1, 5, 9_999_994]), (6000, 10_000))
    assert from_text(to_text(mask), mask.size) == mask


@pytest.mark.parametrize("text", ["", "o", "0o", "é", "0 ", "\x7f" * 20, "oooooooo0", "00", "\ud800", "0" * 1000])
def test_damaged_texts(text):
    with pytest.raises(UserError):
        from_text(text, (5, 5))


def test_every_cut_of_a_text_is_told(make_masks):
    for dense in make_masks((17, 40), 20):
        text = to_text(Mask.from_dense(dense))
        for end in range(len(text)):
            with pytest.raises(UserError):
                from_text(text[:end], (17, 40))


@pytest.mark.parametrize("form", coco.FORMS)
def test_what_is_written_is_what_pycocotools_reads(form, size, make_segments, tmp_path):
    segments = make_segments(size)
    coco.write(tmp_path / "coco.json", [("x/a.jpg", segments)], form)
    data = COCO(tmp_path / "coco.json")
    assert [image["file_name"] for image in data.imgs.values()] == ["x/a.jpg"]
    annotations = data.loadAnns(data.getAnnIds(imgIds=[1]))
    for annotation, segment in zip(annotations, segments, strict=True):
        assert np.array_equal(data.annToMask(annotation), segment.mask.decode())
        assert annotation["area"] == segment.mask.area
        assert tuple(annotation["bbox"]) == segment.mask.box
        assert data.cats[annotation["category_id"]]["name"] == (segment.name or "unnamed")


def test_outlines_give_the_mask_back_and_only_holes_are_without():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert outlines(Mask.from_dense(ring)) is None
    ring[0, 0] = False  # the hole now opens at a corner, which an outline can follow
    for dense in (ring, np.eye(4, dtype=bool), np.fliplr(np.eye(4, dtype=bool)), np.ones((1, 1), bool)):
        mask = Mask.from_dense(dense)
        found = outlines(mask)
        assert found is not None
        assert Mask.from_dense(theirs.decode(theirs.merge(theirs.frPyObjects(found, *mask.size)))) == mask
    assert outlines(Mask.from_dense(np.ones((2, 3), bool))) == [[0, 0, 3, 0, 3, 2, 0, 2]]
    assert outlines(Mask.from_dense(np.zeros((2, 3), bool))) == []


def test_form_is_one_of_three(tmp_path):
    with pytest.raises(ValueError, match="expected a form"):
        coco.write(tmp_path / "x.json", [], "png")


def test_masks_of_every_kind(tmp_path):
    square = np.zeros((6, 8), bool)
    square[1:4, 2:6] = True
    runs = Mask.from_dense(square)
    segments = annotated(
        tmp_path,
        {"segmentation": [SQUARE]},
        {"segmentation": SQUARE},
        {"segmentation": {"size": [6, 8], "counts": runs.counts.tolist()}, "iscrowd": 1},
        {"segmentation": {"size": [6, 8], "counts": to_text(runs)}},
        {"bbox": [2, 1, 4, 3]},
        {"bbox": [2, 1, 4, 3], "segmentation": [], "score": 0.5},
    )
    assert [segment.mask for segment in segments] == [runs] * 6
    assert segments.names == ("beak",) * 6
    assert segments.items[-1].score == 0.5
    assert segments.notes == ("Boxes without a mask were filled (2).",)


def test_polygons_are_joined_and_clipped(tmp_path):
    segments = annotated(
        tmp_path,
        {"segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [5, 4, 99, 4, 99, 99, 5, 99]]},
        {"segmentation": [[20, 20, 30, 20, 30, 30]]},
        {"segmentation": [[1, 1, 3, 3]]},
        {"segmentation": [[1, 1, 1, 1, 1, 1]]},
        {"segmentation": [[-1e300, -1e300, 1e300, -1e300, 1e300, 1e300, -1e300, 1e300]]},
    )
    assert [segment.mask.area for segment in segments] == [4 + 6, 48]
    assert segments.notes == ("Empty masks were left out (beak).",)


def test_names_that_are_missing(tmp_path):
    categories = [{"id": 3}, {"id": 4, "name": ""}, {"id": 5, "name": 12}]
    annotations = [{"id": i, "image_id": 7, "category_id": i, "segmentation": [SQUARE]} for i in (3, 4, 5, 6)]
    files = opened(tmp_path, document(categories=categories, annotations=annotations))
    assert files["train/a.jpg"].names == ("category 3", "category 4", "12", "category 6")


def test_pictures_that_are_not_listed_and_annotations_of_none(tmp_path):
    strays = [{"id": i, "image_id": 99, "category_id": 3, "segmentation": [SQUARE]} for i in range(2)]
    files = opened(tmp_path, document(annotations=strays))
    assert list(files) == ["train/a.jpg"]
    assert len(files["train/a.jpg"]) == 0
    assert files.notes == ("Annotations of pictures that coco.json does not list were left out (2).",)


def test_what_has_no_mask_and_no_box_is_noted(tmp_path):
    found = annotated(tmp_path, {"keypoints": [1, 2, 2], "num_keypoints": 1})
    assert (len(found), found.notes) == (0, ("Annotations without a mask or a box were left out (1).",))


def test_file_names_that_are_not_unicode(tmp_path, make_segments):
    made = make_segments((5, 8))
    coco.write(tmp_path / "a.json", [("b\udcff.png", made)])
    assert dict(open_segments(tmp_path / "a.json")) == {"b\udcff.png": made}


def test_a_picture_without_a_size_takes_that_of_its_runs(tmp_path, refused):
    image = {"id": 7, "file_name": "a.jpg"}
    runs = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": {"size": [2, 3], "counts": [0, 6]}}
    assert opened(tmp_path, document(images=[image], annotations=[runs]))["a.jpg"].size == (2, 3)
    refused(lambda: opened(tmp_path, document(images=[image]))["a.jpg"], "a.jpg", "width and a height", "nothing")
    huge = {**image, "width": 10**6, "height": 10**6}
    refused(lambda: opened(tmp_path, document(images=[huge]))["a.jpg"], "at most 64 million")


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({"segmentation": {"size": [6, 9], "counts": [0, 54]}}, "6x9"),
        ({"segmentation": {"size": [6, 8], "counts": [0, 10**12]}}, "do not fill"),
        ({"segmentation": {"size": [6, 8], "counts": [-1, 49]}}, "do not fill"),
        ({"segmentation": {"size": [6, 8], "counts": [10**30]}}, "whole numbers"),
        ({"segmentation": {"size": [6, 8], "counts": "o"}}, "cut off"),
        ({"segmentation": {"size": [6, 8]}}, "counts"),
        ({"segmentation": [["a", 1, 2, 3, 4, 5]]}, "no numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "odd count"),
        ({"segmentation": [[1, 2, 3, float("nan"), 5, 6]]}, "no numbers"),
        ({"segmentation": 17}, "cannot be read"),
        ({"bbox": [1, 2, 3]}, "cannot be read"),
        ({"bbox": 5}, "cannot be read"),
        ({"segmentation": [SQUARE], "score": "high"}, "make no sense"),
        ({"segmentation": [SQUARE], "satchel": {"kind": "thing"}}, "make no sense"),
        ({"segmentation": [SQUARE], "satchel": {"confidence": 10**400}}, "make no sense"),
        ({"segmentation": [SQUARE], "satchel": [1]}, "unknown form"),
    ],
)
def test_masks_that_cannot_be(annotation, words, tmp_path, refused):
    refused(lambda: annotated(tmp_path, annotation), words, "Annotation 0", "coco.json")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (json.dumps(document())[:-30], "no whole JSON file"),
        ("[" * 100_000, "nested too deeply"),
        ({"images": [{"file_name": "a.jpg"}]}, "no COCO annotation file"),
        ({"images": [1]}, "no COCO annotation file"),
        ({"images": {}, "annotations": [1]}, "no COCO annotation file"),
        (
            document(images=[{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "./a.jpg"}]),
            "a.jpg is listed twice",
        ),
        (document(categories=[{"id": 3, "name": "x" * 10_000}]), "limit is 200"),
        ([{"image_id": 1, "category_id": 2, "segmentation": [], "score": 1}], "results"),
        ({"a": 1}, "neither COCO"),
        ("3", "neither COCO"),
    ],
)
def test_files_that_are_not_coco(value, words, tmp_path, refused):
    refused(lambda: opened(tmp_path, value), words, "coco.json")
