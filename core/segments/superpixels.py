"""Segments for when nothing else is there: unnamed, and said so."""

from __future__ import annotations

import numpy as np

from core.images import Picture
from core.segments.segments import Segments, segments_from_regions
from core.superpixels import slic_labels

WORKING_SIDE = 320


def superpixels(picture: Picture, count: int = 24, compactness: float = 12.0) -> Segments:
    """SLIC superpixels without names, from top to bottom.

    Cut on a copy of at most 320 px a side (regions are far larger than a pixel of it) and laid back over the picture.
    """
    height, width = picture.size
    shrink = min(1.0, WORKING_SIDE / max(height, width))
    small = np.asarray(picture.image.resize((max(1, round(width * shrink)), max(1, round(height * shrink)))))
    return segments_from_regions(slic_labels(small, count, compactness), picture.size, "superpixels")
