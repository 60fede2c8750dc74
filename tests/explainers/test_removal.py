"""Occlusion: captum, known answers, regions, and windows that cover every pixel."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Occlusion
from torch import Tensor

from core.classifier import Classifier
from core.explainer import get_explainer
from core.explainers.removal import OcclusionParameters, windows
from core.fills import PLATES, fill_plate
from tests.explainers.conftest import KINDS, agree, classifier_of, pictures
from tests.explainers.test_cam import colour_counter

CPU = torch.device("cpu")


def explain(classifier: Classifier, images: Tensor, targets: list[int], regions: Tensor | None = None, **options):
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


def test_regions_are_removed_as_wholes_and_their_effects_added() -> None:
    """Soft masks blend to the plate: on a linear model a region's effect is its share of the evidence."""
    image, soft = pictures(1, (16, 16)), torch.rand(16, 16, generator=torch.Generator().manual_seed(1))
    regions = torch.stack([soft, 1 - soft])
    (one,) = explain(colour_counter(), image, [0], regions, fill="black")
    effects = 3 * (regions * image[0, 0]).sum((1, 2)) / 256
    assert agree(one.values, (regions * effects.view(2, 1, 1)).sum(0), 1e-4)
    assert one.forward_passes == 3


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
