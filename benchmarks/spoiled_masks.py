"""True masks as a segmenter might have cut them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from core.segments import Mask, Segments

KINDS = ("true", "eroded", "shifted", "merged")


def spoiled(segments: Segments, how: str, rng: np.random.Generator) -> Segments:
    """The masks as a segmenter might have cut them, each with its true name.

    eroded: by a tenth of its width (the root of its area), unless nothing is left. shifted: by a tenth of its width in
    any direction. merged: two that touch are one in every picture, with the larger one's name.
    """
    if how == "true":
        return segments
    if how == "merged":
        return _merged(segments, rng)
    items = []
    for segment in segments:
        dense = segment.mask.decode().astype(np.uint8)
        step = max(1, round(0.1 * segment.mask.area**0.5))
        if how == "eroded":
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * step + 1, 2 * step + 1))
            changed = cv2.erode(dense, kernel, borderType=cv2.BORDER_REPLICATE)
        else:
            angle = rng.uniform(0, 2 * np.pi)
            matrix = np.array([[1, 0, step * np.cos(angle)], [0, 1, step * np.sin(angle)]], np.float32)
            changed = cv2.warpAffine(dense, matrix, dense.shape[::-1], flags=cv2.INTER_NEAREST)
        items.append(replace(segment, mask=Mask.from_dense(changed > 0)) if changed.any() else segment)
    return replace(segments, items=tuple(items))


def _merged(segments: Segments, rng: np.random.Generator) -> Segments:
    dense = [segment.mask.decode() for segment in segments]
    grown = [cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0 for mask in dense]
    pairs = [
        (large, small)
        for large in range(len(dense))
        for small in range(len(dense))
        if dense[small].sum() < dense[large].sum() and (grown[large] & dense[small]).any()
    ]
    large, small = pairs[int(rng.integers(len(pairs)))]
    items = [s for place, s in enumerate(segments) if place not in (large, small)]
    both = segments.items[large].mask.union(segments.items[small].mask)
    return replace(segments, items=(replace(segments.items[large], mask=both), *items))
