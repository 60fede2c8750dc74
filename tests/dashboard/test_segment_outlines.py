"""The outlines over a picture."""

from __future__ import annotations

import re

import cv2
import numpy as np

from core.segments import Segments
from dashboard.plots import segment_outlines


def outlines(masks: np.ndarray, *names: str) -> str:
    return segment_outlines(Segments.from_masks(masks, names, ["unset"] * len(names)), (0, 0, *masks.shape[1:]))


def test_names_are_shown_as_text():
    drawn = outlines(np.ones((1, 20, 20), bool), "<script>alert('x')</script>/\N{BIRD}")
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;/\N{BIRD}" in drawn
    assert "<script" not in drawn


def test_titles_tell_instances_and_regions_apart():
    drawn = outlines(np.ones((4, 20, 20), bool), "eye", "", "eye", "")
    assert re.findall("<title>(.*?)</title>", drawn) == ["eye", "region 2", "eye 2", "region 4"]


def test_outlines_are_those_of_the_whole_mask():
    rows, columns = np.mgrid[:40, :50]
    mask = (np.hypot(rows - 20, columns - 30) < 15) & (np.hypot(rows - 20, columns - 30) > 5)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_KCOS)
    points = [f"{x} {y}" for contour in contours for x, y in contour[:, 0]]
    (path,) = re.findall(' d="(.*?)"', outlines(mask[None], "ring"))
    assert re.split("[MLZ]+", path.strip("MZ")) == points
