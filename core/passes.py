"""Changed copies of pictures through a classifier, in chunks: the one loop under removals, games, transplants, metrics
and gradient integration.

A copy is made on the device when its turn comes and forgotten once it was looked at: nothing is held for each of them
but what is kept of its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.classifier import Classifier
from core.runtime.chunks import in_chunks

Look = Callable[[Tensor, Sequence[int]], None]  # (pictures [K], numbers, K of them)
Make = Callable[[Tensor, Sequence[int]], Tensor]  # the same -> copies [K, 3, H, W] in [0, 1]
Score = Callable[[Tensor, Tensor], Tensor]  # (logits [K, C], pictures [K]) -> [K, ...]


@dataclass(frozen=True)
class Turns:
    """Which copies pass, and in which order: copy `numbers[i]` of picture `pictures[i]`.

    Attributes:
        pictures: [N], rows of a batch.
        numbers: N of them, from 0.
    """

    pictures: Tensor
    numbers: Sequence[int]

    @classmethod
    def of(cls, pictures: Tensor, numbers: Sequence[int]) -> Turns:
        """These copies of each of these pictures ([A]); all get their next before any gets the one after, so that what
        is made of them grows together."""
        return cls(pictures.repeat(len(numbers)), [n for n in numbers for _ in range(len(pictures))])

    @classmethod
    def up_to(cls, counts: Sequence[int], device: torch.device) -> Turns:
        """The first `counts[b]` copies of each picture b, in the same order."""
        pairs = [(b, n) for n in range(max(counts, default=0)) for b, count in enumerate(counts) if n < count]
        return cls(torch.tensor([b for b, _ in pairs], dtype=torch.long, device=device), [n for _, n in pairs])

    def __len__(self) -> int:
        return len(self.numbers)

    def passed(self, done: int, count: int) -> list[int]:
        """How many copies each of `count` pictures has among the first `done`."""
        return torch.bincount(self.pictures[:done], minlength=count).tolist()


def in_turns(
    classifier: Classifier, shape: tuple[int, ...], turns: Turns, look: Look, kind: str = "forward"
) -> Iterator[int]:
    """Look at the copies in chunks, yielding how many are done after each.

    Args:
        shape: of a copy.
        look: makes some copies and sends them through the classifier, in whatever mode and as far back as it likes.
            Where memory runs out it is called again with fewer, so it adds to its sums last.
        kind: for the chunk tuner; passes of one kind cost the same.
    """

    def run(start: int, end: int) -> None:
        look(turns.pictures[start:end], turns.numbers[start:end])

    return in_chunks(classifier, len(turns), shape, kind, run)


def scored(
    classifier: Classifier, shape: tuple[int, ...], turns: Turns, make: Make, score: Score, into: Tensor
) -> Iterator[int]:
    """Forward passes alone: `into[b, n]` becomes the score of copy n of picture b. Yields as `in_turns`.

    Args:
        make: makes some copies.
        score: what is kept of their answers: a number each, or a few.
        into: [B, N, ...] float32, on the device where scores are kept.
    """

    def look(pictures: Tensor, numbers: Sequence[int]) -> None:
        with torch.no_grad():
            logits = classifier.logits(make(pictures, numbers)).to(into.device)
            into[pictures, list(numbers)] = score(logits, pictures)

    return in_turns(classifier, shape, turns, look)


def scores(classifier: Classifier, images: Tensor, count: int, make: Make, score: Score) -> Tensor:
    """All at once: [B, count] float32, the scores of the first `count` copies of each of `images` [B, 3, H, W]."""
    into = torch.zeros(len(images), count, device=images.device)
    turns = Turns.up_to([count] * len(images), images.device)
    for _ in scored(classifier, tuple(images.shape[1:]), turns, make, score, into):
        pass
    return into


def probability(classifier: Classifier, targets: Tensor) -> Score:
    """Keeps the probability of each picture's target ([B])."""
    return lambda logits, pictures: classifier.probabilities(logits).gather(1, targets[pictures][:, None])[:, 0]
