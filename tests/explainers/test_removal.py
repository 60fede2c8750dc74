"""Occlusion: captum, known answers, regions, and windows that cover every pixel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from captum.attr import Occlusion
from torch import Tensor

from core.attribution import Attribution
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import get_explainer
from core.explainers.removal import OcclusionParameters, windows
from core.fills import PLATES, fill_plate
from core.regions import Regions, laid_out
from tests.explainers.conftest import KINDS, agree, classifier_of, pictures
from tests.explainers.test_cam import colour_counter

CPU = torch.device("cpu")


def explain(
    classifier: Classifier, images: Tensor, targets: list[int], regions: Tensor | Regions | None = None, **options
) -> list[Attribution]:
    if regions is not None:
        options["regions"] = "segments"
    bound = get_explainer("occlusion").bind(classifier)
    return bound.explain(images, targets, OcclusionParameters(**options), regions=regions)


@pytest.mark.slow
@pytest.mark.parametrize("fill", PLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_occlusion_is_captums_where_windows_fit_exactly(kind: str, fill: str) -> None:
    classifier, images = classifier_of(kind), pictures(2, (32, 32))
    with torch.no_grad():
        theirs = Occlusion(classifier.logits).attribute(
            images, (3, 8, 8), (3, 4, 4), baselines=fill_plate(images, fill), target=[1, 2]
        )
    for mine, reference in zip(explain(classifier, images, [1, 2], window=0.25, stride=0.5, fill=fill), theirs):
        assert agree(mine.values, reference[0], 1e-4)


def test_a_known_answer_on_tiles() -> None:
    """16 tiles of 4 x 4 pixels; the logit is 3 * mean red, so a tile of red lost costs 3 * its red / 256."""
    image = pictures(1, (16, 16))
    (one,) = explain(colour_counter(), image, [0], window=0.25, stride=1.0, fill="black")
    tiles = 3 * torch.nn.functional.avg_pool2d(image[:, :1], 4) * 16 / 256
    assert agree(one.values, tiles.repeat_interleave(4, 2).repeat_interleave(4, 3)[0, 0], 1e-4)
    assert (one.forward_passes, one.backward_passes) == (17, 0)


def test_regions_are_removed_as_wholes_and_their_effects_laid_over_their_areas() -> None:
    """Soft masks blend to the plate: on a linear model a region's effect is its share of the evidence."""
    image, soft = pictures(1, (16, 16)), torch.rand(16, 16, generator=torch.Generator().manual_seed(1))
    regions = torch.stack([soft, 1 - soft])
    (one,) = explain(colour_counter(), image, [0], regions, fill="black")
    effects = 3 * (regions * image[0, 0]).sum((1, 2)) / 256
    assert agree(one.values, (regions * (effects / regions.sum((1, 2))).view(2, 1, 1)).sum(0), 1e-4)
    assert float(one.values.sum()) == pytest.approx(float(effects.sum()), rel=1e-4)
    assert (one.forward_passes, one.unit) == (3, "density")
    assert agree(one.players.values, effects, 1e-4)
    assert torch.equal(one.players.masks, regions)
    assert (one.players.names, one.players.standard_error, one.players.interactions) == ((None, None), None, None)
    assert agree(laid_out(one.players.values, one.players.masks), one.values)


def test_windows_are_an_intensity_without_players() -> None:
    (one,) = explain(colour_counter(), pictures(1, (16, 16)), [0])
    assert (one.unit, one.players) == ("intensity", None)


@pytest.mark.parametrize("chunk", [1, 2, 5, 8])
def test_each_picture_of_a_batch_has_its_own_regions(chunk: int, chunk_of: Callable[[int], None]) -> None:
    """Quarters, halves and the whole together are what they are alone; padding costs no pass and has no value."""
    chunk_of(chunk)
    images, classifier = pictures(3, (32, 32)), classifier_of("cnn")
    side = torch.arange(32).div(16, rounding_mode="floor")
    quarter, half = side[:, None] * 2 + side, side.expand(32, 32)
    own = [torch.stack([numbers == n for n in range(count)]).float()
           for numbers, count in ((quarter, 4), (half, 2), (torch.zeros(32, 32), 1))]  # fmt: skip
    names = (("a", "b", None, "d"), ("left", "right"), (None,))
    regions = Regions.of(own, names)
    assert regions.counts == [4, 2, 1]
    together = explain(classifier, images, [1, 2, 0], regions)
    for b, one in enumerate(together):
        (alone,) = explain(classifier, images[b : b + 1], [[1, 2, 0][b]], own[b])
        assert agree(one.values, alone.values)
        assert agree(one.players.values, alone.players.values)
        assert torch.equal(one.players.masks, own[b])
        assert one.players.names == names[b]
        assert one.forward_passes == 1 + len(own[b])


def test_one_partition_serves_all_pictures_or_each_has_one() -> None:
    images, classifier = pictures(2, (32, 32)), classifier_of("cnn")
    left = torch.zeros(32, 32)
    left[:, :12] = 1
    halves = torch.stack([left, 1 - left])
    shared = explain(classifier, images, [1], halves)
    each = explain(classifier, images, [1], torch.stack([halves, halves]))
    assert all(torch.equal(a.values, b.values) for a, b in zip(shared, each))
    for wrong in (torch.ones(3, 2, 32, 32), torch.ones(0, 32, 32), torch.ones(32, 32), torch.ones(2, 2, 16, 16)):
        with pytest.raises(UserError, match=r"regions \[P, 32, 32\]"):
            explain(classifier, images, [1], wrong)


def test_segments_that_are_asked_for_and_not_there_are_one_sentence() -> None:
    with pytest.raises(UserError, match="asked to remove segments, and none are given"):
        get_explainer("occlusion").bind(classifier_of("cnn")).steps(
            pictures(1, (32, 32)), [1], OcclusionParameters(regions="segments")
        )


def test_a_value_is_laid_over_its_area() -> None:
    masks = torch.zeros(3, 2, 4)
    masks[0, 0, 0], masks[1, 0, 1:] = 1, 1  # areas 1 and 3; the third is nowhere
    laid = laid_out(torch.tensor([6.0, 6.0, 5.0]), masks)
    assert laid.tolist() == [[6, 2, 2, 2], [0, 0, 0, 0]]


@pytest.mark.slow
@pytest.mark.parametrize("frame", [(224, 224), (32, 96), (37, 23), (7, 7), (1, 5)])
@pytest.mark.parametrize(("window", "stride"), [(0.2, 0.35), (0.1, 0.25), (0.8, 1.0), (0.3, 1.0)])
def test_every_pixel_is_covered_and_all_windows_have_one_size(
    frame: tuple[int, int], window: float, stride: float
) -> None:
    side, step = OcclusionParameters(window=window, stride=stride).pixels(frame)
    cover = windows(frame, side, step, CPU)
    times = torch.zeros(frame)
    for start in range(0, cover.count, 256):
        masks = cover.masks(range(start, min(start + 256, cover.count)))
        assert set(masks.sum((1, 2)).tolist()) == {float(side * side)}
        times += masks.sum(0)
    assert times.min() >= 1
    assert cover.count <= 1400 * max(frame) / min(frame)


def test_the_default_covers_a_picture_early() -> None:
    cover = windows((224, 224), *OcclusionParameters().pixels((224, 224)), CPU)
    assert cover.count == 169
    assert cover.masks(range(49)).sum(0).min() >= 1
    assert len({tuple(mask.nonzero()[0].tolist()) for mask in cover.masks(range(169))}) == 169
