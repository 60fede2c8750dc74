"""Does the map lie on the object? That asks where the object is, and supposes that the classifier should look there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.metrics.metric import Case, Metric, register
from core.metrics.ranking import descending, positions
from core.parameters import Parameters, parameter


def _masks(case: Case) -> Tensor:
    assert case.masks is not None  # `Metric.score` has seen to it
    return case.masks


def _object(case: Case) -> Tensor:
    """[B, P] of booleans: pixels of which at least half belong to the object."""
    return _masks(case).flatten(1) >= 0.5


@register
class RelevanceRank(Metric):
    """Arras, Osman, Samek: CLEVR-XAI (Information Fusion 2022), relevance rank accuracy (RRA).

    K is the number of the object's pixels (a pixel counts if half of it does); equal values are ordered at random.
    """

    name = "relevance-rank"
    title = "Relevance rank (RRA)"
    summary = "Of as many top pixels as the object has, the part that lies on it."
    family = "localisation"
    higher_is_better = True
    reference = "Arras, Osman, Samek: CLEVR-XAI (Information Fusion 2022)"
    needs_mask = True

    def judge(self, case: Case, parameters: Parameters) -> Tensor:
        inside = _object(case)
        size = inside.sum(1)
        top = positions(descending(case.values.flatten(1), case.seeds)) < size.view(-1, 1)
        return (top & inside).sum(1) / size  # 0 / 0, an empty mask, is NaN


@register
class RelevanceMass(Metric):
    """Arras, Osman, Samek: CLEVR-XAI (Information Fusion 2022), relevance mass accuracy (RMA).

    With a box as mask it is the energy-based pointing game of Wang et al.: Score-CAM (CVPR Workshops 2020). Only
    positive values count; a soft mask counts each pixel by its part. NaN where nothing is positive.
    """

    name = "relevance-mass"
    title = "Relevance mass (RMA, energy pointing game)"
    summary = "The part of the map's positive values that lies on the object; also called the energy pointing game."
    family = "localisation"
    higher_is_better = True
    reference = "Arras, Osman, Samek: CLEVR-XAI (Information Fusion 2022); Wang et al.: Score-CAM (CVPRW 2020)"
    needs_mask = True

    def judge(self, case: Case, parameters: Parameters) -> Tensor:
        masks = _masks(case)
        positive = case.values.clamp(min=0).double()
        mass = (positive * masks).sum((1, 2)) / positive.sum((1, 2))
        return torch.where(masks.amax((1, 2)) > 0, mass, float("nan"))


@dataclass(frozen=True)
class PointingGameParameters(Parameters):
    tolerance: int = parameter(
        15, "How far from the object still counts as a hit, in pixels of the model's frame", low=0, high=100, step=1
    )


@register
class PointingGame(Metric):
    """Zhang, Bargal, Lin, Brandt, Shen, Sclaroff: Excitation Backprop (IJCV 2018).

    1 where the highest pixel lies within `tolerance` of one of the object's (a pixel counts if half of it does), else
    0; of several highest pixels one is drawn.
    """

    name = "pointing-game"
    title = "Pointing game"
    summary = "Whether the map's highest pixel hits the object, or nearly."
    family = "localisation"
    higher_is_better = True
    reference = (
        "Zhang, Bargal, Lin, Brandt, Shen, Sclaroff: Top-down Neural Attention by Excitation Backprop (IJCV 2018)"
    )
    parameters = PointingGameParameters
    needs_mask = True

    def judge(self, case: Case, parameters: PointingGameParameters) -> Tensor:
        inside, (height, width) = _object(case), case.frame
        highest = descending(case.values.flatten(1), case.seeds)[:, :1]
        pixels = torch.arange(height * width, device=highest.device)
        down, along = pixels // width - highest // width, pixels % width - highest % width
        near = down.square() + along.square() <= parameters.tolerance**2
        return torch.where(inside.any(1), (near & inside).any(1).float(), float("nan"))
