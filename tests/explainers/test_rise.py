"""RISE: the paper's masks and map, and errors that are honest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.attribution import Attribution
from core.classifier import Classifier
from core.explainer import get_explainer
from core.explainers.games.rise import rise_masks
from core.fills import fill_plate
from core.runtime.randomness import uniform
from tests.explainers.conftest import agree, classifier_of, pictures

CPU = torch.device("cpu")
SEEDS = 50


def explain(
    classifier: Classifier, images: Tensor, targets: list[int], seed: int = 0, **options: object
) -> Attribution:
    explainer = get_explainer("rise")
    parameters = explainer.parameters.parse({"cells": 4, **options})
    return explainer.bind(classifier).explain(images, targets, parameters, seeds=[seed])[0]


def masks_of(count: int, frame: tuple[int, int] = (32, 32), cells: int = 4, keep: float = 0.5, seed: int = 0) -> Tensor:
    return rise_masks(frame, cells, keep, [seed] * count, range(count), CPU)


def scored(classifier: Classifier, image: Tensor, masks: Tensor, scale: str = "probability") -> Tensor:
    plate = fill_plate(image, "mean")
    with torch.no_grad():
        logits = classifier.logits(torch.lerp(plate, image, masks[:, None]))
        return classifier.score(logits, torch.ones(len(masks), dtype=torch.long), None, scale)


def plain_masks(frame: tuple[int, int], cells: int, keep: float, count: int, seed: int) -> Tensor:
    """As the paper's code makes them (generate_masks): the grid enlarged to cells + 1 cells, cropped at the shift."""
    rows = []
    numbers = uniform((cells * cells + 2,), [seed] * count, range(count), CPU, salt="rise")
    sides = [int(np.ceil(side / cells)) for side in frame]
    for drawn in numbers:
        grid = (drawn[2:] < keep).float().view(1, 1, cells, cells)
        large = F.interpolate(grid, [(cells + 1) * side for side in sides], mode="bilinear", align_corners=False)[0, 0]
        down, right = (int(place * side) for place, side in zip(drawn[:2].tolist(), sides))
        rows.append(large[down : down + frame[0], right : right + frame[1]])
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("frame", "cells"), [((32, 32), 4), ((32, 96), 7), ((224, 224), 7), ((37, 23), 5), ((5, 9), 2)]
)
def test_masks_are_the_papers(frame: tuple[int, int], cells: int) -> None:
    masks = masks_of(6, frame, cells, 0.4, 3)
    assert masks.shape == (6, *frame)
    assert torch.allclose(masks, plain_masks(frame, cells, 0.4, 6, 3), atol=2e-5)


def test_masks_show_a_pixel_as_often_as_was_asked_for_and_are_shifted_each_on_its_own() -> None:
    for keep in (0.2, 0.5, 0.8):
        masks = masks_of(2000, keep=keep)
        assert torch.allclose(masks.mean(0), torch.full((32, 32), keep), atol=0.06)
        assert float(masks.mean()) == pytest.approx(keep, abs=0.01)
        assert 0 <= float(masks.min()) < 0.01 < 0.99 < float(masks.max()) <= 1
    shifts = (uniform((18,), [0] * 200, range(200), CPU, salt="rise")[:, :2] * 8).floor()
    assert set(shifts.unique().tolist()) == set(range(8))
    assert len(shifts.unique(dim=0)) > 50


def test_a_mask_depends_on_its_own_seed_and_number() -> None:
    alone = rise_masks((32, 32), 4, 0.5, [7], [5], CPU)
    among = rise_masks((32, 32), 4, 0.5, [1, 7, 7], [5, 5, 6], CPU)
    assert torch.equal(among[1], alone[0])
    assert not torch.equal(among[0], among[1])
    assert not torch.equal(among[2], among[1])


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_the_map_is_the_papers_sum(kind: str) -> None:
    classifier, image = classifier_of(kind), pictures(1, (32, 32))
    masks = masks_of(40)
    scores = scored(classifier, image, masks)
    one = explain(classifier, image, [1], samples=40, centred=False)
    assert agree(one.values, (scores[:, None, None] * masks).sum(0) / (40 * 0.5), 1e-4)
    assert one.forward_passes == 40


def test_the_centred_map_is_the_self_normalised_one_less_a_constant() -> None:
    classifier, image = classifier_of("cnn"), pictures(1, (32, 32))
    masks = masks_of(40)
    scores = scored(classifier, image, masks, "logit")
    weighted = (scores[:, None, None] * masks).sum(0) / masks.sum(0)
    one = explain(classifier, image, [1], samples=40, scale="logit")
    assert torch.allclose(one.values, weighted - scores.mean(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("scale", ["probability", "logit"])
def test_errors_are_honest(centred: bool, scale: str) -> None:
    """Over seeds the distance from a long run spreads as the standard error says."""
    classifier, image = classifier_of("cnn"), pictures(1, (32, 32))
    asked = {"centred": centred, "scale": scale}
    long = explain(classifier, image, [1], seed=10_000, samples=8192, **asked).values
    made = [explain(classifier, image, [1], seed=seed, samples=64, **asked) for seed in range(SEEDS)]
    z = torch.stack([(one.values - long) / one.standard_error for one in made])
    assert 0.8 < float(z.std()) < 1.25
    assert float(z.std(0).min()) > 0.5


def test_one_mask_tells_nothing_of_its_error(chunk_of: Callable[[int], None]) -> None:
    chunk_of(1)
    explainer = get_explainer("rise")
    for centred in (True, False):
        parameters = explainer.parameters.parse({"cells": 2, "samples": 2, "centred": centred})
        bound = explainer.bind(classifier_of("cnn"))
        steps = [one for (one,) in bound.steps(pictures(1, (32, 32)), [1], parameters)]
        assert [one.standard_error is None for one in steps] == [True, False]
