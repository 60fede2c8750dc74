"""Regions by colour, texture and edges, and where they stand in for a SAM that is unsure."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.images import Picture
from core.segments.mask import Mask
from core.segments.region_tree import MOST, region_tree
from core.segments.registry import get_segmenter
from core.segments.sam.compact import Shape, build
from core.segments.sam.embeddings import EmbeddingCache
from core.segments.sam.model import Sam, _as_logits
from core.segments.segments import Segment, Segments
from core.segments.unsure import NOTE, SURE_OF_ALL, nearest_regions, regions, sure_of

COLOURS = ((200, 40, 40), (40, 180, 60), (60, 60, 200), (220, 210, 60), (90, 90, 90), (240, 240, 240))
TINY = Shape(64, (8, 8, 16, 16), (1, 1, 1, 1), (8, 8, 8, 8), embedding=32, decoder_hidden=32)


def tiles(height: int = 120, width: int = 180) -> tuple[np.ndarray, np.ndarray]:
    """Six flat tiles with a little noise, and which pixel is whose."""
    rows, columns = np.arange(height)[:, None] * 2 // height, np.arange(width)[None] * 3 // width
    own = rows * 3 + columns
    noise = np.random.default_rng(0).integers(-6, 7, (height, width, 3))
    return (np.array(COLOURS)[own] + noise).clip(0, 255).astype(np.uint8), own


def picture(pixels: np.ndarray) -> Picture:
    return Picture(Image.fromarray(pixels))


@pytest.mark.parametrize("size", [(120, 180), (300, 420), (900, 700)])
def test_flat_tiles_are_found_as_they_are(size: tuple[int, int]) -> None:
    pixels, own = tiles(*size)
    found = regions(picture(pixels))
    assert found.size == size
    assert len(COLOURS) <= len(found) <= 10  # and slivers between them
    for number in range(len(COLOURS)):
        assert max(item.mask.iou(Mask.from_dense(own == number)) for item in found) > 0.9
    assert sum(item.mask.area for item in found) == size[0] * size[1]  # every pixel belongs to one
    assert {(item.name, item.source) for item in found} == {("", "regions")}


def test_fewer_regions_are_joins_of_more() -> None:
    tree = region_tree(np.random.default_rng(1).integers(0, 255, (60, 80, 3)).astype(np.uint8))
    before = tree.labels(40)
    for count in (17, 6, 2, 1):
        labels = tree.labels(count)
        assert labels.max() == count == len(np.unique(labels))
        for number in np.unique(before):
            assert len(np.unique(labels[before == number])) == 1
        before = labels
    assert 1 <= tree.fitting <= MOST
    assert np.array_equal(tree.labels(), tree.labels(tree.fitting))


def test_regions_around_a_place_are_nested_and_end_with_all() -> None:
    pixels, own = tiles()
    nested = region_tree(pixels).around(0.1, 0.9)
    for smaller, larger in pairwise(nested):
        assert smaller[108, 18]
        assert not (smaller & ~larger).any()
        assert larger.sum() > smaller.sum()
    assert nested[-1].all()
    tile = own == 3
    assert max((region & tile).sum() / (region | tile).sum() for region in nested) > 0.9


@pytest.mark.parametrize("pixels", [np.zeros((1, 1, 3), np.uint8), np.full((200, 300, 3), 77, np.uint8)])
def test_a_picture_of_one_colour_is_one_region(pixels: np.ndarray) -> None:
    assert region_tree(pixels).labels().max() == 1


def test_the_nearest_region_is_the_tile_that_a_ragged_mask_means() -> None:
    pixels, own = tiles()
    ragged = own == 4
    ragged &= np.random.default_rng(2).random(own.shape) > 0.3
    [found] = nearest_regions(picture(pixels), (90, 100), ragged[None])
    assert (found & (own == 4)).sum() / (found | (own == 4)).sum() > 0.9


def scored(score: float, part: float) -> Segments:
    mask = np.zeros((20, 20), bool)
    mask[: round(20 * part)] = True
    return Segments((20, 20), (Segment(Mask.from_dense(mask), score=score),))


def test_sure_is_what_is_covered_by_masks_that_are_thought_well_of() -> None:
    assert sure_of(scored(SURE_OF_ALL, 1.0))
    assert not sure_of(scored(SURE_OF_ALL, 0.5))
    assert not sure_of(scored(SURE_OF_ALL - 0.01, 1.0))
    assert not sure_of(Segments((20, 20), ()))


def test_the_compact_sam_gives_way_to_regions_and_says_so(tmp_path) -> None:
    pixels, own = tiles()
    segmenter: Any = get_segmenter("sam:compact", cache=EmbeddingCache(tmp_path))
    segmenter._sam = Sam(build(TINY, 0), "compact", device="cpu", cache=EmbeddingCache(tmp_path))  # knows nothing
    found = segmenter.segment(picture(pixels), segmenter.parameters(points=3))
    assert {item.source for item in found} == {"regions"}
    assert NOTE in found.notes
    segmenter._sam.name = "vit_b@own.pth"  # another SAM's masks are taken as they are
    assert NOTE not in segmenter.segment(picture(pixels), segmenter.parameters(points=3)).notes
    answer = Sam(build(TINY, 0), "compact", device="cpu", cache=EmbeddingCache(tmp_path)).predict(
        picture(pixels), [(90, 100)], [1]
    )
    assert answer.scores[0] < 0.6
    assert max((m & (own == 4)).sum() / (m | (own == 4)).sum() for m in answer.masks) > 0.9 or len(answer.masks) > 1
    assert len(answer.masks) == len(answer.scores) == len(answer.logits)
    assert 0 in answer.regions
    assert len(answer.regions) < len(answer.masks)  # the SAM's own come after them


def test_a_region_can_be_corrected_by_a_further_click(tmp_path) -> None:
    mask = np.zeros((1, 30, 60), bool)
    mask[0, :15, 30:] = True
    logits = _as_logits(mask, 32)
    assert logits.shape == (1, 32, 32)
    assert (logits[0, :7, 17:] > 5).all()
    assert (logits[0, 9:] < -5).all()
    assert (logits[0, :, :15] < -5).all()
