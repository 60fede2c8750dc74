"""What is trained, as the loop sees it; and what all stages share that learn from pictures."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from core.runtime.randomness import generator
from core.training import together
from core.training.pictures import Batch, Frames

CLIP = 1.0  # of the gradient's norm
WARM = 0.05  # part of the steps in which the rate rises


class Optimiser(Protocol):
    """What is needed of torch's optimisers, and of several of them as one."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def zero_grad(self, set_to_none: bool = True) -> None: ...

    def step(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Several:
    """Optimisers of different kinds as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self._parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self._parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self._parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self._parts, state_dict["parts"]):
            part.load_state_dict(state)


class Stage(Protocol):
    """One thing that is trained, epoch after epoch.

    Attributes:
        name: for people. epochs, steps: how many, and steps of an epoch.
        watch: steps after which held-out pictures are looked at.
        moves: what judges it learns too, so that losses of different times say nothing of which weights are better:
            the last ones are taken instead of those with the lowest held-out loss.
    """

    name: str
    epochs: int
    steps: int
    watch: int
    moves: bool

    def learning(self) -> nn.Module:
        """What learns."""
        ...

    def optimiser(self) -> Optimiser:
        """A new one, whose groups have their peak rates."""
        ...

    def rate(self, step: int, total: int) -> float:
        """Part of the peak rates at that step of so many."""
        ...

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of a step, which depends on its number, the weights and `memory` only; and what else is drawn."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Leave gradients in what learns."""
        ...

    def clip(self) -> None:
        """Bound them."""
        ...

    def memory(self) -> dict[str, Any]:
        """What a step depends on besides the weights, for `torch.save`."""
        ...

    def remember(self, memory: dict[str, Any]) -> None:
        """Take it back from a checkpoint."""
        ...

    def held_out(self) -> float:
        """The loss on held-out pictures, the same ones and the same subsets each time."""
        ...

    def noticed(self) -> list[str]:
        """One sentence on each thing that went amiss in the last epoch."""
        ...

    def finish(self) -> None:
        """The best weights are in place; called once before the next stage begins."""
        ...


def schedule(step: int, total: int) -> float:
    """Part of the peak rate: a straight rise, then half a cosine down to nothing."""
    warm = max(1, round(WARM * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def order(count: int, seed: int, epoch: int, name: str) -> list[int]:
    """The pictures of an epoch, in the order in which they are seen."""
    return torch.randperm(count, generator=generator(seed, name, "order", epoch)).tolist()


class PictureStage(ABC):
    """What stages share that learn from pictures: those of a step, and those held out."""

    name: str
    epochs: int
    moves = False

    def __init__(self, learn: Frames, held: Frames, *, size: int, mirror: bool, seed: int) -> None:
        """
        Args:
            learn, held: pictures to learn from, and to be judged by. size: how many a step, at most.
            mirror: turn about half of them round. seed: of all that is drawn.
        """
        self.learn, self.held, self.mirror, self.seed = learn, held, mirror, seed
        self.size = min(size, len(learn))
        self.steps = max(1, len(learn) // self.size)
        # where an epoch is a few pictures only, looking at what is held out would cost more than learning
        self.watch = self.steps * math.ceil(len(held) / (self.steps * self.size))
        self.watch_size = size

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
        for start in together.own(range(0, len(self.held), self.watch_size)):
            numbers = range(start, min(start + self.watch_size, len(self.held)))
            yield self.held.batch(numbers), generator(self.seed, self.name, "held out", start)

    def mean(self, losses: Iterable[tuple[Tensor, int]]) -> float:
        """Over all held-out pictures, from the mean of each batch and how many it had."""
        device = self.held.classifier.device
        found = [(float(loss) * count, count) for loss, count in losses]
        loss, count = together.total([sum(one for one, _ in found), sum(n for _, n in found)], device)
        return loss / count

    @abstractmethod
    def learning(self) -> nn.Module:
        """What learns."""

    def rate(self, step: int, total: int) -> float:
        return schedule(step, total)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.learning().parameters(), CLIP)

    def memory(self) -> dict[str, Any]:
        return {}

    def remember(self, memory: dict[str, Any]) -> None:  # noqa: B027 - most have nothing besides their weights
        """Nothing."""

    def noticed(self) -> list[str]:
        return []
