"""Segments as players that do not overlap."""

from __future__ import annotations

import numpy as np
import torch

from core.regions import Regions
from core.segments import Segments, regions_of
from core.segments.partition import partition


def rows(*lines: str) -> torch.Tensor:
    """[P, 1, W] of 0 and 1 from lines of "#" and "."."""
    return torch.tensor([[[float(c == "#") for c in line]] for line in lines])


def named(masks: torch.Tensor, *names: str) -> Segments:
    return Segments.from_masks(masks.bool().numpy(), names, ("unset",) * len(names))


def test_the_smaller_of_two_has_the_pixel_of_equal_ones_the_later_and_a_rest_is_left() -> None:
    head, eye = "####..", ".#...."
    assert torch.equal(partition(rows(head, eye)), rows("#.##..", ".#....", "....##"))
    assert torch.equal(partition(rows(eye, head)), rows(".#....", "#.##..", "....##"))
    assert torch.equal(partition(rows("##....", ".##...")), rows("#.....", ".##...", "...###"))
    assert torch.equal(partition(torch.zeros(0, 1, 3)), torch.ones(1, 1, 3))


def test_soft_masks_add_up_to_one_everywhere() -> None:
    masks = torch.rand(5, 6, 7, generator=torch.Generator().manual_seed(0))
    regions = partition(masks)
    assert torch.allclose(regions.sum(0), torch.ones(6, 7), atol=1e-6)
    assert (regions >= 0).all()
    assert torch.equal(regions[int(masks.sum((1, 2)).argmin())], masks[int(masks.sum((1, 2)).argmin())])


def test_each_picture_has_its_own_players_with_their_names() -> None:
    first, second = rows("#...", ".#..", "##.."), rows("####")
    found = regions_of([(named(first, "eye", "", "both"), first), (named(second, "all"), second)])
    # nothing is left of what is covered by its parts, nor beside what covers everything
    assert found.names == (("eye", None, None), ("all",))
    assert found.counts == [3, 1]
    assert found.masks.shape == (2, 3, 1, 4)
    assert torch.equal(found.masks[0], rows("#...", ".#..", "..##"))
    assert not found.masks[1, 1:].any()
    assert found.present.tolist() == [[True] * 3, [True, False, False]]


def test_equal_regions_are_equal() -> None:
    masks = rows("#...", ".##.")
    one, same = (regions_of([(named(masks, "a", "b"), masks)]) for _ in range(2))
    assert (one, hash(one)) == (same, hash(same))
    for other in (regions_of([(named(masks, "a", "c"), masks)]), Regions.of([masks.flip(2)], [["a", "b", None]])):
        assert one != other
    assert one != "regions"
    assert np.isfinite(one.masks.numpy()).all()
