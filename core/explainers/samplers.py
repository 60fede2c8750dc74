"""Which pictures a gradient integration visits.

A sampler makes sample n of a picture from (its seed, n) alone, so that chunks and neighbours never change a map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.runtime.randomness import normal, spread_order, uniform


@dataclass(frozen=True)
class Sampler(ABC):
    """Draws the perturbed pictures of a gradient integration.

    Attributes:
        samples: how many a picture.
        random: samples are independent draws, so their spread gives a standard error.
    """

    samples: int
    random: ClassVar[bool] = True

    def weights(self) -> Sequence[float]:
        """One a sample; they need not sum to one."""
        return [1.0] * self.samples

    @abstractmethod
    def draw(self, images: Tensor, plates: Tensor, seeds: Sequence[int], indices: Sequence[int]) -> Tensor:
        """Perturbed pictures.

        Args:
            images: [K, 3, H, W] in [0, 1]; row k is the picture of sample `indices[k]`.
            plates: [K, 3, H, W], what stands where features are suppressed.
            seeds, indices: K each.

        Returns:
            [K, 3, H, W].
        """


@dataclass(frozen=True)
class Identity(Sampler):
    """The picture itself: the plain gradient."""

    samples: int = 1
    random: ClassVar[bool] = False

    def draw(self, images: Tensor, plates: Tensor, seeds: Sequence[int], indices: Sequence[int]) -> Tensor:
        return images


@dataclass(frozen=True)
class Path(Sampler):
    """The straight line from plate to picture at Gauss-Legendre nodes, visited in spread order.

    Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks (ICML 2017).
    """

    random: ClassVar[bool] = False

    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        nodes, weights = np.polynomial.legendre.leggauss(self.samples)
        order = spread_order(self.samples)
        return (nodes[order] + 1) / 2, weights[order] / 2

    def weights(self) -> Sequence[float]:
        return self._nodes()[1].tolist()

    def draw(self, images: Tensor, plates: Tensor, seeds: Sequence[int], indices: Sequence[int]) -> Tensor:
        positions = torch.as_tensor(self._nodes()[0][list(indices)], dtype=images.dtype, device=images.device)
        return plates + positions.view(-1, 1, 1, 1) * (images - plates)


@dataclass(frozen=True)
class Gaussian(Sampler):
    """Pixel noise around the picture. Smilkov et al.: SmoothGrad (2017)."""

    sigma: float

    def draw(self, images: Tensor, plates: Tensor, seeds: Sequence[int], indices: Sequence[int]) -> Tensor:
        return images + self.sigma * normal(images.shape[1:], seeds, indices, images.device)


@dataclass(frozen=True)
class Suppression(Sampler):
    """Features are suppressed towards the plate instead of noise being added.

    Luo, McDermott, O'Riordan: Sampling Matters in Explanations (arXiv 2506.19442). The paper's operator is not public;
    this project uses two, both x' = plate + s * (x - plate):
    "field": s is a smooth random field (one gain a cell, U(keep, 1), bilinear) times one global contrast U(keep, 1);
    "patch": s keeps or drops whole cells of a grid with a random offset, at a keep-rate drawn from U(keep, 1).
    """

    operator: str
    cell: int
    keep: float

    def draw(self, images: Tensor, plates: Tensor, seeds: Sequence[int], indices: Sequence[int]) -> Tensor:
        gain = self._field(images, seeds, indices) if self.operator == "field" else self._patch(images, seeds, indices)
        return plates + gain * (images - plates)

    def _grid(self, images: Tensor) -> tuple[int, int]:
        # one cell more than fits, so that the grid can be shifted by up to a cell
        return -(-images.shape[-2] // self.cell) + 1, -(-images.shape[-1] // self.cell) + 1

    def _field(self, images: Tensor, seeds: Sequence[int], indices: Sequence[int]) -> Tensor:
        rows, columns = self._grid(images)
        draws = uniform((rows * columns + 1,), seeds, indices, images.device)
        draws = self.keep + (1 - self.keep) * draws
        cells, contrast = draws[:, :-1].view(-1, 1, rows, columns), draws[:, -1].view(-1, 1, 1, 1)
        return contrast * F.interpolate(cells, images.shape[-2:], mode="bilinear", align_corners=True)

    def _patch(self, images: Tensor, seeds: Sequence[int], indices: Sequence[int]) -> Tensor:
        rows, columns = self._grid(images)
        height, width = images.shape[-2:]
        draws = uniform((rows * columns + 3,), seeds, indices, images.device)
        rate = self.keep + (1 - self.keep) * draws[:, -1:]
        kept = (draws[:, :-3] < rate).to(images.dtype).view(-1, rows, columns)
        shift = (draws[:, -3:-1] * self.cell).long()
        y = (torch.arange(height, device=images.device) + shift[:, :1]) // self.cell
        x = (torch.arange(width, device=images.device) + shift[:, 1:]) // self.cell
        k = torch.arange(len(kept), device=images.device).view(-1, 1, 1)
        return kept[k, y[:, :, None], x[:, None, :]].unsqueeze(1)
