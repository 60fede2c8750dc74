"""Players' values by their games: fits to some coalitions, orders of arrival, or all coalitions there are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from core.classifier import Classifier
from core.errors import UserError
from core.explainer import Estimate, Explainer, Players, register
from core.explainers.games.coalitions import ENUMERATED, Drawn, all_coalitions, drawn
from core.explainers.games.fits import Worth, banzhaf_fit, exact_shapley, shapley_fit
from core.explainers.games.game import AGAIN, Game, GameParameters, check_game, fill_parameter, scale_parameter
from core.explainers.games.orders import Orders
from core.explainers.games.players import grid_parameter, players_of, players_parameter
from core.job import Job
from core.parameters import parameter
from core.runtime.threads import on_threads, usual_threads

ENDS = 2  # the full and the empty coalition, which are played first


def samples_parameter(but: str = "") -> Any:
    return parameter(512, f"How many coalitions are tried, at most{but}", low=2, high=8192, step=2)


@dataclass(frozen=True)
class SampledParameters(GameParameters):
    samples: int = samples_parameter()
    regions: str = players_parameter()
    grid: int = grid_parameter(7)
    fill: str = fill_parameter()
    scale: str = scale_parameter()


@dataclass(frozen=True)
class KernelShapParameters(SampledParameters):
    shrink: bool = parameter(
        True, "Pull values toward equal shares as far as the coalitions are too few to tell; off: the plain fit"
    )


@dataclass(frozen=True)
class OrderParameters(SampledParameters):
    samples: int = samples_parameter("; two orders of all players at least")
    interactions: bool = parameter(
        False, "Also what pairs of players are worth together, which takes twice the passes an order"
    )


@dataclass(frozen=True)
class ExactParameters(GameParameters):
    regions: str = players_parameter()
    grid: int = grid_parameter(3, high=4)
    fill: str = fill_parameter()
    scale: str = scale_parameter()


class PlayedGame(Explainer):
    """What the games share: each picture's coalitions are played, and values made of their scores as they come."""

    family = "removal"
    signed = True
    unit = "density"
    random = True

    def check_job(self, classifier: Classifier, job: Job) -> None:
        regions, grid, fill, _ = job.parameters.played
        check_game(classifier, job, regions, grid, fill)

    @abstractmethod
    def plan(self, parameters: Any, players: int, seed: int) -> tuple[Tensor, Callable[[Tensor], Worth]]:
        """Of one picture: the coalitions to play after the full and the empty one, [M, P], and what makes values of the
        scores of the full, the empty and the first of these ([2 + m] float64)."""

    def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
        game = Game.of(classifier, job)
        plans = [self.plan(job.parameters, n, seed) for n, seed in zip(game.players.counts, job.seeds)]
        ends = [torch.tensor([[True] * n, [False] * n]) for n in game.players.counts]
        coalitions = [torch.cat([both, present]) for both, (present, _) in zip(ends, plans)]
        regions = game.players.regions()
        total, made, last = sum(map(len, coalitions)), 0, None
        for scores, played in game.play(coalitions):
            done = sum(played)
            if last is None or done == total or done >= AGAIN * made:
                with on_threads(1, usual_threads()):  # small matrices: threads would wait for each other
                    worth = [value(scores[b, : played[b]].double()) if played[b] >= ENDS else Worth(torch.zeros(n))
                             for b, ((_, value), n) in enumerate(zip(plans, game.players.counts))]  # fmt: skip
                made, players = done, _padded(worth, max(game.players.counts))
                error = players.standard_error
                last = Estimate(
                    values=game.players.laid(players.values),
                    forward_passes=played,
                    backward_passes=[0] * job.size,
                    standard_error=None if error is None else game.players.laid(error),
                    players=players,
                    regions=regions,
                )
            yield replace(last, forward_passes=played, partial=done < total)


def _padded(worth: Sequence[Worth], players: int) -> Players:
    """One tensor for all pictures; errors that are not known are NaN."""
    values = torch.zeros(len(worth), players)
    errors = torch.full((len(worth), players), float("nan"))
    pairs = torch.zeros(len(worth), players, players)
    for b, one in enumerate(worth):
        values[b, : len(one.values)] = one.values.float()
        if one.error is not None:
            errors[b, : len(one.values)] = one.error.float()
        if one.interactions is not None:
            pairs[b, : len(one.values), : len(one.values)] = one.interactions.float()
    known = any(one.error is not None for one in worth)
    paired = any(one.interactions is not None for one in worth)
    return Players(values, errors if known else None, pairs if paired else None)


class FittedGame(PlayedGame):
    """An additive game fitted to coalitions that were drawn."""

    parameters = SampledParameters
    law: ClassVar[str]

    @abstractmethod
    def fit(self, parameters: Any, coalitions: Drawn, gains: Tensor, total: float) -> Worth:
        """As `shapley_fit`."""

    def plan(self, parameters: SampledParameters, players: int, seed: int) -> tuple[Tensor, Callable[[Tensor], Worth]]:
        coalitions = drawn(players, parameters.samples, seed, self.law)

        def value(scores: Tensor) -> Worth:
            some = coalitions.up_to(len(scores) - 2)
            return self.fit(parameters, some, scores[2 : 2 + len(some)] - scores[1], float(scores[0] - scores[1]))

        return coalitions.present, value


@register
class KernelShap(FittedGame):
    """Lundberg, Lee: A Unified Approach to Interpreting Model Predictions (NeurIPS 2017).

    Coalitions come in pairs with exact sizes, and all of a size where drawing would take as many; where all coalitions
    fit into the samples, the values are the Shapley values. With `shrink`, this project's addition, values are
    pulled toward equal shares as far as the draw leaves them open. Errors are known once there are three times as many
    coalitions as players, of the plain fit twice.
    """

    name = "kernel-shap"
    title = "KernelSHAP"
    summary = "Parts of the picture are hidden in many combinations; each part gets its fair share of the score."
    parameters = KernelShapParameters
    revision = 2  # values are pulled toward equal shares
    law = "shapley"

    def fit(self, parameters: KernelShapParameters, coalitions: Drawn, gains: Tensor, total: float) -> Worth:
        return shapley_fit(coalitions, gains, total, parameters.shrink)


@register
class Banzhaf(FittedGame):
    """Banzhaf values: what a player adds to a coalition, over all coalitions alike (Wang, Jia: Data Banzhaf, AISTATS
    2023, on their robustness to noise). They do not sum to the score.
    """

    name = "banzhaf"
    title = "Banzhaf values"
    summary = "Parts of the picture are hidden at random; a part is worth what it adds on average."
    parameters = SampledParameters
    unit = "intensity"
    law = "uniform"

    def fit(self, parameters: SampledParameters, coalitions: Drawn, gains: Tensor, total: float) -> Worth:
        return banzhaf_fit(coalitions, gains, total)


@register
class PermutationShapley(PlayedGame):
    """Castro, Gomez, Tejada: Polynomial calculation of the Shapley value based on sampling (2009).

    Players arrive one after the other; what each adds, averaged over orders, is its value. Orders come with their
    reverse (Mitchell et al., JMLR 2022), and each of them sums to the score exactly.
    """

    name = "permutation-shapley"
    title = "Shapley by orders"
    summary = "Parts of the picture appear one by one in random orders; each is worth what it adds when it comes."
    parameters = OrderParameters

    def plan(self, parameters: OrderParameters, players: int, seed: int) -> tuple[Tensor, Callable[[Tensor], Worth]]:
        orders = Orders.of(players, parameters.samples, seed, parameters.interactions)
        return orders.present, orders.worth


@register
class ExactShapley(PlayedGame):
    """Shapley (1953), by its definition: all 2^P coalitions, so for 16 players at most.

    With what pairs are worth together, as the Shapley interaction index.
    """

    name = "exact-shapley"
    title = "Exact Shapley values"
    summary = "Every combination of a few parts is tried: exact shares of the score, and which parts need each other."
    parameters = ExactParameters
    random = False

    def check_job(self, classifier: Classifier, job: Job) -> None:
        super().check_job(classifier, job)
        regions, grid, _, _ = job.parameters.played
        most = max(players_of(job, regions, grid).counts)
        if most > ENUMERATED:
            raise UserError(
                f"{most} players have {2**most:,} coalitions, and exact Shapley values play them all; choose "
                f"{ENUMERATED} players or fewer, or permutation-shapley, which takes any number."
            )

    def plan(self, parameters: ExactParameters, players: int, seed: int) -> tuple[Tensor, Callable[[Tensor], Worth]]:
        """Coalitions come small and large first, so that a running estimate is a fit that begins well."""
        everything = all_coalitions(players)
        fitted = drawn(players, 2**players, 0)
        numbers = (fitted.present.long() * (2 ** torch.arange(players))).sum(1)

        def value(scores: Tensor) -> Worth:
            some = fitted.up_to(len(scores) - 2)
            if len(some) < len(fitted):
                fit = shapley_fit(some, scores[2 : 2 + len(some)] - scores[1], float(scores[0] - scores[1]))
                return Worth(fit.values, interactions=torch.zeros(players, players))
            whole = torch.empty(len(everything), dtype=torch.float64)
            whole[-1], whole[0] = scores[0], scores[1]
            whole[numbers] = scores[2:]
            return exact_shapley(whole, interactions=True)

        return fitted.present, value
