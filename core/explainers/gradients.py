"""One gradient integration; the explainers of this family differ only in which pictures it visits.

z = reduce over samples n of d score(x_n) / d x_n,   x_n drawn by a sampler around the picture x
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.attribution import Estimate, Explainer, Job, register
from core.classifier import Classifier
from core.explainers.samplers import Gaussian, Identity, Path, Sampler, Suppression
from core.fills import PLATES, fill_plate
from core.parameters import Parameters, parameter
from core.runtime.chunks import in_chunks

REDUCTIONS = ("absolute", "signed", "squared")  # "signed times input" is integrated gradients' own


def reduce_gradient(gradient: Tensor, reduction: str, difference: Tensor | None) -> Tensor:
    """[K, 3, H, W] -> [K, H, W]: channels summed as absolute, signed, squared, or signed times the difference."""
    if reduction == "absolute":
        return gradient.abs().sum(1)
    if reduction == "squared":
        return gradient.square().sum(1)
    if reduction == "signed":
        return gradient.sum(1)
    assert difference is not None
    return (gradient * difference).sum(1)


def integrate(classifier: Classifier, job: Job, sampler: Sampler, reduction: str, fill: str) -> Iterator[Estimate]:
    """The family's one loop: samples of all pictures in chunks, sums in float32, nothing held per sample.

    Sample-major: every picture gets its n-th sample before any gets its next, so all maps sharpen together.
    """
    count, total = job.size, sampler.samples * job.size
    plates = fill_plate(job.images, fill)
    weights = torch.tensor(sampler.weights(), dtype=torch.float32, device=job.images.device)
    height, width = job.frame
    sums = torch.zeros(count, height, width, device=job.images.device)
    squares = torch.zeros_like(sums) if sampler.random and sampler.samples > 1 else None
    weight = torch.zeros(count, 1, 1, device=job.images.device)
    times_input = reduction == "signed times input"

    def run(start: int, end: int) -> None:
        picture = torch.arange(start, end, device=job.images.device) % count
        indices = [n // count for n in range(start, end)]
        seeds = [job.seeds[n % count] for n in range(start, end)]
        images, plate = job.images[picture], plates[picture]
        with torch.no_grad():
            drawn = sampler.draw(images, plate, seeds, indices)
        gradient = input_gradient(classifier, drawn, job, picture)
        values = reduce_gradient(gradient, reduction, images - plate if times_input else None)
        share = weights[indices].view(-1, 1, 1)
        sums.index_add_(0, picture, values * share)
        weight.index_add_(0, picture, share)
        if squares is not None:
            squares.index_add_(0, picture, values.square())

    for done in in_chunks(classifier, total, tuple(job.images.shape[1:]), "gradient", run):
        passes = [done // count + (b < done % count) for b in range(count)]
        yield Estimate(
            values=sums / weight.clamp(min=1e-12),
            standard_error=_standard_error(sums, squares, passes),
            forward_passes=passes,
            backward_passes=passes,
            partial=done < total,
        )


def input_gradient(classifier: Classifier, images: Tensor, job: Job, picture: Tensor) -> Tensor:
    """[K, 3, H, W]: gradient of each picture's score in the picture; parameter gradients are never formed."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_(True)
        contrasts = None if job.contrasts is None else job.contrasts[picture]
        score = classifier.score(classifier.logits(leaf), job.targets[picture], contrasts)
        return torch.autograd.grad(score.sum(), leaf)[0]


def _standard_error(sums: Tensor, squares: Tensor | None, passes: list[int]) -> Tensor | None:
    """Of the mean, from the spread of the samples so far; infinite where there is only one."""
    if squares is None:
        return None
    n = torch.tensor(passes, dtype=sums.dtype, device=sums.device).view(-1, 1, 1)
    mean = sums / n.clamp(min=1)
    variance = (squares / n.clamp(min=1) - mean.square()).clamp(min=0) * n / (n - 1).clamp(min=1)
    return torch.where(n > 1, (variance / n.clamp(min=1)).sqrt(), torch.full_like(sums, float("inf")))


class GradientExplainer(Explainer):
    """Shared by the family: a sampler made from the parameters, then `integrate`."""

    family = "gradient"

    def sampler(self, parameters: Any) -> Sampler:
        raise NotImplementedError

    def is_signed(self, parameters: Any) -> bool:
        return getattr(parameters, "reduction", "signed times input").startswith("signed")

    def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
        p = job.parameters
        reduction = getattr(p, "reduction", "signed times input")
        yield from integrate(classifier, job, self.sampler(p), reduction, getattr(p, "fill", "black"))


def _reduction(default: str) -> Any:
    return parameter(default, "How the colour channels' gradients become one value", choices=REDUCTIONS)


@dataclass(frozen=True)
class GradientParameters(Parameters):
    reduction: str = _reduction("absolute")


@register
class Gradient(GradientExplainer):
    """Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks (2013)."""

    name = "gradient"
    title = "Gradient"
    summary = "How much the score changes when a pixel changes a little."
    parameters = GradientParameters

    def sampler(self, parameters: GradientParameters) -> Sampler:
        return Identity()


@dataclass(frozen=True)
class IntegratedGradientsParameters(Parameters):
    samples: int = parameter(50, "Points on the path from the baseline to the picture", low=1, high=500, step=1)
    fill: str = parameter("mean", "The baseline the path starts from", choices=PLATES)


@register
class IntegratedGradients(GradientExplainer):
    """Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks (ICML 2017). Sums to the score's difference."""

    name = "integrated-gradients"
    title = "Integrated gradients"
    summary = "Gradients added up on the way from a featureless picture to this one; says for and against."
    parameters = IntegratedGradientsParameters
    signed = True
    default = True

    def sampler(self, parameters: IntegratedGradientsParameters) -> Sampler:
        return Path(parameters.samples)


@dataclass(frozen=True)
class SmoothGradParameters(Parameters):
    samples: int = parameter(50, "Noisy copies of the picture", low=1, high=500, step=1)
    sigma: float = parameter(0.15, "Noise, as a part of the full brightness range", low=0.0, high=1.0, step=0.01)
    reduction: str = _reduction("absolute")


@register
class SmoothGrad(GradientExplainer):
    """Smilkov, Thorat, Kim, Viegas, Wattenberg: SmoothGrad (2017)."""

    name = "smoothgrad"
    title = "SmoothGrad"
    summary = "Gradients averaged over noisy copies of the picture."
    parameters = SmoothGradParameters
    random = True
    default = True

    def sampler(self, parameters: SmoothGradParameters) -> Sampler:
        return Gaussian(parameters.samples, parameters.sigma)


@dataclass(frozen=True)
class SuppressionParameters(Parameters):
    samples: int = parameter(50, "Copies of the picture with features suppressed", low=1, high=1000, step=1)
    operator: str = parameter("field", "Smooth random fading, or whole patches dropped", choices=("field", "patch"))
    cell: int = parameter(16, "Size of a cell in pixels of the model's frame", low=2, high=128, step=1)
    keep: float = parameter(0.0, "Least part of a feature that is kept", low=0.0, high=0.95, step=0.05)
    fill: str = parameter("mean", "What shows where features are suppressed", choices=PLATES)
    reduction: str = _reduction("absolute")


@register
class SuppressionSampling(GradientExplainer):
    """Luo, McDermott, O'Riordan: Sampling Matters in Explanations (arXiv 2506.19442); see samplers.Suppression."""

    name = "suppression"
    title = "Suppression sampling"
    summary = "Gradients averaged over copies whose features are partly faded out, which stay natural pictures."
    parameters = SuppressionParameters
    random = True
    default = True

    def sampler(self, parameters: SuppressionParameters) -> Sampler:
        return Suppression(parameters.samples, parameters.operator, parameters.cell, parameters.keep)
