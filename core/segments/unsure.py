"""What is offered where the compact SAM, which was trained on rendered pictures only, is unsure: the picture's own
regions, by colour, texture and edges (core/segments/region_tree.py).

On photos that people cut, its first mask for a click agrees with a person's less than the region that is most like that
mask does; where it is sure, as on rendered birds, it is the other way round (docs/sam.md).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from core.images import Picture
from core.runtime.recent import Recent
from core.segments.region_tree import RegionTree, region_tree
from core.segments.segments import Segments, segments_from_regions

REGIONS = "regions"  # what stands in such segments as their source
SURE = 0.6  # the IoU that the SAM expects of its first mask for a click; nine in ten on birds are above 0.8
SURE_OF_ALL = 0.9  # and of masks in everything-mode,
COVERED = 0.63  # which cover so much of a picture that it is sure of: more on 25 of 25 birds, on 2 of 25 photos
NOTE = (
    "The compact SAM was made for rendered pictures and is unsure of this one, which was cut into regions by colour, "
    "texture and edges instead; vit_b or your own SAM can do more."
)

_trees: Recent[int, tuple[Image.Image, RegionTree]] = Recent(8)


def tree_of(picture: Picture) -> RegionTree:
    """A picture's tree, made once for all clicks on it."""
    known = _trees.get(id(picture.image))
    if known is not None and known[0] is picture.image:
        return known[1]
    return _trees.put(id(picture.image), (picture.image, region_tree(picture.array())))[1]


def regions(picture: Picture, count: int = 0) -> Segments:
    """A handful of regions without names, from top to bottom; `count` 0: as many as the picture asks for."""
    return segments_from_regions(region_tree(picture.array()).labels(count), picture.size, REGIONS)


def sure_of(found: Segments) -> bool:
    """Whether masks that everything-mode is sure of cover nearly all of a picture."""
    covered = np.zeros(found.size, bool)
    for item in found:
        if item.score is not None and item.score >= SURE_OF_ALL:
            covered |= item.mask.decode()
    return bool(covered.mean() >= COVERED)


def nearest_regions(picture: Picture, point: tuple[float, float], masks: np.ndarray) -> list[np.ndarray]:
    """For each mask of [K, h, w], over a copy of the picture, the region around a point that it agrees with most, over
    the same copy.

    Args:
        point: (x, y) in pixels of the picture.
    """
    height, width = picture.size
    tree = tree_of(picture)
    nested = tree.around(point[0] / width, point[1] / height)
    found = []
    for mask in masks:
        small = resized(mask, tree.base.shape)
        agree = [(small & region).sum() / max(1, (small | region).sum()) for region in nested]
        found.append(resized(nested[int(np.argmax(agree))], mask.shape))
    return found


def resized(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A bool mask at another size (height, width)."""
    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))
