"""From planes of probabilities, one a name, to segments."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from core.preprocessing import Geometry
from core.segments.mask import Mask
from core.segments.segments import Segment, default_kind


def laid_over(plane: Tensor, geometry: Geometry) -> np.ndarray:
    """float32 [h, w] over the upright picture, from [H, W] in the model's frame."""
    return geometry.map_to_picture(plane).numpy()


def named_pieces(
    mask: np.ndarray, plane: np.ndarray, name: str, source: str, *, split: bool, confidence: float
) -> Iterator[Segment]:
    """One mask as segments: all of it, or each connected part (pixels that touch at corners are connected).

    Args:
        mask: bool [h, w]; plane: float [h, w] in [0, 1], whose mean over a segment is its score.
        confidence: segments whose score is less are left out.
    """
    for piece in _parts(mask) if split else (mask,):
        if not piece.any():
            continue
        score = float(np.clip(plane[piece].mean(dtype=np.float64), 0, 1))
        if score >= confidence:
            yield Segment(Mask.from_dense(piece), name, default_kind(name), score, source, "model")


def _parts(mask: np.ndarray) -> Iterator[np.ndarray]:
    from skimage.measure import label

    labels, count = label(mask, connectivity=2, return_num=True)
    for number in range(1, count + 1):
        yield labels == number
