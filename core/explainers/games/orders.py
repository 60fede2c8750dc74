"""Orders in which players arrive: what each adds when it comes, and what two add together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.explainers.games.coalitions import permutations
from core.explainers.games.fits import Worth

LEAST = 5  # pairs of orders that tell something of their spread


@dataclass(frozen=True)
class Orders:
    """The coalitions that arrivals go through, for one picture.

    Attributes:
        present: [M, P], without the full and the empty coalition; order by order.
        orders: [O, P], players in order of arrival.
        interactions: after each arrival, also the coalition in which the next but one came first.
    """

    present: Tensor
    orders: np.ndarray
    interactions: bool

    @classmethod
    def of(cls, players: int, budget: int, seed: int, interactions: bool) -> Orders:
        """As many pairs of orders as the budget pays for, one at least."""
        if players < 2:
            return cls(torch.zeros(0, players, dtype=torch.bool), np.zeros((1, players), dtype=int), interactions)
        pairs = max(1, budget // (2 * cls._cost(players, interactions)))
        orders = permutations(players, pairs, seed)
        ranks = orders.argsort(1)
        arrived = ranks[:, None, :] < np.arange(1, players)[None, :, None]  # [O, P - 1, P]: after 1 .. P - 1 arrivals
        if interactions:
            # instead of the player at place t the one at t + 1: both then come to the same coalition
            swapped = np.concatenate([np.zeros_like(arrived[:, :1]), arrived[:, :-1]], 1)
            np.put_along_axis(swapped, orders[:, 1:, None], True, axis=2)
            arrived = np.stack([arrived, swapped], 2).reshape(len(orders), -1, players)
        return cls(torch.from_numpy(arrived.reshape(-1, players)), orders, interactions)

    @staticmethod
    def _cost(players: int, interactions: bool) -> int:
        return (players - 1) * (2 if interactions else 1)

    def worth(self, scores: Tensor) -> Worth:
        """Of the scores of the full, the empty and the first of the coalitions: [2 + m] float64.

        Values of players that have not come yet are 0; errors are known from a few pairs of orders on.
        """
        players = self.orders.shape[1]
        full, empty, own = float(scores[0]), float(scores[1]), scores[2:].numpy()
        if players < 2:
            return Worth(torch.full((players,), full - empty, dtype=torch.float64))
        cost = self._cost(players, self.interactions)
        chains = np.full((len(self.orders), cost), np.nan)
        chains.flat[: len(own)] = own
        after = chains[:, ::2] if self.interactions else chains  # [O, P - 1]
        ends = np.ones((len(self.orders), 1))
        path = np.concatenate([empty * ends, after, full * ends], 1)
        gains = np.full(self.orders.shape, np.nan)
        np.put_along_axis(gains, self.orders, np.diff(path, axis=1), axis=1)  # [O, P], by player
        values = _mean(gains)
        whole = np.asarray(np.isfinite(gains).reshape(len(gains) // 2, -1).all(1))  # pairs that are all there
        error = None
        if int(whole.sum()) >= LEAST and self._varied(whole):
            pairs = gains.reshape(-1, 2, players)[whole].mean(1)
            error = torch.from_numpy(pairs.std(0, ddof=1) / np.sqrt(len(pairs)))
        together = self._together(path, chains[:, 1::2]) if self.interactions else None
        return Worth(torch.from_numpy(values), error, together)

    def _varied(self, whole: np.ndarray) -> bool:
        """Whether no player came first or last in each of these pairs, which are then one draw again and again."""
        players = self.orders.shape[1]
        places = self.orders[::2][whole].argsort(1)
        return players == 2 or not ((places == 0) | (places == players - 1)).all(0).any()

    def _together(self, path: np.ndarray, swapped: np.ndarray) -> Tensor:
        """[P, P]: the Shapley interaction index; NaN for two that never came one after the other.

        That two do so at a coalition is as likely as its weight there, so the plain mean over such orders is unbiased.
        """
        players = self.orders.shape[1]
        gain = path[:, 2:] - path[:, 1:-1] - swapped + path[:, :-2]  # [O, P - 1]
        first, second = self.orders[:, :-1], self.orders[:, 1:]
        known = np.isfinite(gain)
        sums, counts = np.zeros((players, players)), np.zeros((players, players))
        np.add.at(sums, (first[known], second[known]), gain[known])
        np.add.at(counts, (first[known], second[known]), 1)
        sums, counts = sums + sums.T, counts + counts.T
        means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        np.fill_diagonal(means, 0)
        return torch.from_numpy(means)


def _mean(gains: np.ndarray) -> np.ndarray:
    known = np.isfinite(gains)
    return np.where(known, gains, 0).sum(0) / np.maximum(known.sum(0), 1)
