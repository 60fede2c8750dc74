"""Pictures of a report as they are read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from toy import toy_classifier

from core.choice import Choice
from core.data import Item
from core.errors import UserError
from core.images import Picture
from core.sat.batch import LoadedPicture, asked_regions, attribution_rows, explained, load, picture_lines
from core.segments import Segments


def test_segments_without_a_name_count_in_no_report():
    masks = np.ones((3, 16, 16), bool)
    segments = Segments.from_masks(masks, ("", "beak", ""), ("unset", "object", "unset"), "sam:compact")
    item = Item("x", None, lambda: Picture(Image.new("RGB", (16, 16))), lambda: segments)
    loaded = load(item, toy_classifier())
    assert loaded.segments.names == ("beak",)
    assert len(loaded.masks) == 1


def parted(name: str, *columns: int) -> LoadedPicture:
    """A reddish picture of 16 x 16 pixels, and one segment for each width of an upright strip."""
    masks = np.zeros((len(columns), 16, 16), bool)
    left = 0
    for mask, width in zip(masks, columns):
        mask[:, left : left + width] = True
        left += width
    names = tuple(f"strip {i}" for i in range(len(columns)))
    segments = Segments.from_masks(masks, names, ("object",) * len(columns)) if columns else None
    return load(Item(name, None, lambda: Picture(Image.new("RGB", (16, 16), (200, 90, 90))), lambda: segments),
                toy_classifier())  # fmt: skip


def test_rows_of_an_explainer_that_removes_the_segments_of_each_picture():
    classifier = toy_classifier()
    batch = [parted("two", 4, 8), parted("none"), parted("one", 16)]
    bound = Choice.parse("occlusion:regions=segments,fill=black").bind(classifier)
    maps = explained(batch, picture_lines(batch, classifier), {"occlusion": bound}, seed=0)
    rows = [row for name, some in maps for row in attribution_rows(name, some)]
    assert [(row["image"], row["segment"], row["unit"]) for row in rows] == [
        ("two", "strip 0", "density"), ("two", "strip 1", "density"), ("one", "strip 0", "density"),
    ]  # fmt: skip
    # the same colour everywhere: what a strip is worth goes by its size, and so do shares, with a rest in the first
    assert [row["share"] for row in rows] == pytest.approx([0.25, 0.5, 1.0], rel=1e-3)
    assert rows[0]["sum"] == pytest.approx(rows[2]["sum"] / 4, rel=1e-3)
    assert asked_regions(Choice("occlusion").bind(classifier), []) is None
    with pytest.raises(UserError, match="none has no masks, which occlusion is asked to remove"):
        asked_regions(bound, batch)
