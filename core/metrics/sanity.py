"""Whether a map notices that the model's knowledge was taken away.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps (NeurIPS 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.metrics.metric import Case, Metric, register
from core.metrics.ranking import spearman
from core.parameters import Parameters, parameter
from core.randomised import cascade, kept_twin

GRID = 28


def stages(total: int, count: int) -> list[int]:
    """How many modules each stage shuffles: evenly from the last one alone to all; a single stage shuffles all."""
    return sorted({1 + round((total - 1) * i / (count - 1)) for i in range(count)}) if count > 1 else [total]


@dataclass(frozen=True)
class RandomisationParameters(Parameters):
    stages: int = parameter(
        3, "Stages of the cascade, evenly from the last layer alone to all layers", low=1, high=20, step=1
    )
    seed: int = parameter(0, "Which shuffle of the weights", low=0, high=1_000_000, step=1)


@register
class Randomisation(Metric):
    """Adebayo et al.: Sanity Checks for Saliency Maps (NeurIPS 2018), cascading randomisation.

    Mean over the stages of the absolute rank correlation (Spearman) between the map and the map of the model whose
    weights are shuffled from the logits down. Maps are averaged to a grid of at most 28 x 28 cells first, which takes
    away pixel noise and keeps the ranking cheap. A map that goes flat has nothing left in common: 0 for that stage,
    which favours methods that clip (Grad-CAM where all its channels turn negative).
    """

    name = "randomisation"
    title = "Randomised weights"
    usual = True
    summary = (
        "Whether the map stays the same when the model forgets what it learned; a map that does is no explanation."
    )
    family = "sanity"
    higher_is_better = False
    reference = "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps (NeurIPS 2018)"
    parameters = RandomisationParameters
    slow = True

    def judge(self, case: Case, parameters: RandomisationParameters) -> Tensor:
        before, likeness = _on_grid(case.values), []
        for modules in stages(len(cascade(case.classifier.module)), parameters.stages):
            twin = kept_twin(case.classifier, modules, parameters.seed)
            after = _on_grid(case.explain(twin, case.images).to(before))
            flat = torch.isfinite(after).all(1) & (after.amax(1) == after.amin(1))
            likeness.append(torch.where(flat, 0.0, spearman(before, after).abs()))
        return torch.stack(likeness).mean(0)


def _on_grid(values: Tensor) -> Tensor:
    """[B, H, W] -> [B, cells]: the mean over each cell of the grid."""
    grid = (min(GRID, values.shape[-2]), min(GRID, values.shape[-1]))
    return F.adaptive_avg_pool2d(values.unsqueeze(1), grid).flatten(1)
