"""Who is present: the coalitions that a method plays, drawn from a picture's seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb, lgamma

import numpy as np
import torch
from torch import Tensor

from core.runtime.randomness import derived_seed

ENUMERATED = 16  # players whose coalitions can all be played: 65,536


@dataclass(frozen=True)
class Drawn:
    """Coalitions with the weight that each has in a sum over all there are.

    Attributes:
        present: [M, P] of booleans.
        weights: [M] float64; over all M they add up to 1.
        known: how many of the first are there for certain; the rest were drawn. Everywhere a coalition is followed by
            its complement.
    """

    present: Tensor
    weights: Tensor
    known: int

    def __len__(self) -> int:
        return len(self.present)

    def up_to(self, count: int) -> Drawn:
        """The first of them, as if no more had been drawn: whole pairs, which stand for all that are not there."""
        known = min(self.known, count)
        count = known + (count - known) // 2 * 2
        weights = self.weights[:count].clone()
        if count > known:
            weights[known:] *= float(self.weights[known:].sum() / weights[known:].sum())
        return Drawn(self.present[:count], weights, known)


@lru_cache(maxsize=ENUMERATED)
def all_coalitions(players: int) -> Tensor:
    """[2^P, P] of booleans: row n has the players of whose bits n is made."""
    numbers = torch.arange(2**players)
    return (numbers[:, None] >> torch.arange(players) & 1).bool()


def size_weights(players: int, law: str) -> np.ndarray:
    """[P - 1] adding up to 1: how often a coalition has 1 .. P - 1 players.

    "shapley": the Shapley kernel, which gives size k the weight 1 / (k (P - k)). "uniform": every coalition is as
    likely as any other, the empty and the full one left out.
    """
    sizes = np.arange(1, players)
    if law == "shapley":
        weights = 1 / (sizes * (players - sizes))
    else:
        logs = np.array([lgamma(players + 1) - lgamma(k + 1) - lgamma(players - k + 1) for k in sizes.tolist()])
        weights = np.exp(logs - logs.max())
    return weights / weights.sum()


def drawn(players: int, budget: int, seed: int, law: str = "shapley") -> Drawn:
    """Up to `budget` coalitions that are neither empty nor full.

    All of them where the budget allows. Otherwise whole sizes from the smallest and largest on, as long as drawing
    would take as many (as in the package shap), and pairs drawn from the others: a coalition and its complement, its
    size exact, its players a random choice (Covert, Lee: Improving KernelSHAP, AISTATS 2021).
    """
    if players < 2:
        return Drawn(torch.zeros(0, players, dtype=torch.bool), torch.zeros(0, dtype=torch.float64), 0)
    weights = size_weights(players, law)
    rows, row_weights, left, mass = [], [], budget, 1.0
    low = 1
    while low <= players - low and left > 0:
        sizes = sorted({low, players - low})
        each = float(weights[low - 1])
        share = each * len(sizes)
        count = sum(comb(players, size) for size in sizes)
        if count > left or (share / mass * left < count - 1e-9 and _remaining(players, low) > left):
            break
        rows.append(_of_sizes(players, low))
        row_weights += [each / comb(players, low)] * count
        left, mass, low = left - count, max(mass - share, 0.0), low + 1
    known = len(row_weights)
    if low <= players - low and left > 1:
        pairs = left // 2
        rows.append(_pairs(players, pairs, weights, low, seed))
        row_weights += [mass / (2 * pairs)] * (2 * pairs)
    present = torch.from_numpy(np.concatenate(rows)) if rows else torch.zeros(0, players, dtype=torch.bool)
    return Drawn(present, torch.tensor(row_weights, dtype=torch.float64), known)


def _remaining(players: int, low: int) -> int:
    return sum(comb(players, size) for size in range(low, players - low + 1))


def _of_sizes(players: int, low: int) -> np.ndarray:
    """All coalitions of `low` or P - `low` players, each followed by its complement."""
    chosen = np.array(list(combinations(range(players), low)))
    if 2 * low == players:
        chosen = chosen[: len(chosen) // 2]  # those with the first player; the rest are their complements
    rows = np.zeros((len(chosen), players), dtype=bool)
    np.put_along_axis(rows, chosen, True, axis=1)
    return np.stack([rows, ~rows], 1).reshape(-1, players)


def _pairs(players: int, pairs: int, weights: np.ndarray, low: int, seed: int) -> np.ndarray:
    """[2 * pairs, P]: sizes from `low` to P - low."""
    allowed = weights[low - 1 : players - low]
    numbers = _uniform(seed, pairs, players + 1, "coalitions")
    sizes = low + np.searchsorted(np.cumsum(allowed / allowed.sum()), numbers[:, 0]).clip(max=len(allowed) - 1)
    ranks = numbers[:, 1:].argsort(1).argsort(1)
    first = ranks < sizes[:, None]
    return np.stack([first, ~first], 1).reshape(2 * pairs, players)


def permutations(players: int, pairs: int, seed: int) -> np.ndarray:
    """[2 * pairs, P]: random orders, each followed by its reverse."""
    orders = _uniform(seed, pairs, players, "permutations").argsort(1)
    return np.stack([orders, orders[:, ::-1]], 1).reshape(2 * pairs, players)


def _uniform(seed: int, rows: int, columns: int, salt: str) -> np.ndarray:
    """Row n is the same however many rows are asked for."""
    return np.random.Generator(np.random.PCG64(derived_seed(seed, salt))).random((rows, columns))
