"""How much the map says about the picture, in the sense of Luo, McDermott, O'Riordan (arXiv 2506.19442).

The paper's explanation certainty is the probability of the picture given its map, bounded from below on average by
exp(I(x; z) - H(x)). How it is measured there is not public; both measures here are this project's choice. They are
taken within one picture: its pixels are the sample, x is their luminance, z the map's absolute value, and both are cut
into bins by rank, so that neither brightness contrast nor the map's scale matters. Position is ignored: x and z are
compared pixel by pixel.

Bias. A histogram of 64 x 64 cells finds information where there is none, about 63 * 63 / (2 N) nats for N pixels: 0.04
at 224 x 224 (1 % of log 64), but more than 1 at 32 x 32, where formulas such as Miller and Madow's no longer hold. So
chance is measured: the map's pixels are shuffled, and the mean information that is left, E, is taken off on both sides
of the fraction, as in the adjusted mutual information of Vinh, Epps, Bailey (JMLR 2010). Independent noise scores 0 on
average (slightly negative values happen), identical maps score 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.explainers.controls import luminance
from core.metrics.metric import Case, Metric, register
from core.metrics.ranking import average_ranks, shuffles
from core.parameters import Parameters, parameter

SHUFFLES = 4  # at 224 x 224 the information left by one shuffle varies by 0.001 nats


def binned(values: Tensor, bins: int) -> Tensor:
    """[B, P] -> [B, P] bin numbers: equally many pixels in each, save that equal values share a bin."""
    return ((average_ranks(values) - 0.5) / values.shape[1] * bins).long().clamp(0, bins - 1)


def entropy(codes: Tensor, cells: int) -> Tensor:
    """[B, P] cell numbers below `cells` -> [B] float64: entropy of their histogram in nats."""
    rows = torch.arange(len(codes), device=codes.device).view(-1, 1)
    counts = torch.bincount((codes + rows * cells).flatten(), minlength=len(codes) * cells)
    return torch.special.entr(counts.view(-1, cells).double() / codes.shape[1]).sum(1)


@dataclass(frozen=True)
class Information:
    """[B] each, in nats: entropies of picture and map, their information, and what chance alone gives."""

    picture: Tensor
    map: Tensor
    shared: Tensor
    chance: Tensor


def information(case: Case, bins: int) -> Information:
    """Between the luminance of each picture and the absolute value of its map."""
    x = binned(luminance(case.images).flatten(1), bins)
    z = binned(case.values.abs().flatten(1), bins)
    picture, map_ = entropy(x, bins), entropy(z, bins)

    def shared(other: Tensor) -> Tensor:
        return picture + map_ - entropy(x * bins + other, bins * bins)

    chance = torch.zeros_like(picture)
    for n in range(SHUFFLES):
        chance += shared(z.gather(1, shuffles(z.shape[1], case.seeds, n, z.device, salt="certainty"))) / SHUFFLES
    return Information(picture, map_, shared(z), chance)


@dataclass(frozen=True)
class CertaintyParameters(Parameters):
    bins: int = parameter(64, "Bins a side of the histogram of luminance and map", low=2, high=256, step=1)


class _Certainty(Metric):
    family = "certainty"
    higher_is_better = True
    reference = (
        "This project's proxy for Luo, McDermott, O'Riordan: Sampling Matters in Explanations (arXiv 2506.19442)"
    )
    parameters = CertaintyParameters
    random = True


@register
class Certainty(_Certainty):
    """2 (I - E) / (H(x) + H(z) - 2 E), E the information of a shuffled map; NaN on a picture of one luminance."""

    name = "certainty"
    title = "Certainty"
    summary = "How much map and brightness tell of each other, from 0 (as much as chance) to 1 (all)."
    usual = True

    def judge(self, case: Case, parameters: CertaintyParameters) -> Tensor:
        i = information(case, parameters.bins)
        room = i.picture + i.map - 2 * i.chance
        return torch.where((i.picture > 0) & (room > 0), 2 * (i.shared - i.chance) / room, float("nan"))


@register
class CertaintyBound(_Certainty):
    """exp(I' - H(x)), where I' is I with [E, H(x)] stretched onto [0, H(x)], E the information of a shuffled map.

    1 where the map gives the luminance away, exp(-H(x)), about 1 / bins, where it says nothing. The inequality behind
    it holds on average, not for one picture. NaN on a picture of one luminance.
    """

    name = "certainty-bound"
    title = "Certainty bound"
    summary = "A lower bound on how surely a pixel's brightness can be guessed from the map; 1 is surely."

    def judge(self, case: Case, parameters: CertaintyParameters) -> Tensor:
        i = information(case, parameters.bins)
        room = i.picture - i.chance
        stretched = i.picture * (i.shared - i.chance) / room
        return torch.where((i.picture > 0) & (room > 0), (stretched - i.picture).exp(), float("nan"))
