"""The pictures of each step of a training, which depend on the seed and the step's number only."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import torch
from torch import Tensor

from core.runtime.randomness import generator
from core.training import together
from core.training.pictures import Batch, Frames


def order(count: int, seed: int, epoch: int, name: str) -> list[int]:
    """The pictures of an epoch, in the order in which they are seen."""
    return torch.randperm(count, generator=generator(seed, name, "order", epoch)).tolist()


class PictureStage:
    """What stages share that learn from pictures: those of a step, and those held out."""

    name: str
    epochs: int

    def __init__(self, learn: Frames, held: Frames, *, size: int, mirror: bool, seed: int) -> None:
        """
        Args:
            learn, held: pictures to learn from, and to be judged by. size: how many a step, at most.
            mirror: turn about half of them round. seed: of all that is drawn.
        """
        self.learn, self.held, self.mirror, self.seed = learn, held, mirror, seed
        self.size = min(size, len(learn))
        self.steps = max(1, len(learn) // self.size)

    def batch(self, step: int) -> tuple[Batch, torch.Generator]:
        """Of a step, and random numbers for it."""
        epoch, within = divmod(step, self.steps)
        numbers = order(len(self.learn), self.seed, epoch, self.name)[within * self.size : (within + 1) * self.size]
        numbers = together.own(numbers)
        random = generator(self.seed, self.name, "step", step, *([together.rank()] if together.several() else []))
        flipped = (torch.rand(len(numbers), generator=random) < 0.5).tolist() if self.mirror else []
        return self.learn.batch(numbers, flipped), random

    def watched(self) -> Generator[tuple[Batch, torch.Generator]]:
        """Held-out pictures, with the same random numbers each time."""
        for start in together.own(range(0, len(self.held), self.size)):
            numbers = range(start, min(start + self.size, len(self.held)))
            yield self.held.batch(numbers), generator(self.seed, self.name, "held out", start)

    def mean(self, losses: Iterable[tuple[Tensor, int]]) -> float:
        """Over all held-out pictures, from the mean of each batch and how many it had."""
        device = self.held.classifier.device
        found = [(float(loss) * count, count) for loss, count in losses]
        loss, count = together.total([sum(one for one, _ in found), sum(n for _, n in found)], device)
        return loss / count
