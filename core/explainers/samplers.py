"""Which pictures a gradient integration visits.

A sampler makes sample n of a picture from (its seed, n) alone, so that chunks and neighbours never change a map.
The suppression operators, the largest family, stand in suppression.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from core.runtime.randomness import normal, spread_order, uniform


@dataclass(frozen=True)
class Draw:
    """Which samples to make: K rows.

    Attributes:
        images: [K, 3, H, W] in [0, 1]; row k is the picture of sample `indices[k]`.
        start: [K, 3, H, W], what stands where nothing of the picture is left.
        seeds, indices: K each.
        salt: set apart the random numbers of samplers that work on the same sample.
    """

    images: Tensor
    start: Tensor
    seeds: Sequence[int]
    indices: Sequence[int]
    salt: str = ""

    def uniform(self, *shape: int, use: str = "") -> Tensor:
        """[K, *shape] in [0, 1)."""
        return uniform(shape, self.seeds, self.indices, self.images.device, self.salt + use)

    def normal(self, *shape: int, use: str = "") -> Tensor:
        """[K, *shape], standard normal."""
        return normal(shape, self.seeds, self.indices, self.images.device, self.salt + use)


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

    def begin(self, draw: Draw) -> Tensor:
        """[K, 3, H, W]: where each sample's way to the picture begins; usually the fill's plate."""
        return draw.start

    @abstractmethod
    def visit(self, draw: Draw) -> Tensor:
        """[K, 3, H, W]: the perturbed pictures."""


@dataclass(frozen=True)
class Identity(Sampler):
    """The picture itself: the plain gradient."""

    samples: int = 1
    random: ClassVar[bool] = False

    def visit(self, draw: Draw) -> Tensor:
        return draw.images


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

    def visit(self, draw: Draw) -> Tensor:
        positions = torch.as_tensor(
            self._nodes()[0][list(draw.indices)], dtype=draw.images.dtype, device=draw.images.device
        )
        return torch.lerp(draw.start, draw.images, positions.view(-1, 1, 1, 1))


@dataclass(frozen=True, eq=False)
class ExpectedPath(Sampler):
    """A random place on the line from a random reference picture.

    Erion et al.: Improving performance of deep learning models with axiomatic attribution priors and expected gradients
    (Nature Machine Intelligence 2021).

    Attributes:
        references: [R, 3, H, W] in [0, 1] to draw from; None draws a plain colour, uniform over all colours.
    """

    references: Tensor | None = None

    def begin(self, draw: Draw) -> Tensor:
        if self.references is None:
            return draw.uniform(3, use="colour").view(-1, 3, 1, 1).expand_as(draw.images)
        chosen = (draw.uniform(1, use="reference")[:, 0] * len(self.references)).long()
        return self.references.to(draw.images.device)[chosen]

    def visit(self, draw: Draw) -> Tensor:
        return torch.lerp(draw.start, draw.images, draw.uniform(1, use="position").view(-1, 1, 1, 1))


@dataclass(frozen=True)
class Noise(Sampler):
    """Pixel noise of standard deviation `sigma` around the picture, "gaussian" or "uniform".

    Smilkov et al.: SmoothGrad (2017).
    """

    sigma: float
    distribution: str = "gaussian"

    def visit(self, draw: Draw) -> Tensor:
        shape = draw.images.shape[1:]
        if self.distribution == "gaussian":
            return draw.images + self.sigma * draw.normal(*shape)
        return draw.images + self.sigma * 12**0.5 * (draw.uniform(*shape) - 0.5)


@dataclass(frozen=True)
class Chain(Sampler):
    """One sampler after another: what the first makes of the picture, the next perturbs further."""

    links: tuple[Sampler, ...]

    def weights(self) -> Sequence[float]:
        product = np.prod([link.weights() for link in self.links], axis=0)
        return product.tolist()

    def begin(self, draw: Draw) -> Tensor:
        return self.links[0].begin(draw)

    def visit(self, draw: Draw) -> Tensor:
        images = draw.images
        for number, link in enumerate(self.links):
            salt = f"{draw.salt}{number or ''}"
            images = link.visit(Draw(images, draw.start, draw.seeds, draw.indices, salt))
        return images
