"""Segments for when nothing else is there: unnamed, and said so."""

from __future__ import annotations

import numpy as np
from PIL import Image

from core.images import Picture
from core.segments.segments import Segments, segments_from_label_map
from core.superpixels import slic_labels

WORKING_SIDE = 320


def superpixels(picture: Picture, count: int = 24, compactness: float = 12.0) -> Segments:
    """SLIC superpixels without names, from top to bottom.

    Cut on a copy of at most 320 px a side (regions are far larger than a pixel of it) and laid back over the picture.
    """
    height, width = picture.size
    shrink = min(1.0, WORKING_SIDE / max(height, width))
    small = np.asarray(picture.image.resize((max(1, round(width * shrink)), max(1, round(height * shrink)))))
    labels = slic_labels(small, count, compactness)
    full = np.asarray(Image.fromarray(labels.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST))
    return segments_from_label_map(full, dict.fromkeys(np.unique(full).tolist(), ("", "unset")), "superpixels")
