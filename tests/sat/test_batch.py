"""Pictures of a report as they are read."""

from __future__ import annotations

import numpy as np
from PIL import Image
from toy import toy_classifier

from core.data import Item
from core.images import Picture
from core.sat.batch import load
from core.segments import Segments


def test_segments_without_a_name_count_in_no_report():
    masks = np.ones((3, 16, 16), bool)
    segments = Segments.from_masks(masks, ("", "beak", ""), ("unset", "object", "unset"), "sam:compact")
    item = Item("x", None, lambda: Picture(Image.new("RGB", (16, 16))), lambda: segments)
    loaded = load(item, toy_classifier())
    assert loaded.segments.names == ("beak",)
    assert len(loaded.masks) == 1
