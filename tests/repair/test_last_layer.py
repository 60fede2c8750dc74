"""The last layer, found, re-fit and written."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toy import toy_classifier

from core.errors import UserError
from core.loading import load_classifier
from core.repair.last_layer import LastLayer, Lessons, refit, write_classifier


class Means(nn.Module):
    """Six numbers of a picture, and a linear layer on them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


@pytest.fixture
def last():
    torch.manual_seed(0)
    return LastLayer.of(toy_classifier(module=Means()))


def test_features_and_weights_give_the_answers(last):
    images = torch.rand(4, 3, 48, 48)
    assert last.path == "head"
    assert torch.allclose(last.logits(last.features(images), *last.now()), last.classifier.logits(images), atol=1e-6)


def lessons(features: torch.Tensor, targets: torch.Tensor, original: torch.Tensor | None = None) -> Lessons:
    rows = torch.arange(len(features))
    original = rows if original is None else original
    return Lessons(features, targets, torch.ones(len(features)), original // 2, original)


def test_what_a_change_does_is_unlearned(last):
    """Feature 0 is what is changed; it still goes with the class, by chance, in what is learned from."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(200, 6, generator=random) * 0.1
    targets = torch.arange(200) % 2
    features[:, 0] += torch.where(targets == 1, 2.0, 0.0)
    features[:, 1] += torch.where(targets == 1, 1.0, -1.0)
    changed = features.clone()
    changed[:, 0] = 2.0 - changed[:, 0]
    both, rows = torch.cat([features, changed]), torch.arange(200)
    *_, (weight, bias) = refit(last, lessons(both, targets.repeat(2), rows.repeat(2)))
    moved = (last.logits(changed, weight, bias) - last.logits(features, weight, bias)).abs()
    assert moved.max() < 0.3
    assert ((both @ weight.T + bias).argmax(1) == targets.repeat(2)).float().mean() > 0.99


def test_a_feature_that_tells_nothing_any_more_is_unlearned(last):
    """Feature 0 is the shortcut, feature 1 the cause; in what is learned from, only the cause goes with the class."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(400, 6, generator=random) * 0.1
    targets = torch.arange(400) % 2
    features[:, 0] += torch.where(torch.rand(400, generator=random) < 0.5, 1.0, -1.0)
    features[:, 1] += torch.where(targets == 1, 1.0, -1.0)
    with torch.no_grad():
        last.layer.weight.zero_()
        last.layer.weight[1, 0] = 5.0
    *_, (weight, bias) = refit(last, lessons(features, targets))
    says = (features @ weight.T + bias).argmax(1)
    assert (says == targets).float().mean() > 0.99
    lean = (weight[1] - weight[0]).abs()
    assert lean[1] > 5 * lean[0]


def test_what_is_right_already_is_left_nearly_as_it_is(last):
    random = torch.Generator().manual_seed(0)
    features = torch.randn(60, 6, generator=random)
    weight, bias = last.now()
    targets = torch.distributions.Categorical(logits=last.logits(features, weight, bias)).sample()
    *_, found = refit(last, lessons(features, targets))
    assert torch.nn.functional.cosine_similarity(found[0].flatten(), weight.flatten(), 0) > 0.5


def test_a_convolution_in_the_end_is_told():
    with pytest.raises(UserError, match="not linear"):
        LastLayer.of(toy_classifier())


def test_it_is_written_with_labels_and_preprocessing_and_read_back(tmp_path):
    classifier = load_classifier("demo:biased")
    last = LastLayer.of(classifier)
    weight, bias = last.now()
    spec = write_classifier(last, weight.flip(0), bias.flip(0), tmp_path / "model.safetensors")
    found = load_classifier(spec)
    images = torch.rand(2, 3, *classifier.input_size)
    assert found.labels == classifier.labels
    assert found.preprocessing == classifier.preprocessing
    assert torch.allclose(found.logits(images), classifier.logits(images).flip(1), atol=1e-3)


def test_a_model_of_another_source_is_told(last, tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        write_classifier(last, *last.now(), tmp_path / "model.safetensors")
