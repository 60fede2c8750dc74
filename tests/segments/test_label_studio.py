"""Label Studio's JSON."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from core.segments.files import open_segments
from core.segments.files.brush_rle import brushed

WIDTHS = (3, 4, 8, 16)


def brush_numbers(dense: np.ndarray, literal: bool = False, colour: int = 0) -> list[int]:
    """The bytes that the brush of Label Studio writes for a mask: runs of an RGBA picture, packed bit by bit."""
    rgba = np.full((*dense.shape, 4), colour, np.uint8)
    rgba[..., 3] = dense * 255
    values = rgba.ravel()
    text = f"{values.size:032b}{7:05b}" + "".join(f"{width - 1:04b}" for width in WIDTHS)
    place = 0
    while place < values.size:
        end = place + 1
        while end < values.size and end - place < 2**16 and (literal or values[end] == values[place]):
            end += 1
        which = next(i for i, width in enumerate(WIDTHS) if end - place <= 2**width)
        text += f"{not literal:b}{which:02b}{end - place - 1:0{WIDTHS[which]}b}"
        text += "".join(f"{value:08b}" for value in (values[place:end] if literal else values[place : place + 1]))
        place = end
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def region(type_: str, value: dict, **changes) -> dict:
    size = {"original_width": 8, "original_height": 6, "image_rotation": 0}
    return {"from_name": "tag", "to_name": "img", "type": type_, "value": value, **size, **changes}


def task(*results: dict, picture: str = "/data/upload/3/0a1b2c3d-a.jpg", **changes) -> dict:
    return {"id": 1, "data": {"image": picture}, "annotations": [{"result": list(results)}], **changes}


def opened(tmp_path, *tasks):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    return open_segments(path)


def grid(mask: np.ndarray) -> list[str]:
    return ["".join(".#"[int(v)] for v in row) for row in mask]


def test_brushed_masks_to_the_bit(size, make_masks):
    for i, dense in enumerate(make_masks(size, 8)):
        numbers = brush_numbers(dense, literal=i % 3 == 0, colour=255 * (i % 2))
        assert np.array_equal(brushed(numbers, size).decode(), dense)


def test_brushed_masks_that_are_damaged(refused):
    numbers = brush_numbers(np.eye(5, dtype=bool))
    for end in range(len(numbers)):
        refused(partial(brushed, numbers[:end], (5, 5)), "brushed mask")
    refused(lambda: brushed(numbers, (5, 6)), "5x6")
    refused(lambda: brushed([255] * 50, (5, 5)), "4294967295 values")
    refused(lambda: brushed([*numbers[:7], *[255] * 200], (5, 5)), "longer than its picture")
    for wrong in (None, "abc", [300], [1.5], {"a": 1}):
        refused(partial(brushed, wrong, (5, 5)), "damaged")


def test_every_shape_that_has_an_area(tmp_path):
    dense = np.zeros((6, 8), bool)
    dense[2:4, 4:6] = True
    files = opened(
        tmp_path,
        task(
            region("brushlabels", {"format": "rle", "rle": brush_numbers(dense), "brushlabels": ["wing"]}),
            region("polygonlabels", {"points": [[25, 50], [75, 50], [75, 100], [25, 100]], "polygonlabels": ["beak"]}),
            region("rectanglelabels", {"x": 25, "y": 50, "width": 50, "height": 50, "rectanglelabels": ["eye"]}),
            region("ellipselabels", {"x": 50, "y": 50, "radiusX": 25, "radiusY": 20, "ellipselabels": ["tail"]}),
            region("keypointlabels", {"x": 50, "y": 50, "width": 1, "keypointlabels": ["claw"]}),
            {"type": "choices", "value": {"choices": ["good"]}},
        ),
    )
    segments = files["a.jpg"]
    assert segments.names == ("wing", "beak", "eye", "tail")
    assert np.array_equal(segments.masks[0], dense)
    half = ["........"] * 3 + ["..####.."] * 3
    assert grid(segments.masks[1]) == grid(segments.masks[2]) == half
    assert grid(segments.masks[3]) == ["........"] * 2 + ["..####.."] * 2 + ["........"] * 2
    assert segments.notes == ("Regions without an area were left out (keypointlabels).",)


def test_rectangles_are_turned_about_their_top_left_corner(tmp_path):
    # in pixels: 4 wide and 2 high from (5, 1), then a quarter turn clockwise, which lays it below and to the left
    value = {"x": 62.5, "y": 100 / 6, "width": 50, "height": 100 / 3, "rotation": 90, "rectanglelabels": ["a"]}
    (segment,) = opened(tmp_path, task(region("rectanglelabels", value)))["a.jpg"]
    assert grid(segment.mask.decode()) == ["........", *["...##..."] * 4, "........"]


def test_regions_beyond_the_picture(tmp_path):
    value = {"x": 90, "y": 90, "width": 50, "height": 50, "rectanglelabels": ["a"]}
    beyond = {"points": [[200, 200], [300, 200], [300, 300]], "polygonlabels": ["b"]}
    segments = opened(tmp_path, task(region("rectanglelabels", value), region("polygonlabels", beyond)))["a.jpg"]
    assert segments.names == ("a",)
    assert segments.notes == ("Empty masks were left out (b).",)


def test_labels(tmp_path):
    box = {"x": 0, "y": 0, "width": 50, "height": 50}
    segments = opened(
        tmp_path,
        task(
            region("rectanglelabels", {**box, "rectanglelabels": ["a", "b"]}),  # two names for one mask
            region("rectangle", box, id="r1"),
            region("labels", {**box, "labels": ["c"]}, id="r1"),
            region("rectangle", box, id="r2"),
        ),
    )["a.jpg"]
    assert segments.names == ("a", "b", "c", "")
    assert len({segment.mask for segment in segments}) == 1


def test_which_annotation_counts(tmp_path):
    def result(name: str) -> list[dict]:
        box = {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": [name]}
        return [region("rectanglelabels", box, score=0.25)]

    skipped = {"result": result("skipped"), "was_cancelled": True}
    truth = {"result": result("truth"), "ground_truth": True}
    first = {"result": result("first")}
    files = opened(
        tmp_path,
        task(picture="1.png", annotations=[skipped, first, truth]),
        task(picture="2.png", annotations=[skipped, first], predictions=[{"result": result("guess")}]),
        task(picture="3.png", annotations=[], predictions=[{"result": result("guess")}]),
        task(picture="4.png", annotations=[skipped]),
    )
    assert {key: files[key].names for key in files} == {"1.png": ("truth",), "2.png": ("first",), "3.png": ("guess",)}
    assert [files[key].items[0].naming for key in files] == ["file", "file", "model"]
    assert files["1.png"].items[0].score == 0.25
    assert files.notes == ("Of pictures with several annotations in export.json one was taken (1).",)


@pytest.mark.parametrize(
    ("picture", "key"),
    [
        ("/data/upload/12/0a1b2c3d-my-bird.jpg", "my-bird.jpg"),
        ("/data/upload/my-bird.jpg", "my-bird.jpg"),
        ("/data/local-files/?d=train/a%20b.jpg", "train/a b.jpg"),
        ("s3://bucket/train/a.jpg", "train/a.jpg"),
        ("https://example.com/pictures/a%2Bb.jpg?size=large", "pictures/a+b.jpg"),
        ("train\\a.jpg", "train/a.jpg"),
        ("abcdef12-a.jpg", "abcdef12-a.jpg"),
    ],
)
def test_what_pictures_are_called(picture, key, tmp_path):
    box = {"x": 0, "y": 0, "width": 50, "height": 50}
    assert list(opened(tmp_path, task(region("rectangle", box), picture=picture))) == [key]
    other = task(region("rectangle", box), data={"text": "words", "photo": picture})
    assert list(opened(tmp_path, other)) == [key]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (region("brushlabels", {"rle": [0, 0, 0]}), "cut off"),
        (region("polygonlabels", {"points": [[1, 2], [3]]}), "cannot be read"),
        (region("polygonlabels", {"points": 3}), "cannot be read"),
        (region("rectanglelabels", {"x": "a", "y": 0, "width": 5, "height": 5}), "cannot be read"),
        (region("rectanglelabels", {"y": 0, "width": 5, "height": 5}), "cannot be read"),
        (region("rectanglelabels", {"x": 0, "y": 0, "width": 5, "height": 1e999}), "no numbers"),
        (region("rectanglelabels", {"x": 0, "y": 0, "width": 5, "height": 5, "labels": ["a\nb"]}), "control character"),
        (region("rectangle", {"x": 0, "y": 0, "width": 5, "height": 5}, original_width=0), "width and a height"),
        (region("rectangle", {"x": 0, "y": 0, "width": 5, "height": 5}, image_rotation=90), "turned"),
        (region("rectangle", {"x": 0, "y": 0, "width": 5, "height": 5}, score="high"), "make no sense"),
    ],
)
def test_regions_that_cannot_be(result, words, tmp_path, refused):
    refused(lambda: opened(tmp_path, task(result))["a.jpg"], words, "a.jpg", "export.json")


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([task(region("rectangle", {}))] * 2, "twice"),
        ([{"data": {"text": "words"}}], "a picture in 'data'"),
        ([{"data": {"image": "a.jpg"}, "annotations": [{}]}], "no Label Studio export"),
        ([{"data": {"image": "a.jpg"}, "annotations": 3}], "no Label Studio export"),
        ([{"data": {"image": "a.jpg"}}, 3], "no Label Studio export"),
        ([{"image": "a.jpg", "tag": [{"x": 1, "rectanglelabels": ["a"]}]}], "JSON-MIN"),
        ([], "neither COCO"),
    ],
)
def test_files_that_are_no_such_export(tasks, words, tmp_path, refused):
    refused(lambda: opened(tmp_path, *tasks), words, "export.json")
