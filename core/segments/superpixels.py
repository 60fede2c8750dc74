"""Segments for when nothing else is there: unnamed, and said so."""

from __future__ import annotations

import numpy as np
from PIL import Image

from core.images import Picture
from core.segments.segments import Segments, segments_from_label_map

WORKING_SIDE = 320


def superpixels(picture: Picture, count: int = 24, compactness: float = 12.0) -> Segments:
    """SLIC superpixels without names, from top to bottom.

    Cut on a copy of at most 320 px a side (regions are far larger than a pixel of it) and laid back over the picture.
    On busy textures SLIC's clean-up of scattered bits joins most regions into one, so where less than two thirds of the
    regions that were asked for come out, the compactness is doubled, three times at most.
    Achanta et al.: SLIC Superpixels (TPAMI 2012), scikit-image's implementation.
    """
    from skimage.segmentation import slic

    height, width = picture.size
    shrink = min(1.0, WORKING_SIDE / max(height, width))
    small = np.asarray(picture.image.resize((max(1, round(width * shrink)), max(1, round(height * shrink)))))
    for more in (1, 2, 4, 8):
        labels = slic(small, n_segments=count, compactness=more * compactness, start_label=1)
        if labels.max() >= 2 * count / 3:
            break
    full = np.asarray(Image.fromarray(labels.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST))
    return segments_from_label_map(full, dict.fromkeys(np.unique(full).tolist(), ("", "unset")), "superpixels")
