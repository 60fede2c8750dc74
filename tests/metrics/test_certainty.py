"""Information: noise scores nothing, identity scores 1, whatever the number of pixels."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from core.explainers.controls import luminance
from core.metrics.certainty import binned, entropy, information
from core.metrics.metric import get_metric
from tests.explainers.conftest import pictures
from tests.metrics.conftest import case_with

SIDES = (32, 64, 224)


def noise(count: int, side: int) -> Tensor:
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(4))


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_independent_noise_scores_near_zero_in_spite_of_the_histograms_bias(side: int) -> None:
    case = case_with(noise(4, side))
    found = information(case, 64)
    assert abs(float((found.shared - found.chance).mean())) < 0.3 * float(found.chance.mean())
    assert get_metric("certainty").score(case).abs().max() < 0.02
    assert abs(float(get_metric("certainty").score(case).mean())) < 0.01
    assert torch.allclose(get_metric("certainty-bound").score(case), torch.tensor(1 / 64), rtol=0.1)


def test_the_bias_at_224_pixels_is_what_theory_says() -> None:
    found = information(case_with(noise(2, 224)), 64)
    assert torch.allclose(found.chance, torch.tensor(63 * 63 / (2 * 224**2)).double(), rtol=0.05)
    assert (information(case_with(noise(2, 32)), 64).chance > 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_a_map_that_is_the_brightness_scores_one(side: int) -> None:
    images = pictures(3, (side, side))
    grey = luminance(images)
    for values in (grey, 1000 * grey, grey.square(), -grey, 1 / (1 + grey)):
        case = case_with(values, images=images)
        assert torch.allclose(get_metric("certainty").score(case), torch.ones(3), atol=0.02)
        assert (get_metric("certainty-bound").score(case) <= 1).all()
    same = case_with(grey, images=images)
    assert torch.allclose(get_metric("certainty").score(same), torch.ones(3), atol=1e-6)
    assert torch.allclose(get_metric("certainty-bound").score(same), torch.ones(3), atol=1e-6)


def test_between_the_two_more_noise_says_less() -> None:
    images = pictures(2, (64, 64))
    grey = luminance(images)
    for name in ("certainty", "certainty-bound"):
        scores = [
            get_metric(name).score(case_with((grey + sigma * noise(2, 64)).clamp(min=0), images=images))
            for sigma in (0.0, 0.02, 0.1, 0.5)
        ]
        assert all((more > less).all() for more, less in pairwise(scores))


def test_entropy_and_information_are_numpys() -> None:
    images, values = pictures(2, (32, 32)), noise(2, 32).abs()
    found = information(case_with(values, images=images), 8)
    for b in range(2):
        x = luminance(images)[b].flatten().argsort().argsort().numpy() * 8 // 1024
        z = values[b].flatten().argsort().argsort().numpy() * 8 // 1024
        joint = np.histogram2d(x, z, bins=(range(9), range(9)))[0] / 1024
        product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        expected = (joint[joint > 0] * np.log(joint[joint > 0] / product[joint > 0])).sum()
        assert float(found.shared[b]) == pytest.approx(expected, abs=0.02)  # luminances in a tie share a bin


def test_bins_hold_equally_many_and_equal_values_share_one() -> None:
    values = torch.rand(2, 640, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.stack([row.bincount(minlength=64) for row in binned(values, 64)]), torch.full((2, 64), 10))
    assert torch.allclose(entropy(binned(values, 64), 64), torch.tensor(math.log(64)).double())
    values[0, :300] = 0.5
    assert len(binned(values, 64)[0, :300].unique()) == 1


def test_a_picture_of_one_brightness_has_nothing_to_be_certain_of() -> None:
    images = pictures(2, (32, 32))
    images[1] = 0.5
    for name in ("certainty", "certainty-bound"):
        assert get_metric(name).score(case_with(noise(2, 32), images=images)).isnan().tolist() == [False, True]
