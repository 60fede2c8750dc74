"""Suppression: features of the picture are taken away instead of noise being added.

Luo, McDermott, O'Riordan: Sampling Matters in Explanations (arXiv 2506.19442). The paper's operator is not public; this
project has six of its own, compared in docs/sampling.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.explainers.samplers import Chain, Draw, Noise, Sampler

OPERATORS = ("field", "multiscale", "gain", "patch", "pixel", "lowpass")
OCTAVES = 3
# what the sweep on real photos chose, with the defaults below (docs/sampling.md)
NOISE = 0.05
FILL = "blur"


@dataclass(frozen=True)
class Suppression(Sampler):
    """x' = start + s * (x - start), with a random s in [0, 1]; `keep` is the least of every factor of s.

    "field": a smooth random field, one gain U(keep, 1) a cell, bilinear between them.
    "multiscale": the mean of such fields at cells of 1, 2 and 4 times the size.
    "gain": one gain U(keep, 1) a cell of a grid with random offset, with hard edges.
    "patch": whole cells of such a grid kept or dropped, at a keep-rate drawn from U(keep, 1) for each sample.
    "pixel": single pixels kept or dropped in the same way.
    "lowpass": the finest details go: a smooth cut-off, log-uniform between a cell's frequency and the pixels' own.

    Attributes:
        cell: in pixels of the model's frame.
        fade: times one more gain U(keep, 1) for the whole picture, so that the samples also lie along the path of
            integrated gradients.
    """

    operator: str = "gain"
    cell: int = 16
    keep: float = 0.2
    fade: bool = False

    def visit(self, draw: Draw) -> Tensor:
        difference = draw.images - draw.start
        if self.operator == "lowpass":
            kept = self._smoothed(draw, difference)
        else:
            kept = difference * self._strength(draw)
        if self.fade:  # its random numbers go by an older name of it, so that maps stay what they were
            kept = kept * self._scaled(draw.uniform(1, use="contrast")).view(-1, 1, 1, 1)
        return draw.start + kept

    def _strength(self, draw: Draw) -> Tensor:
        """[K, 1, H, W]: s."""
        if self.operator == "field":
            return self._field(draw, self.cell)
        if self.operator == "multiscale":
            fields = [self._field(draw, self.cell << octave, use=f"octave{octave}") for octave in range(OCTAVES)]
            return torch.stack(fields).mean(0)
        if self.operator == "gain":
            return _hard_cells(draw, self._scaled(draw.uniform(*_grid(draw, self.cell))), self.cell)
        rate = self._scaled(draw.uniform(1, use="rate")).view(-1, 1, 1)
        if self.operator == "patch":
            kept = (draw.uniform(*_grid(draw, self.cell)) < rate).to(draw.images.dtype)
            return _hard_cells(draw, kept, self.cell)
        return (draw.uniform(*draw.images.shape[-2:]) < rate).to(draw.images.dtype).unsqueeze(1)

    def _scaled(self, draws: Tensor) -> Tensor:
        return self.keep + (1 - self.keep) * draws

    def _field(self, draw: Draw, cell: int, use: str = "") -> Tensor:
        gains = self._scaled(draw.uniform(*_grid(draw, cell), use=use)).unsqueeze(1)
        return F.interpolate(gains, draw.images.shape[-2:], mode="bilinear", align_corners=True)

    def _smoothed(self, draw: Draw, difference: Tensor) -> Tensor:
        """[K, 3, H, W] without its fine details: first-order roll-off above the cut-off."""
        height, width = difference.shape[-2:]
        vertical = torch.fft.fftfreq(height, device=difference.device)[:, None]
        horizontal = torch.fft.rfftfreq(width, device=difference.device)[None, :]
        frequency = (vertical.square() + horizontal.square()).sqrt()
        lowest = 0.5 / self.cell  # cycles a pixel; 0.5 is the finest there is
        part = self._scaled(draw.uniform(1, use="cut")).view(-1, 1, 1, 1)
        cut = lowest * (0.5 / lowest) ** part
        spectrum = torch.fft.rfft2(difference) / (1 + (frequency / cut).square())
        return torch.fft.irfft2(spectrum, s=(height, width))


def suppression(samples: int, noise: float = NOISE, **how: Any) -> Sampler:
    """Suppression (its attributes in `how`), then a little pixel noise of standard deviation `noise`, if any."""
    alone = Suppression(samples, **how)
    return Chain(samples, (alone, Noise(samples, noise))) if noise else alone


def _grid(draw: Draw, cell: int) -> tuple[int, int]:
    """Rows and columns of cells: one more than fits, so that the grid can be shifted by up to a cell."""
    height, width = draw.images.shape[-2:]
    return -(-height // cell) + 1, -(-width // cell) + 1


def _hard_cells(draw: Draw, cells: Tensor, size: int) -> Tensor:
    """[K, rows, columns] -> [K, 1, H, W], the grid shifted at random."""
    height, width = draw.images.shape[-2:]
    shift = (draw.uniform(2, use="shift") * size).long()
    y = (torch.arange(height, device=cells.device) + shift[:, :1]) // size
    x = (torch.arange(width, device=cells.device) + shift[:, 1:]) // size
    k = torch.arange(len(cells), device=cells.device).view(-1, 1, 1)
    return cells[k, y[:, :, None], x[:, None, :]].unsqueeze(1)
