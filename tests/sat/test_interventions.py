"""What removing, pasting and swapping do to pixels."""

import numpy as np
import pytest
import torch
from toy import toy_classifier

from core.fills import PLATES, inpaint
from core.sat.batch import Scene
from core.sat.interventions import (
    answers,
    context_swapped,
    dilate,
    placebo_masks,
    placement,
    removal_mask,
    removed,
    transplanted,
)
from core.sat.pairs import Pair, choose_pairs, pair_versions

SIDE = 48


def box(top: int, left: int, height: int = 6, width: int = 8) -> torch.Tensor:
    mask = torch.zeros(SIDE, SIDE)
    mask[top : top + height, left : left + width] = 1
    return mask


def noise(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("fill", PLATES)
def test_removal_leaves_everything_outside_the_mask_alone(fill):
    image, mask = noise(), box(10, 10)
    changed = removed(image, mask, fill)
    assert torch.equal(changed[:, mask == 0], image[:, mask == 0])
    assert not torch.equal(changed[:, mask == 1], image[:, mask == 1])
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1


@pytest.mark.parametrize("hole", [box(10, 10), box(0, 0, 40, 40)], ids=["small", "large"])
def test_completion_continues_a_flat_surrounding_exactly_and_shows_nothing_of_the_hole(hole):
    image = torch.full((3, SIDE, SIDE), 0.3)
    image[:, hole == 1] = 0.9
    assert torch.allclose(inpaint(image[None], hole[None])[0], torch.full_like(image, 0.3), atol=1e-5)


def test_completion_continues_a_slope_smoothly():
    slope = torch.linspace(0, 1, SIDE).expand(3, SIDE, SIDE)
    filled = inpaint(slope[None], box(20, 20)[None])[0]
    assert float((filled - slope).abs().max()) < 0.12


def test_dilation_grows_by_two_percent_of_the_side_and_at_least_one_pixel():
    assert int(dilate(box(10, 10)).sum()) == 8 * 10


def test_a_placebo_has_the_same_shape_elsewhere():
    mask = box(4, 4)
    placebos = placebo_masks(mask, torch.zeros_like(mask), np.random.default_rng(0), 8)
    assert len(placebos) == len({tuple(map(tuple, one.tolist())) for one in placebos}) == 8
    for placebo in placebos:
        assert float((placebo * mask).sum()) == 0
        assert float(placebo.sum()) == float(mask.sum())


def test_a_placebo_of_a_context_segment_keeps_off_the_object_where_it_can():
    mask, thing = box(2, 2), box(16, 0, 32, 48)
    placebos = placebo_masks(mask, thing, np.random.default_rng(0), 8)
    assert len(placebos) == 8
    assert max(float((placebo * thing).sum()) for placebo in placebos) <= 0.02 * float(mask.sum())


def test_no_placebo_where_the_mask_fills_the_picture():
    assert placebo_masks(torch.ones(SIDE, SIDE), torch.zeros(SIDE, SIDE), np.random.default_rng(0), 8) == []


def test_a_paste_goes_to_its_own_place_or_to_one_that_leaves_the_object_free():
    random = np.random.default_rng(0)
    assert placement(box(2, 2), [box(30, 30)], random) == (0, 0)
    band = box(0, 0, 12, 48)
    assert placement(box(2, 2), [band], random)[0] >= 9
    close_up = torch.ones(SIDE, SIDE)
    assert placement(box(2, 2), [close_up], random) == (0, 0)  # covers the object, but is tested
    assert placement(box(2, 2), [close_up, band], random)[0] >= 9
    assert placement(box(2, 2), [], random) == (0, 0)


def test_a_removal_takes_the_rim_but_nothing_of_its_neighbours():
    mask, ring = box(10, 10), box(9, 9, 8, 10) - box(10, 10)
    assert torch.equal(removal_mask(mask, torch.zeros_like(mask)), dilate(mask))
    assert torch.equal(removal_mask(mask, ring), mask)


def test_a_placebo_that_would_lie_on_named_segments_is_none():
    mask = box(4, 4)
    assert placebo_masks(mask, 1 - mask, np.random.default_rng(0), 8) == []
    free = 1 - torch.maximum(mask, box(20, 0, 28, 48))
    placebos = placebo_masks(mask, 1 - free, np.random.default_rng(0), 8)
    assert placebos
    assert all(float((placebo * free).sum()) >= 0.75 * float(mask.sum()) for placebo in placebos)


def test_only_scenery_may_be_touched():
    """A large segment or much larger context is what a thing stands before; an object never is."""
    masks = {"mark": box(2, 2), "sky": box(0, 0, 24, 48), "ground": box(38, 0, 10, 48), "leaf": box(30, 30, 4, 8)}
    beside = scene("x", {**masks, "object": box(24, 0, 14, 30)}, 0.5).neighbours("mark")
    assert torch.equal(beside, torch.maximum(masks["leaf"], box(24, 0, 14, 30)))


def test_transplanted_pixels_are_the_donors_moved():
    donor, recipient, mask = noise(1), noise(2), box(2, 3)
    pasted = transplanted(recipient, donor, mask, (20, 10))
    assert torch.equal(pasted[:, 22:28, 13:21], donor[:, 2:8, 3:11])
    moved = box(22, 13)
    assert torch.equal(pasted[:, moved == 0], recipient[:, moved == 0])


def test_a_context_swap_keeps_the_object_and_never_shows_the_donors_object():
    own = box(0, 0, 48, 24)  # context: the left half
    recipient, donor = torch.full((3, SIDE, SIDE), 0.2), torch.full((3, SIDE, SIDE), 0.6)
    donors = torch.ones(SIDE, SIDE) - box(10, 10)
    donor[:, 10:16, 10:18] = 1.0  # the donor's object lies where the recipient shows context
    swapped = context_swapped(recipient, own, donor, donors)
    assert torch.allclose(swapped[:, :, :24], torch.tensor(0.6), atol=1e-5)
    assert torch.equal(swapped[:, :, 24:], recipient[:, :, 24:])


def test_margins_are_the_log_odds_of_the_probability_whatever_the_chunk():
    classifier = toy_classifier()
    images = [noise(seed) for seed in range(7)]
    margin, probability, said = answers(classifier, images.__getitem__, [0, 1, 0, 1, 0, 1, 0])
    p = torch.tensor(probability)
    assert torch.allclose(torch.tensor(margin), torch.log(p / (1 - p)), atol=1e-4)
    assert said == [one > 0.5 for one in probability]
    assert answers(classifier, images.__getitem__, [0]).margin[0] == pytest.approx(margin[0], abs=1e-5)
    assert answers(classifier, images.__getitem__, []) == ([], [], [])


def scene(name: str, masks: dict[str, torch.Tensor], colour: float) -> Scene:
    kinds = {key: "object" if key == "object" else "context" for key in masks}
    return Scene(name, name, torch.full((3, SIDE, SIDE), colour), masks, kinds)


def test_a_pair_pastes_the_segment_and_for_placebo_the_same_region_of_a_donor_without_it():
    scenes = {
        "recipient": scene("recipient", {"object": box(20, 20)}, 0.1),
        "donor": scene("donor", {"object": box(20, 20), "mark": box(2, 2)}, 0.5),
        "other": scene("other", {"object": box(20, 20)}, 0.9),
    }
    scenes["marked too"] = scene("marked too", {"object": box(20, 20), "stamp": box(3, 2)}, 0.7)
    scenes["stranger"] = scene("stranger", {"object": box(20, 20)}, 0.3)
    pair = Pair("sufficiency", 1, "mark", "recipient", "donor", ("marked too", "other"), ("stranger",), False)
    versions = pair_versions(pair, scenes.__getitem__, seed=0)
    assert versions is not None
    before, after, placebos = versions
    assert [lender for lender, _ in placebos] == [
        "other",
        "stranger",
    ]  # the first one shows another named segment there
    where = box(2, 2) == 1
    assert torch.all(after[:, where] == 0.5)
    assert torch.all(placebos[0][1][:, where] == 0.9)
    assert torch.all(placebos[1][1][:, where] == 0.3)
    assert torch.equal(after[:, ~where], before[:, ~where])


def test_pairs_never_use_a_recipient_of_the_target_and_use_donors_evenly():
    pictures = [
        {"id": f"{i}", "prediction": i % 3, "label_index": i % 3, "coverage": {"mark": 0.05} if i % 3 == 1 else {}}
        for i in range(60)
    ]
    pairs = choose_pairs(pictures, [1], most=30, seed=0, names=["mark"])
    assert len(pairs) == 30
    shown = {p["id"]: p["prediction"] for p in pictures}
    assert all(shown[pair.recipient] != 1 and shown[pair.donor] == 1 for pair in pairs)
    assert not any(pair.others for pair in pairs)  # all of the target's own pictures have the mark
    assert all(shown[other] != 1 and other != pair.recipient for pair in pairs for other in pair.strangers)
    assert len({pair.strangers[0] for pair in pairs}) >= 28
    assert len({pair.donor for pair in pairs}) == 20
    assert pairs == choose_pairs(list(reversed(pictures)), [1], most=30, seed=0, names=["mark"])
