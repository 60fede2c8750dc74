"""Cases that the metrics' tests share: small models, and a linear model whose true attribution is known."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from core.classifier import Classifier
from core.explainer import get_explainer
from core.fills import fill_plate
from core.metrics.metric import Case, Metric, metrics
from core.parameters import Parameters
from core.preprocessing import Preprocessing
from tests.explainers.conftest import FRAMES, chunk_of, classifier_of, one_thread, pictures, quick

__all__ = ["chunk_of", "one_thread"]  # fixtures

NAMES = list(metrics())
QUICK = {"samples": 6, "steps": 8, "stages": 2, "bins": 16}


def quickly(metric: Metric, **options: object) -> Parameters:
    """Parameters that need few passes."""
    names = {spec.name for spec in metric.parameters.specs()}
    return metric.parameters.parse({**{k: v for k, v in QUICK.items() if k in names}, **options})


def some_masks(count: int, frame: tuple[int, int]) -> Tensor:
    """[count, H, W]: a box that moves from picture to picture."""
    masks = torch.zeros(count, *frame)
    for b in range(count):
        masks[b, 4 + b : 16 + b, 6 : 20 + b] = 1
    return masks


def made_case(
    kind: str = "cnn",
    logits: str = "softmax",
    frame: str = "square",
    explainer: str = "gradient",
    rows: slice = slice(0, 3),
    seeds: tuple[int, ...] = (5, 6, 7),
) -> Case:
    """Three pictures (or some of them) explained on a small model."""
    method = get_explainer(explainer)
    return Case.of(
        method.bind(classifier_of(kind, logits, frame)),
        pictures(3, FRAMES[frame])[rows],
        [1, 0, 1][rows],
        quick(method),
        seeds=seeds[rows],
        masks=some_masks(3, FRAMES[frame])[rows],
    )


def case_with(
    values: Tensor,
    *,
    classifier: Classifier | None = None,
    images: Tensor | None = None,
    masks: Tensor | None = None,
    seeds: tuple[int, ...] | None = None,
    explain: Callable[[Classifier, Tensor], Tensor] | None = None,
    target: int = 1,
) -> Case:
    """Given maps [B, H, W], judged on a small model; explained again, they are the same."""
    count, frame = len(values), tuple(values.shape[1:])
    return Case(
        classifier=classifier or classifier_of("cnn"),
        images=pictures(count, frame) if images is None else images,
        targets=torch.full((count,), target),
        values=values,
        signed=bool((values < 0).any()),
        seeds=seeds or tuple(range(count)),
        masks=masks,
        explain=explain or (lambda classifier, pictures: values),
    )


SIDE = 24


class Linear(nn.Module):
    """Logits (0, bias + sum of known weights times pixels)."""

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.sum = nn.Linear(weights.numel(), 2)
        with torch.no_grad():
            self.sum.weight.copy_(torch.stack([torch.zeros_like(weights), weights]).flatten(1))
            self.sum.bias.copy_(torch.tensor([0.0, bias]))

    def forward(self, x: Tensor) -> Tensor:
        return self.sum(x.flatten(1))


def linear_world(count: int = 3) -> tuple[Classifier, Tensor, Callable[[str], Tensor]]:
    """A linear classifier, pictures, and the true effect [B, H, W] of each pixel against a fill.

    Half the pixels speak for the target by being bright, half against it; on three quarters of them the picture says
    so. All are independent, so that a blur is nearly the mean colour. The target's probability on the picture is near
    a half, so that it can rise and fall.
    """
    generator = torch.Generator().manual_seed(11)
    weights = torch.where(torch.rand(1, SIDE, SIDE, generator=generator) < 0.5, 0.03, -0.03)
    weights = weights * (0.75 + 0.25 * torch.rand(3, SIDE, SIDE, generator=generator))
    agrees = torch.rand(count, 1, SIDE, SIDE, generator=generator) < 0.75
    bright = (weights[:1] > 0) == agrees
    images = torch.where(bright, 0.8, 0.3) + 0.1 * torch.rand(count, 3, SIDE, SIDE, generator=generator)
    plain = Preprocessing(resize=(SIDE, SIDE), crop=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    logits = (weights * images).flatten(1).sum(1)
    linear = Linear(weights, -float(logits.mean()))
    classifier = Classifier(linear, preprocessing=plain, name="linear", device="cpu")
    return classifier, images, lambda fill: (weights * (images - fill_plate(images, fill))).sum(1)
