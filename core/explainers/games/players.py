"""Who can be absent: patches of a grid, superpixels, or a picture's own segments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from core.errors import UserError
from core.job import Job
from core.parameters import parameter
from core.regions import SEGMENTS, Regions, laid_out, regions_parameter
from core.superpixels import slic_labels


def players_parameter() -> Any:
    """What can be absent."""
    return regions_parameter(
        "patches", "superpixels", help="Who can be absent: patches of a grid, superpixels, or the picture's segments"
    )


def grid_parameter(default: int, high: int = 16) -> Any:
    """How fine patches and superpixels are."""
    return parameter(
        default, "Patches along each side of a square picture; in all, its square of patches or superpixels at most",
        low=2, high=high, step=1,
    )  # fmt: skip


class Players(ABC):
    """The players of one game a picture."""

    @property
    @abstractmethod
    def counts(self) -> list[int]:
        """How many each of the B pictures has."""

    @abstractmethod
    def kept(self, pictures: Tensor, present: Tensor) -> Tensor:
        """[K] rows of the batch, [K, P] of 0 and 1 -> [K, H, W] in [0, 1]: what of each pixel stays."""

    @abstractmethod
    def laid(self, values: Tensor) -> Tensor:
        """[B, P] -> [B, H, W]: each player's value over its pixels, divided by its area, on the same device."""

    @abstractmethod
    def regions(self) -> Regions:
        """Masks and names."""


class Cells(Players):
    """Players that share no pixel and leave none over."""

    def __init__(self, labels: Tensor, pictures: int) -> None:
        """[B, H, W], or [1, H, W] for all pictures: the number of the player that has the pixel."""
        self.labels = labels
        self._counts = (labels.amax((1, 2)) + 1).expand(pictures).tolist()

    @property
    def counts(self) -> list[int]:
        return self._counts

    def kept(self, pictures: Tensor, present: Tensor) -> Tensor:
        if len(self.labels) == 1:
            return present[:, self.labels[0].flatten()].view(len(present), *self.labels.shape[1:])
        return present.gather(1, self.labels[pictures].flatten(1)).view(len(present), *self.labels.shape[1:])

    def laid(self, values: Tensor) -> Tensor:
        numbers = self.labels.to(values.device).flatten(1).expand(len(values), -1)
        areas = torch.zeros_like(values).scatter_add_(1, numbers, torch.ones_like(numbers, dtype=values.dtype))
        return (values / areas.clamp(min=1)).gather(1, numbers).view(len(values), *self.labels.shape[1:])

    def regions(self) -> Regions:
        shared = len(self.labels) == 1
        masks = self.labels.cpu()[:, None] == torch.arange(max(self.counts)).view(1, -1, 1, 1)
        present = torch.arange(max(self.counts)) < torch.tensor(self.counts)[:, None]
        names = tuple((None,) * count for count in self.counts)
        return Regions(masks.expand(len(self.counts), -1, -1, -1) if shared else masks, present, names)


class Given(Players):
    """A picture's own regions, with soft edges; what none of them covers is never absent."""

    def __init__(self, given: Regions) -> None:
        self.given = given

    @property
    def counts(self) -> list[int]:
        return self.given.counts

    def kept(self, pictures: Tensor, present: Tensor) -> Tensor:
        absent = 1 - present
        out = present.new_empty(len(present), *self.given.masks.shape[-2:])
        for b in pictures.unique().tolist():  # one product a picture: its masks are never copied
            rows = pictures == b
            out[rows] = 1 - (absent[rows] @ self.given.masks[b].flatten(1)).view(-1, *out.shape[1:])
        return out.clamp(0, 1)

    def laid(self, values: Tensor) -> Tensor:
        return laid_out(values, self.given.masks.to(values.device))

    def regions(self) -> Regions:
        return self.given


def players_of(job: Job, kind: str, grid: int) -> Players:
    """The players that parameters of `players_parameter` and `grid_parameter` ask for."""
    if kind == SEGMENTS:
        assert job.regions is not None  # `BoundExplainer.steps` has seen to it
        return Given(job.regions)
    if kind == "patches":
        return Cells(patches(job.frame, grid)[None].to(job.images.device), job.size)
    labels = torch.stack([_superpixels(one, grid * grid) for one in job.images.cpu()])
    return Cells(labels.to(job.images.device), job.size)


def check_grid(job: Job, kind: str, grid: int) -> None:
    """Each player has a pixel.

    Raises:
        UserError: there are more players than pixels.
    """
    height, width = job.frame
    if kind != SEGMENTS and grid * grid > height * width:
        raise UserError(
            f"A picture of {height} x {width} pixels cannot be cut into {grid * grid} players; choose a coarser grid."
        )


def patches(frame: tuple[int, int], grid: int) -> Tensor:
    """[H, W]: the number of each pixel's patch, row by row; at most grid x grid of them."""
    return cells(frame, *grid_of(frame, grid))


def grid_of(frame: tuple[int, int], grid: int) -> tuple[int, int]:
    """Rows and columns of patches that are as square as the frame allows, grid x grid at most."""
    height, width = frame
    side = (height * width) ** 0.5 / grid
    rows, columns = (min(max(1, int(length / side + 1e-9)), length) for length in frame)
    rows = min(rows, max(1, grid * grid // columns))
    return rows, min(columns, grid * grid // rows)


@lru_cache(maxsize=16)
def cells(frame: tuple[int, int], rows: int, columns: int) -> Tensor:
    """[H, W]: the number of each pixel's cell, row by row."""

    def along(length: int, count: int) -> Tensor:
        return torch.div(torch.arange(length) * count, length, rounding_mode="floor")

    return along(frame[0], rows)[:, None] * columns + along(frame[1], columns)


def _superpixels(image: Tensor, count: int) -> Tensor:
    """[3, H, W] in [0, 1] -> [H, W], numbers from 0 on, `count` at most."""
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    for asked in range(count, 0, -1):  # SLIC may make some more than it was asked for
        labels = torch.from_numpy(slic_labels(pixels, asked).astype("int64"))
        numbers, own = labels.unique(return_inverse=True)
        if len(numbers) <= count:
            break
    return own.view(labels.shape)
