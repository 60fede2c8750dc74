"""Files that were damaged or made up end in a sentence or are read; nothing else happens."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from core.errors import UserError
from core.segments.files import SegmentFiles, coco, label_maps, label_studio, mask_folders, open_segments

ODD = [None, -1, 0, 2.5, 1e308, 10**30, 10**400, float("nan"), float("inf"), "", "x", "a" * 300, "\n", True]
ODD += [[], {}, [[]], [1], {"a": 1}, [None], [[1, 2, 3, 4, 5, 6]]]

BOX = {"x": 1, "y": 2, "width": 30, "height": 40, "rotation": 7, "labels": ["a"]}
LABEL_STUDIO = [
    {
        "data": {"image": "/data/upload/1/0a1b2c3d-a.jpg"},
        "annotations": [
            {
                "was_cancelled": False,
                "result": [
                    {"id": str(i), "original_width": 8, "original_height": 6, "image_rotation": 0, "value": value}
                    for i, value in enumerate(
                        [
                            BOX,
                            {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "ellipselabels": ["a", "b"]},
                            {"points": [[1, 2], [30, 40], [5, 90]], "polygonlabels": ["b"]},
                            # one run of 192 values, all inside
                            {"format": "rle", "rle": [0, 0, 0, 192, 57, 27, 254, 191, 255], "brushlabels": ["c"]},
                        ]
                    )
                ],
            }
        ],
    }
]
CVAT = """<annotations><image id="0" name="a.jpg" width="8" height="6">
<mask label="wing" rle="1, 2, 1, 2" left="3" top="2" width="3" height="2"/>
<ellipse label="tail" cx="4" cy="3" rx="2" ry="1" rotation="4"/>
<box label="e" xtl="2" ytl="1" xbr="6" ybr="4" rotation="30"/>
<polygon label="beak" points="2.00,1.00;6.00,1.00;6.00,4.00;2.00,4.00"/></image></annotations>"""


def tried(open_it: Callable[[], SegmentFiles]) -> int:
    """Read everything; 1 if it is refused."""
    try:
        list(open_it().values())
    except UserError:
        return 1
    return 0


def places(value: object, parent: object = None, key: object = None) -> Iterator[tuple]:
    """Every (container, key) of a document."""
    if parent is not None:
        yield parent, key
    for inner in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[inner], value, inner)


@pytest.mark.slow
@pytest.mark.parametrize("form", [*coco.FORMS, "label-studio"])
def test_odd_values_in_json(form, make_segments, tmp_path):
    rng = random.Random(form)
    if form == "label-studio":
        read, whole = label_studio.read, json.dumps(LABEL_STUDIO)
    else:
        coco.write(tmp_path / "a.json", [("x/a.jpg", make_segments((6, 8), count=4))], form)
        read, whole = coco.read, (tmp_path / "a.json").read_text()
    assert tried(partial(read, Path("a.json"), json.loads(whole))) == 0
    refused = 0
    for _ in range(150):
        document = json.loads(whole)
        parent, key = rng.choice(list(places(document)))
        parent[key] = rng.choice(ODD)
        refused += tried(partial(read, Path("a.json"), document))
    assert refused


def test_odd_characters_in_xml(tmp_path):
    rng = random.Random(1)
    path = tmp_path / "a.xml"
    path.write_text(CVAT)
    assert tried(partial(open_segments, path)) == 0
    refused = 0
    for _ in range(100):
        text = list(CVAT)
        for place in rng.choices(range(len(text)), k=rng.choice([1, 2, 4])):
            text[place] = rng.choice(["", text[place] * 2, chr(rng.randrange(32, 127)), "9999999", "-", "inf", "nan"])
        path.write_text("".join(text))
        refused += tried(partial(open_segments, path))
    assert refused


@pytest.mark.slow
@pytest.mark.parametrize("write", [label_maps.write, mask_folders.write])
def test_odd_bytes_in_folders(write, make_segments, tmp_path):
    rng = random.Random(2)
    write(tmp_path, [("x/a.png", make_segments((6, 8), overlaps=False))])
    assert tried(partial(open_segments, tmp_path)) == 0
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    refused = 0
    for _ in range(60):
        path = rng.choice(files)
        whole = path.read_bytes()
        data = bytearray(whole)
        for place in rng.choices(range(len(data)), k=rng.choice([1, 3])):
            data[place] = rng.randrange(256)
        path.write_bytes(data[: rng.choice([len(data), len(data), rng.randrange(len(data))])])
        refused += tried(partial(open_segments, tmp_path))
        path.write_bytes(whole)
    assert refused
