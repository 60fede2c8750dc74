"""Controls know nothing of the classifier and cost no pass."""

from __future__ import annotations

import pytest
import torch

from core.classifier import Classifier
from core.explainer import get_explainer
from tests.explainers.conftest import agree, classifier_of, pictures


@pytest.mark.parametrize("name", ["random", "edges", "centre"])
def test_no_pass_is_made_and_the_classifier_does_not_matter(name: str, small_cnn: Classifier) -> None:
    image = pictures(1, (32, 32))
    maps = [get_explainer(name).bind(c).explain(image, [0])[0] for c in (small_cnn, classifier_of("swin"))]
    assert torch.equal(maps[0].values, maps[1].values)
    assert (maps[0].forward_passes, maps[0].backward_passes) == (0, 0)


def test_random_is_smooth_noise_between_0_and_1(small_cnn: Classifier) -> None:
    values = get_explainer("random").bind(small_cnn).explain(pictures(1, (64, 192)), [0])[0].values
    assert values.min() >= 0
    assert values.max() <= 1
    assert values.std() > 0.1
    assert values.diff(dim=0).abs().max() < 0.2
    assert values.diff(dim=1).abs().max() < 0.2


def test_edges_of_a_step(small_cnn: Classifier) -> None:
    """A grey step of 0.8 between two columns: half of it on each side of the edge, nothing elsewhere."""
    image = torch.zeros(1, 3, 32, 32)
    image[..., 16:] = 0.8
    wanted = torch.zeros(32, 32)
    wanted[:, 15:17] = 0.4
    bound = get_explainer("edges").bind(small_cnn)
    assert agree(bound.explain(image, [0])[0].values, wanted)
    assert agree(bound.explain(image.transpose(2, 3), [0])[0].values, wanted.T)
    assert bound.explain(torch.full((1, 3, 32, 32), 0.5), [0])[0].values.max() < 1e-6


def test_centre_is_a_bump_in_the_middle(small_cnn: Classifier) -> None:
    values = get_explainer("centre").bind(small_cnn).explain(pictures(1, (32, 96)), [0])[0].values
    assert torch.allclose(values, values.flip(0, 1))
    assert values.argmax() in (15 * 96 + 47, 15 * 96 + 48, 16 * 96 + 47, 16 * 96 + 48)
    assert values[15].diff()[:47].min() > 0
