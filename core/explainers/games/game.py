"""A game a picture: coalitions of its players in, what the classifier says of them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import torch
from torch import Tensor

from core.classifier import Classifier, Scale
from core.errors import UserError
from core.explainers.games.dropped_tokens import TokenGate, token_gate
from core.explainers.games.players import Players, check_grid, players_of
from core.fills import PLATES, fill_plate
from core.job import Job
from core.parameters import Parameters, parameter
from core.passes import Turns, in_turns, scored

TOKENS = "tokens"
FILLS = (*PLATES, TOKENS)
AGAIN = 1.15  # a running estimate is made when there are so many times the passes of the last


def fill_parameter(default: str = "mean") -> Any:
    return parameter(
        default,
        "What stands where players are absent; tokens: nothing, a vision transformer is not given those patches",
        choices=FILLS,
    )


def scale_parameter(default: Scale = "logit") -> Any:
    return parameter(default, "What of the target is played for", choices=get_args(Scale))


@dataclass(frozen=True)
class GameParameters(Parameters):
    """Shared by the games: `regions`, `grid`, `fill`, `scale`, each of which a game declares where it stands best."""

    @property
    def played(self) -> tuple[str, int, str, Scale]:
        """(regions, grid, fill, scale)."""
        given = self.to_dict()
        return given["regions"], given["grid"], given["fill"], given["scale"]


def check_game(classifier: Classifier, job: Job, regions: str, grid: int, fill: str) -> None:
    """Raises UserError where such a game cannot be played with these pictures and this classifier."""
    check_grid(job, regions, grid)
    if fill == TOKENS and token_gate(classifier) is None:
        raise UserError(
            f"{classifier.name} cannot leave out tokens: it is not a plain vision transformer with a class token; "
            f"choose another fill ({', '.join(PLATES)})."
        )


class Game:
    """What a coalition is worth, for all pictures of a job.

    Attributes:
        players: who can be absent.
    """

    def __init__(self, classifier: Classifier, job: Job, players: Players, fill: str, scale: Scale) -> None:
        self.classifier, self.job, self.players, self.scale = classifier, job, players, scale
        self._plates = None if fill == TOKENS else fill_plate(job.images, fill)

    @classmethod
    def of(cls, classifier: Classifier, job: Job) -> Game:
        """The game that a job's parameters (`GameParameters`) describe."""
        regions, grid, fill, scale = job.parameters.played
        return cls(classifier, job, players_of(job, regions, grid), fill, scale)

    @cached_property
    def _gate(self) -> TokenGate:
        found = token_gate(self.classifier)
        assert found is not None  # `check_game` has seen to it
        return found

    def play(self, coalitions: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[int]]]:
        """Play each picture's own, yielding after each chunk.

        Args:
            coalitions: for each of the B pictures, [M, P] of booleans, on the CPU.

        Yields:
            [B, most M] on the CPU: the score of each coalition, 0 where it is still to come or there is none; and how
            many each picture has played. A coalition of all players is the picture itself.
        """
        device, counts = self.job.images.device, [len(one) for one in coalitions]
        found = torch.zeros(len(counts), max(counts, default=0), device=device)
        present = torch.zeros(*found.shape, max(self.players.counts), dtype=torch.bool)
        for b, own in enumerate(coalitions):
            present[b, : len(own), : own.shape[1]] = own
        present = present.to(device)
        turns = Turns.up_to(counts, device)
        for done in self._passes(turns, present, found):
            yield found.cpu(), turns.passed(done, len(counts))

    def _passes(self, turns: Turns, present: Tensor, found: Tensor) -> Iterator[int]:
        shape = tuple(self.job.images.shape[1:])
        if self._plates is not None:
            return scored(self.classifier, shape, turns, self._maker(present), self._score, found)

        def look(pictures: Tensor, numbers: Sequence[int]) -> None:
            kept = self.players.kept(pictures, present[pictures, list(numbers)].float())
            with torch.no_grad():
                logits = self._gate.logits(self.classifier, self.job.images[pictures], kept).to(found.device)
            found[pictures, list(numbers)] = self._score(logits, pictures)

        return in_turns(self.classifier, shape, turns, look, "tokens")

    def _maker(self, present: Tensor) -> Callable[[Tensor, Sequence[int]], Tensor]:
        def make(pictures: Tensor, numbers: Sequence[int]) -> Tensor:
            kept = self.players.kept(pictures, present[pictures, list(numbers)].float())
            assert self._plates is not None
            return torch.lerp(self._plates[pictures], self.job.images[pictures], kept.unsqueeze(1))

        return make

    def _score(self, logits: Tensor, pictures: Tensor) -> Tensor:
        return self.job.score(self.classifier, logits, pictures, self.scale)
