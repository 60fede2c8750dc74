"""Small changes of the picture: does the map foretell what the score does, and does the map itself hold still?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.fills import PLATES, fill_plate
from core.metrics.metric import Case, Metric, register
from core.parameters import Parameters, parameter
from core.passes import scores
from core.runtime.randomness import uniform


def squares(
    frame: tuple[int, int], largest: float, seeds: Sequence[int], indices: Sequence[int], device: torch.device
) -> Tensor:
    """[K, H, W] of 0 and 1: a square anywhere in the frame, row k from (seeds[k], indices[k]) alone.

    Its side is drawn evenly from one pixel to `largest`, a part of the shorter side.
    """
    height, width = frame
    draws = uniform((3,), seeds, indices, device, salt="squares").view(-1, 3, 1, 1)
    side = 1 + (draws[:, 0] * max(1, round(largest * min(frame)))).floor()
    top = (draws[:, 1] * (height - side + 1)).floor()
    left = (draws[:, 2] * (width - side + 1)).floor()
    rows = torch.arange(height, device=device).view(1, -1, 1)
    columns = torch.arange(width, device=device).view(1, 1, -1)
    return ((rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)).float()


@dataclass(frozen=True)
class InfidelityParameters(Parameters):
    samples: int = parameter(64, "Random squares that are covered, one at a time", low=2, high=1000, step=1)
    largest: float = parameter(
        0.4, "Longest side of a square, as a part of the picture's shorter side", low=0.05, high=1.0, step=0.05
    )
    fill: str = parameter("mean", "What the square is filled with", choices=PLATES)
    scaled: bool = parameter(True, "Multiply the map by the positive factor that suits it best, as units differ")


@register
class Infidelity(Metric):
    """Yeh, Hsieh, Suggala, Inouye, Ravikumar: On the (In)fidelity and Sensitivity of Explanations (NeurIPS 2019).

    E[(sum of the map over a square - what the target's score, a logit, loses when the square is covered)^2], their
    square removal. `scaled` is their optimal scaling, kept from turning a map round: a map that says the opposite of
    what happens is scaled to zero. The classifier itself is asked, never `case.scorer`: its score was explained.
    """

    name = "infidelity"
    title = "Infidelity"
    summary = "How far the map's sum over a random square is from what covering the square really costs the score."
    family = "faithfulness"
    higher_is_better = False
    reference = "Yeh, Hsieh, Suggala, Inouye, Ravikumar: On the (In)fidelity and Sensitivity (NeurIPS 2019)"
    parameters = InfidelityParameters
    random = True

    def judge(self, case: Case, parameters: InfidelityParameters) -> Tensor:
        p, classifier = parameters, case.classifier
        plates = fill_plate(case.images, p.fill)
        foretold = torch.zeros(case.size, p.samples + 1, device=case.values.device)

        def show(picture: Tensor, copy: Sequence[int]) -> Tensor:
            seeds = [case.seeds[b] for b in picture.tolist()]
            masks = squares(case.frame, p.largest, seeds, copy, picture.device)
            masks[[n == 0 for n in copy]] = 0  # copy 0 is the picture itself
            foretold[picture, list(copy)] = (masks * case.values[picture]).sum((1, 2))
            return torch.lerp(case.images[picture], plates[picture], masks.unsqueeze(1))

        def score(logits: Tensor, picture: Tensor) -> Tensor:
            return classifier.score(logits, case.targets[picture])

        found = scores(classifier, case.images, p.samples + 1, show, score)
        lost, foretold = found[:, :1] - found[:, 1:], foretold[:, 1:]
        if p.scaled:
            best = (foretold * lost).sum(1, keepdim=True) / foretold.square().sum(1, keepdim=True)
            foretold = foretold * best.nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
        return (foretold - lost).square().mean(1)


@dataclass(frozen=True)
class MaxSensitivityParameters(Parameters):
    samples: int = parameter(10, "Noisy copies of the picture that are explained again", low=1, high=200, step=1)
    radius: float = parameter(
        0.02, "Largest change of a colour value, as a part of the full range", low=0.001, high=0.5, step=0.001
    )


@register
class MaxSensitivity(Metric):
    """Yeh, Hsieh, Suggala, Inouye, Ravikumar: On the (In)fidelity and Sensitivity of Explanations (NeurIPS 2019).

    The greatest of |map(x + noise) - map(x)| / |map(x)| over samples, noise even in [-radius, radius], Euclidean norms,
    as captum and Quantus have it. The explainer keeps its seed, so its own randomness does not count.
    """

    name = "max-sensitivity"
    title = "Max sensitivity"
    summary = "How much the map changes at most when the picture changes so little that nobody sees it."
    family = "robustness"
    higher_is_better = False
    reference = "Yeh, Hsieh, Suggala, Inouye, Ravikumar: On the (In)fidelity and Sensitivity (NeurIPS 2019)"
    parameters = MaxSensitivityParameters
    slow = True
    random = True

    def judge(self, case: Case, parameters: MaxSensitivityParameters) -> Tensor:
        size = case.values.flatten(1).norm(dim=1)
        worst = torch.zeros(case.size, device=case.values.device)
        for n in range(parameters.samples):
            noise = noise_of(case.images, parameters.radius, case.seeds, n)
            again = case.explain(case.classifier, case.images + noise).to(size)
            worst = torch.maximum(worst, (again - case.values).flatten(1).norm(dim=1) / size)
        return worst


def noise_of(images: Tensor, radius: float, seeds: Sequence[int], index: int) -> Tensor:
    """[B, 3, H, W], even in [-radius, radius]: the noise of sample `index`."""
    draws = uniform(images.shape[1:], seeds, [index] * len(seeds), images.device, salt="sensitivity")
    return radius * (2 * draws - 1)
