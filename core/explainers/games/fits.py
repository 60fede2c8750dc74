"""Values of players from the scores of some coalitions: weighted least squares, and the sums over all."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

from core.explainers.games.coalitions import Drawn, all_coalitions

SINGULAR = 1e-9  # of the largest spread: what is less is not known from these coalitions
LEAST_LEFT = 1e-3  # of a residual's variance, after the fit
ROUNDS = 20  # of fit and noise in turn
ENOUGH = 1.5  # pairs a player, for errors of shrunk values
WIDTHS = torch.logspace(-6, 1, 40, dtype=torch.float64)  # of the greatest share's square


@dataclass(frozen=True)
class Worth:
    """What the players of one picture are worth, in float64.

    Attributes:
        values: [P]. error: [P] standard errors; None where they are exact, or where there are too few coalitions to
            know. interactions: [P, P], or None.
    """

    values: Tensor
    error: Tensor | None = None
    interactions: Tensor | None = None


def shapley_fit(coalitions: Drawn, gains: Tensor, total: float, shrink: bool = False) -> Worth:
    """KernelSHAP: the additive game that is nearest under the Shapley kernel and exact for the full coalition.

    Lundberg, Lee (NeurIPS 2017). The constraint is eliminated exactly: only shares that sum to nothing are fitted. The
    errors are those of the pairs that were drawn (sandwich, Covert and Lee, AISTATS 2021); sizes that are all there
    have none. They are not known where no more pairs were drawn than tell the players apart.

    Args:
        gains: [M], each coalition's score less that of the empty one. total: the same of the full one.
        shrink: pull values toward equal shares as far as the draw of the pairs leaves them open; see `_shrunk`.
    """
    players = coalitions.present.shape[1]
    if players == 1:
        return Worth(torch.tensor([total], dtype=torch.float64))
    present, weights = coalitions.present.double(), coalitions.weights
    spread = _centred((present.T * weights) @ present)
    # from equal shares on; where coalitions are too few to tell, they stay equal
    left = gains - present.sum(1) * (total / players)
    pull = present.T @ (weights * left)
    if shrink and _drawn_pairs(coalitions) > 1:
        shares, error = _shrunk(coalitions, left, spread, pull)
        return Worth(total / players + shares, error)
    inverse, whole = _inverse(spread + spread.diagonal().mean() / players)  # equal shares stay as they are
    projection = _centred(inverse)
    values = total / players + projection @ pull
    error = _error(coalitions, present, gains - present @ values, projection) if whole else None
    return Worth(values, error)


def _shrunk(coalitions: Drawn, left: Tensor, spread: Tensor, pull: Tensor) -> tuple[Tensor, Tensor | None]:
    """[P] shares that sum to nothing, and their standard errors, which are not known from very few pairs.

    This project's addition, by hierarchical Bayes: shares are taken to come from a normal distribution around 0, and
    each direction among the players is pulled to 0 as far as the draw leaves it open (its sandwich variance). Sizes
    that are all there leave nothing open, so with all coalitions the fit is the plain one. Errors are the posterior's,
    right on average over the players.

    Args:
        left: [M], what equal shares leave of the gains. spread: [P, P], centred. pull: [P].
    """
    known, present = coalitions.known, coalitions.present[coalitions.known :].double()
    basis = _contrasts(len(spread))
    depths, directions = torch.linalg.eigh(basis.T @ spread @ basis)
    depths, basis = depths.clamp(min=SINGULAR * float(depths[-1])), basis @ directions  # [P - 1], [P, P - 1]
    pulled = basis.T @ pull
    # a pair is one equation, as its halves mirror each other
    own, sides = 2 * coalitions.weights[known::2], present[::2] @ basis
    apart, same = (left[known::2] - left[known + 1 :: 2]) / 2, _same(present[::2] - 0.5)
    gain, error = torch.zeros_like(depths), depths
    for _ in range(ROUNDS):  # what is noise is known from the fit, which depends on the noise
        leverage = torch.zeros_like(own).index_add_(0, same, own * (sides.square() @ gain))[same]
        # HC3: what a pair decides by itself says nothing of its noise
        residuals = (apart - sides @ (gain * pulled)) / (1 - leverage).clamp(min=LEAST_LEFT)
        noise = ((own * residuals)[:, None] * sides).square().sum(0)
        gain, error = _posterior(depths, pulled, noise)
    enough = known / 2 + len(own) >= ENOUGH * len(spread)
    return basis @ (gain * pulled), (basis.square() @ error).sqrt() if enough else None


def _posterior(depths: Tensor, pulled: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Of shares that pull in each direction with depth * share + noise: what to multiply the pull by, and variances.

    All widths of the shares' distribution count by their likelihood, and before that alike (Gelman 2006): the likeliest
    one alone may be nothing, as if it were certain that all shares are equal. Everything is [P - 1].
    """
    tiny = torch.finfo(depths.dtype).tiny
    widths = (pulled / depths).square().max().clamp(min=tiny) * WIDTHS  # variances [L]
    depths, pulled, noise = depths[:, None], pulled[:, None], noise[:, None]
    spread = (depths.square() * widths + noise).clamp(min=tiny)  # [P - 1, L]
    likelihood = -0.5 * (spread.log() + pulled.square() / spread).sum(0) + 0.5 * widths.log()
    weights = likelihood.softmax(0)
    gains = depths * widths / spread
    gain = gains @ weights
    between = ((gains - gain[:, None]) * pulled).square() @ weights
    return gain, (widths * noise / spread) @ weights + between


def _contrasts(players: int) -> Tensor:
    """[P, P - 1]: an orthonormal basis of what sums to nothing (Helmert's)."""
    rows = torch.arange(players, dtype=torch.float64)[:, None]
    columns = torch.arange(1, players, dtype=torch.float64)[None]
    helmert = torch.where(rows < columns, 1.0, torch.where(rows == columns, -columns, 0.0))
    return helmert / (columns * (columns + 1)).sqrt()


def _drawn_pairs(coalitions: Drawn) -> int:
    return (len(coalitions) - coalitions.known) // 2


def _same(sides: Tensor) -> Tensor:
    """[N]: a number for each pair, equal where the same was drawn twice.

    Args:
        sides: [N, P], 0.5 for players of its first half, and -0.5 for others.
    """
    return (sides * sides[:, :1]).unique(dim=0, return_inverse=True)[1]


def _centred(matrix: Tensor) -> Tensor:
    """Less the means of its rows and columns."""
    matrix = matrix - matrix.mean(0)
    return matrix - matrix.mean(1, keepdim=True)


def banzhaf_fit(coalitions: Drawn, gains: Tensor, total: float) -> Worth:
    """Banzhaf values: the additive game that is nearest where each coalition counts the same.

    Hammer, Holzman (1992): its coefficients are the Banzhaf values; arguments as of `shapley_fit`.
    """
    players = coalitions.present.shape[1]
    if players == 1:
        return Worth(torch.tensor([total], dtype=torch.float64))
    ends = torch.tensor([[False] * players, [True] * players])
    part = 2.0 ** (1 - players)  # of all coalitions, the empty and the full one
    whole = Drawn(
        torch.cat([ends, coalitions.present]),
        torch.cat([torch.full((2,), part / 2, dtype=torch.float64), coalitions.weights * (1 - part)]),
        2 + coalitions.known,
    )
    gains = torch.cat([torch.tensor([0.0, total], dtype=torch.float64), gains])
    present = torch.cat([whole.present.double(), torch.ones(len(whole), 1, dtype=torch.float64)], 1)
    inverse, known = _inverse((present.T * whole.weights) @ present)
    values = inverse @ (present.T @ (whole.weights * gains))
    error = _error(whole, present, gains - present @ values, inverse) if known else None
    return Worth(values[:-1], None if error is None else error[:-1])


def _inverse(matrix: Tensor) -> tuple[Tensor, bool]:
    """Of a symmetric matrix without negative directions, [N, N]; and whether it says something in all of them.

    Where it does not, what is multiplied by the inverse stays near 0.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    spread = factor.diagonal().square()
    if not failed and spread.min() > SINGULAR * spread.max():
        return torch.cholesky_inverse(factor), True
    ridge = SINGULAR * float(matrix.diagonal().max()) or 1.0
    return torch.cholesky_inverse(
        torch.linalg.cholesky(matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype))
    ), False


def _error(coalitions: Drawn, present: Tensor, residuals: Tensor, inverse: Tensor) -> Tensor | None:
    """[N], from how much the pairs that were drawn pull apart, with HC2 (MacKinnon, White 1985).

    A pair is one equation, as its halves mirror each other. The more it decides by itself (its leverage), the smaller
    its residual is made by the fit: with a player for every two equations most of it may be gone.
    """
    known, players = coalitions.known, coalitions.present.shape[1]
    pairs = _drawn_pairs(coalitions)
    if pairs < 2 or known / 2 + pairs <= players:
        return None
    pulls = (coalitions.weights * residuals)[:, None] * present
    pulls = pulls[known:].view(pairs, 2, -1).sum(1)
    sides = coalitions.present[known::2].double() - 0.5
    leverage = 2 * coalitions.weights[known::2] * ((sides @ inverse[:players, :players]) * sides).sum(1)
    if torch.zeros(pairs, dtype=torch.float64).index_add_(0, _same(sides), leverage).max() > 1 - LEAST_LEFT:
        return None  # some value hangs on one pair, which leaves no residual however often it was drawn
    pulls = pulls / (1 - leverage).sqrt()[:, None]
    pulls = pulls - pulls.mean(0)
    return ((pulls @ inverse).square().sum(0) * (pairs / (pairs - 1))).sqrt()


def exact_shapley(scores: Tensor, interactions: bool) -> Worth:
    """Shapley values, and what two are worth together, by their sums over all coalitions.

    Interactions are the Shapley interaction index of pairs (Grabisch, Roubens 1999): positive where two need each
    other, negative where either is enough.

    Args:
        scores: [2^P], that of row n of `all_coalitions`.
    """
    scores = scores.double()
    players = len(scores).bit_length() - 1
    present = all_coalitions(players)
    sizes = present.sum(1)
    single = _size_weights(players, 1)
    values = torch.empty(players, dtype=torch.float64)
    for i in range(players):
        without = ~present[:, i]
        numbers = without.nonzero().flatten()
        values[i] = (single[sizes[without]] * (scores[numbers + 2**i] - scores[numbers])).sum()
    if not interactions or players < 2:
        return Worth(values, interactions=torch.zeros(players, players) if interactions else None)
    double = _size_weights(players, 2)
    pairs = torch.zeros(players, players, dtype=torch.float64)
    for i in range(players):
        for j in range(i):
            without = ~(present[:, i] | present[:, j])
            n = without.nonzero().flatten()
            gain = scores[n + 2**i + 2**j] - scores[n + 2**i] - scores[n + 2**j] + scores[n]
            pairs[i, j] = pairs[j, i] = (double[sizes[without]] * gain).sum()
    return Worth(values, interactions=pairs)


def _size_weights(players: int, order: int) -> Tensor:
    """[P - order + 1]: the weight of a coalition of each size, of players other than the `order` in question."""
    others = players - order
    return torch.tensor([1 / (comb(others, size) * (others + 1)) for size in range(others + 1)], dtype=torch.float64)
