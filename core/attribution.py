"""What explainers make: one map of evidence, with how it was made, and the values of the players of a game."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from core.parameters import Parameters

Condition = Literal["fine", "flat", "broken"]
Unit = Literal["density", "intensity", "mask"]
"""What a map's values are. A density is so much of the score a pixel: summed over pixels it is a change of the score.
An intensity says where there is more and where less; its sum means nothing. A mask says from 0 to 1 how much of each
pixel is kept."""


@dataclass(frozen=True, eq=False)
class PlayerValues:
    """What each of the P regions of one picture that were taken away is worth, in units of the score.

    Attributes:
        values: [P] float32, on the CPU, as all here.
        standard_error: [P] Monte-Carlo error of `values`; None where the method is exact.
        interactions: [P, P], what two are worth together beyond each alone, symmetric; NaN for two that were never
            looked at together, None where not asked for.
        masks: [P, H, W] in [0, 1], or of booleans, in the model's frame; they add up to 1 at most.
        names: one each; None where a region has none.
    """

    values: Tensor
    standard_error: Tensor | None
    interactions: Tensor | None
    masks: Tensor
    names: tuple[str | None, ...]


@dataclass(frozen=True)
class Attribution:
    """One map of evidence for one target, raw, with how it was made.

    Attributes:
        values: [H, W] float32 in the model's frame, on the CPU, not normalised.
        standard_error: [H, W] Monte-Carlo error of `values`; None where the method is exact or knows no error.
        partial: True for a running estimate.
        signed: True if negative values mean evidence against the target.
        target, contrast: class indices; contrast None where the target is explained on its own.
        method, parameters, seed: enough to make it again; the seed as it was asked for, or given to `steps`.
        forward_passes, backward_passes: pictures sent through the classifier for this map, and back.
        seconds: computing time for this map (of a batch: its equal part).
        saturated: share of the samples, by their weight, where the probability hardly moves with its log-odds.
        converged: whether the error fell below the tolerance, which ended the sampling; None without a tolerance.
        convergence: (samples, relative error) after each chunk, for a plot.
        unit: what the values are.
        players: of methods that take regions away, what each of them is worth; None of others.
    """

    values: Tensor
    standard_error: Tensor | None
    partial: bool
    signed: bool
    target: int
    contrast: int | None
    method: str
    parameters: Parameters
    seed: int
    forward_passes: int
    backward_passes: int
    seconds: float
    saturated: float | None = None
    converged: bool | None = None
    convergence: tuple[tuple[int, float], ...] = ()
    unit: Unit = "intensity"
    players: PlayerValues | None = None

    @property
    def condition(self) -> Condition:
        """Whether there is anything to show: "flat" says no evidence, "broken" holds values that are not numbers."""
        if not bool(torch.isfinite(self.values).all()):
            return "broken"
        return "fine" if bool(says_something(self.values[None])) else "flat"

    @property
    def relative_error(self) -> float | None:
        """Mean standard error over mean absolute value; None where the method has none or it is not finite yet."""
        return None if self.standard_error is None else _relative_error(self.values, self.standard_error)


def says_something(values: Tensor) -> Tensor:
    """[B, H, W] -> [B]: the map is finite, and some pixel differs from another by more than rounding."""
    rows = values.flatten(1)
    span = rows.amax(1) - rows.amin(1)
    return torch.isfinite(rows).all(1) & (span > 1e-6 * rows.abs().amax(1))


def _relative_error(values: Tensor, error: Tensor) -> float | None:
    size = float(values.abs().mean())
    relative = float(error.mean()) / size if size > 0 else float("inf")
    return relative if math.isfinite(relative) else None
