"""SLIC, where a picture is cut into regions of like colour."""

from __future__ import annotations

import numpy as np


def slic_labels(pixels: np.ndarray, count: int, compactness: float = 12.0) -> np.ndarray:
    """[H, W, 3] of bytes -> [H, W] of about `count` numbers from 1 on.

    On busy textures SLIC's clean-up of scattered bits joins most regions into one, so where less than two thirds of the
    regions that were asked for come out, the compactness is doubled, three times at most.
    Achanta et al.: SLIC Superpixels (TPAMI 2012), scikit-image's implementation.
    """
    from skimage.segmentation import slic

    labels = np.ones(pixels.shape[:2], dtype=int)
    for more in (1, 2, 4, 8):
        labels = slic(pixels, n_segments=count, compactness=more * compactness, start_label=1)
        if labels.max() >= 2 * count / 3:
            break
    return labels
