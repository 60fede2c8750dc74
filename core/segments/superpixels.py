"""Segments for when nothing else is there: unnamed, and said so."""

from __future__ import annotations

import numpy as np
from PIL import Image

from core.images import Picture
from core.segments.segments import Segments

WORKING_SIDE = 320


def superpixels(picture: Picture, count: int = 24, compactness: float = 12.0) -> Segments:
    """SLIC superpixels, called "region 1", "region 2", ... from top to bottom.

    Cut on a copy of at most 320 px a side (regions are far larger than a pixel of it) and laid back over the picture.
    Achanta et al.: SLIC Superpixels (TPAMI 2012), scikit-image's implementation.
    """
    from skimage.segmentation import slic

    height, width = picture.size
    shrink = min(1.0, WORKING_SIDE / max(height, width))
    small = picture.image.resize((max(1, round(width * shrink)), max(1, round(height * shrink))))
    labels = slic(np.asarray(small), n_segments=count, compactness=compactness, start_label=1)
    full = np.asarray(Image.fromarray(labels.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST))
    values = np.unique(full)
    masks = np.stack([full == value for value in values])
    names = tuple(f"region {i + 1}" for i in range(len(values)))
    return Segments(masks, names, ("unset",) * len(values), "superpixels")
