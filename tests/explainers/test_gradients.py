"""The gradient family against captum, its own identities and its own error bars."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients, Saliency

from core.classifier import Classifier
from core.explainer import get_explainer
from core.explainers.integration import input_gradient, integrate
from core.explainers.suppression import OPERATORS, Suppression
from core.fills import fill_plate
from core.job import Job
from tests.explainers.conftest import KINDS, agree, classifier_of, pictures

every_kind = pytest.mark.parametrize("kind", KINDS)


def explain(name: str, classifier: Classifier, images: torch.Tensor, targets: list[int], **options: object):
    explainer = get_explainer(name)
    seeds = options.pop("seeds", (0,))
    parameters = explainer.parameters.parse(options)
    return explainer.bind(classifier).explain(images, targets, parameters, seeds=seeds)


@every_kind
def test_gradient_is_captums_saliency(kind: str) -> None:
    classifier, images = classifier_of(kind), pictures(2, (32, 32))
    theirs = Saliency(classifier.logits).attribute(images.clone().requires_grad_(), target=[1, 2]).sum(1)
    for mine, reference in zip(explain("gradient", classifier, images, [1, 2]), theirs):
        assert agree(mine.values, reference.detach())


@pytest.mark.slow
@every_kind
def test_integrated_gradients_are_captums(kind: str) -> None:
    classifier, images = classifier_of(kind), pictures(2, (32, 32))
    theirs = IntegratedGradients(classifier.logits).attribute(
        images, fill_plate(images, "mean"), target=[1, 2], n_steps=50, method="gausslegendre"
    )
    for mine, reference in zip(explain("integrated-gradients", classifier, images, [1, 2]), theirs.sum(1)):
        assert agree(mine.values, reference.detach().float(), 1e-4)


@pytest.mark.slow
@every_kind
def test_integrated_gradients_sum_to_the_difference_of_scores(kind: str) -> None:
    classifier, images = classifier_of(kind), pictures(2, (32, 32))
    with torch.no_grad():
        difference = (classifier.logits(images) - classifier.logits(fill_plate(images, "mean")))[:, 1]
    for one, wanted in zip(explain("integrated-gradients", classifier, images, [1], samples=60), difference):
        assert float(one.values.sum()) == pytest.approx(float(wanted), rel=0.02, abs=0.002)


def test_smoothgrad_without_noise_is_the_gradient(small_cnn: Classifier) -> None:
    image = pictures(1, (32, 32))
    (smooth,) = explain("smoothgrad", small_cnn, image, [1], sigma=0, samples=3)
    (plain,) = explain("gradient", small_cnn, image, [1])
    assert agree(smooth.values, plain.values)
    # sums of squares leave rounding behind
    assert smooth.standard_error.max() <= 1e-3 * plain.values.max()


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "lowpass"])
def test_suppression_that_keeps_everything_is_the_gradient(operator: str, small_cnn: Classifier) -> None:
    image = pictures(1, (32, 32))
    job = Job(image, torch.tensor([1]), None, None, (0,), None)
    reading = input_gradient(small_cnn, job, "absolute", "logit")
    last = list(integrate(small_cnn, job, Suppression(4, operator, 16, 1.0, fade=True), reading, "mean"))[-1]
    (plain,) = explain("gradient", small_cnn, image, [1])
    assert agree(last.values[0], plain.values)


def test_suppression_nears_the_gradient_as_more_is_kept(small_cnn: Classifier) -> None:
    image = pictures(1, (32, 32))
    (plain,) = explain("gradient", small_cnn, image, [1])
    gaps = [
        float((explain("suppression", small_cnn, image, [1], keep=keep)[0].values - plain.values).norm())
        for keep in (0.0, 0.5, 0.95)
    ]
    assert gaps[0] > gaps[1] > gaps[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smoothgrad", "suppression"])
def test_standard_error_is_the_spread_over_seeds(name: str, small_cnn: Classifier) -> None:
    runs = 60
    images = pictures(1, (32, 32)).expand(runs, -1, -1, -1)
    maps = explain(name, small_cnn, images, [1], samples=12, seeds=range(runs))
    spread = torch.stack([one.values for one in maps]).std(0).mean()
    claimed = torch.stack([one.standard_error for one in maps]).mean(0).mean()
    assert float(claimed / spread) == pytest.approx(1, abs=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smoothgrad", "suppression"])
def test_standard_error_halves_with_four_times_the_samples(name: str, small_cnn: Classifier) -> None:
    image = pictures(1, (32, 32))
    few, many = (
        explain(name, small_cnn, image, [1], samples=samples)[0].standard_error.mean() for samples in (40, 160)
    )
    assert float(few / many) == pytest.approx(2, rel=0.15)
