"""What an explainer is, and the one list of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import torch
from torch import Tensor

from core.attribution import Attribution, PlayerValues, Unit
from core.classifier import Classifier
from core.errors import UserError
from core.job import Job, checked_job
from core.parameters import Parameters
from core.regions import SEGMENTS, Regions, laid_out
from core.registry import Registry


@dataclass(frozen=True)
class Players:
    """What is known of the players of all B pictures: [B, P] (interactions: [B, P, P]), anything where one is padding,
    and 0 where it is still to come."""

    values: Tensor
    standard_error: Tensor | None = None
    interactions: Tensor | None = None


@dataclass(frozen=True)
class Estimate:
    """What a method knows after a chunk, for all B pictures.

    values, standard_error: [B, H, W], errors NaN all over a picture's where they are not known; players, regions: where
    some are taken away; the others: one number a picture, so far, as in `Attribution`.
    """

    values: Tensor
    forward_passes: Sequence[int]
    backward_passes: Sequence[int]
    partial: bool = False
    standard_error: Tensor | None = None
    saturated: Sequence[float] | None = None
    converged: Sequence[bool] | None = None
    players: Players | None = None
    regions: Regions | None = None

    @classmethod
    def of_players(cls, players: Players, regions: Regions, passes: Sequence[int], partial: bool) -> Estimate:
        """Of a game: the players' values and errors, laid over their pixels."""
        error = players.standard_error
        return cls(
            values=laid_out(players.values, regions.masks),
            forward_passes=passes,
            backward_passes=[0] * len(passes),
            partial=partial,
            standard_error=None if error is None else laid_out(error, regions.masks),
            players=players,
            regions=regions,
        )


class Explainer(ABC):
    """Makes attributions. Registered once, it appears on the page, the command line and in every contract test.

    Class attributes:
        name: as typed; title: as shown; summary: one line of help.
        family: gradient, cam, attention, relevance, removal, learned or control.
        parameters: its frozen dataclass.
        signed: with default parameters, negative values mean evidence against.
        unit: of its maps with default parameters.
        class_specific: the map depends on the target.
        random: with default parameters, the map depends on the seed.
        revision: of the algorithm; raised when the same parameters and seed give other values than before.
        needs_weights: `bind` needs trained weights.
        takes_references: it can compare with other pictures.
        forgets: what is shuffled where a control asks for maps of a model that has forgotten what it learned.
        to_beat: a control; a report flags only what stands out above its maps too.
        default: chosen when a person has not chosen.
        reported: the same for a report: quick enough for a whole data set.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    family: ClassVar[str]
    parameters: ClassVar[type[Parameters]] = Parameters
    signed: ClassVar[bool] = False
    unit: ClassVar[Unit] = "intensity"
    class_specific: ClassVar[bool] = True
    random: ClassVar[bool] = False
    revision: ClassVar[int] = 1
    needs_weights: ClassVar[bool] = False
    takes_references: ClassVar[bool] = False
    forgets: ClassVar[str] = "the model's weights"
    to_beat: ClassVar[bool] = False
    default: ClassVar[bool] = False
    reported: ClassVar[bool] = False

    def supports(self, classifier: Classifier) -> str | None:
        """None, or one sentence why this explainer cannot explain this classifier."""
        return None

    def is_signed(self, parameters: Any) -> bool:
        """Whether maps made with these parameters are signed."""
        return self.signed

    def unit_of(self, parameters: Any) -> Unit:
        """What the values of maps made with these parameters are."""
        return self.unit

    def wants_regions(self, parameters: Any) -> bool:
        """Whether these parameters ask for each picture's own regions: they have some called `regions`, and it says so
        (`core.regions.regions_parameter`)."""
        return getattr(parameters, "regions", None) == SEGMENTS

    def is_random(self, parameters: Any) -> bool:
        """Whether maps made with these parameters depend on the seed."""
        return self.random

    def check(self, parameters: Any) -> None:  # noqa: B027 - most have nothing to refuse
        """Refuse parameters that are each within bounds and do not go together.

        Raises:
            UserError: says which, and what to change.
        """

    def found(self, classifier: Classifier, parameters: Any) -> Path | None:
        """The file of trained weights that is taken where none is named; None if there is none, or none is needed."""
        return None

    def trained_with(self, file: Path) -> dict[str, Any]:
        """Parameters that a file of trained weights settles, by name.

        Raises:
            UserError: it is no such file.
        """
        return {}

    def no_evidence(self, file: Path) -> str | None:
        """None, or one sentence why maps made with a file of trained weights say nothing of the classifier itself.

        Raises:
            UserError: it is no such file.
        """
        return None

    def check_state(self, parameters: Any, state: Any) -> None:  # noqa: B027 - most have nothing to refuse
        """Refuse parameters that do not suit the trained weights.

        Raises:
            UserError: says which, and what to change.
        """

    def check_job(self, classifier: Classifier, job: Job) -> None:  # noqa: B027 - the same
        """Refuse pictures that parameters do not suit, or parameters that do not suit a classifier; before any pass.

        Raises:
            UserError: says what, and what to change.
        """

    def bind(self, classifier: Classifier, weights: Any = None) -> BoundExplainer:
        """Tie it to a classifier (and trained weights, for learned explainers).

        Raises:
            UserError: `supports` refuses.
        """
        reason = None if self.needs_weights and weights is not None else self.supports(classifier)
        if reason is not None:
            raise UserError(reason)
        return BoundExplainer(self, classifier, self.prepare(classifier, weights), weights)

    def prepare(self, classifier: Classifier, weights: Any) -> Any:
        """What is found out once per classifier (a target layer, loaded weights); handed to `run` as `state`."""
        return None

    def visited(self, job: Job, count: int) -> Tensor | None:
        """[B, N, 3, H, W], N <= count: the first perturbed pictures that `run` looks at; None if it has no sampler."""
        return None

    @abstractmethod
    def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
        """Yield the running estimate after each chunk; the last one has `partial=False`.

        Nothing is alive across a yield: no grad, inference or autocast mode, no hook, lock or changed flag.
        """


class BoundExplainer:
    """An explainer tied to a classifier, with the parameters and references that it takes where none are given.

    Attributes:
        explainer, classifier: what is tied to what.
        parameters: of the explainer's own type.
        references: [R, 3, H, W] in [0, 1], or None.
    """

    def __init__(
        self,
        explainer: Explainer,
        classifier: Classifier,
        state: Any = None,
        weights: Any = None,
        parameters: Parameters | None = None,
        references: Tensor | None = None,
    ) -> None:
        self.explainer, self.classifier = explainer, classifier
        self.parameters = explainer.parameters() if parameters is None else parameters
        self.references = references
        self._state, self._weights = state, weights

    def taking(self, parameters: Parameters | None, references: Tensor | None) -> BoundExplainer:
        """The same with other parameters and references."""
        return BoundExplainer(self.explainer, self.classifier, self._state, self._weights, parameters, references)

    def on(self, classifier: Classifier) -> BoundExplainer:
        """The same tied to another classifier (of the same frame, where there are references).

        Raises:
            UserError: the explainer refuses it.
        """
        return self.explainer.bind(classifier, self._weights).taking(self.parameters, self.references)

    def steps(
        self,
        images: Tensor,
        targets: Tensor | Sequence[int],
        parameters: Parameters | None = None,
        *,
        contrasts: Tensor | Sequence[int] | None = None,
        seeds: Sequence[int] = (0,),
        regions: Tensor | Regions | None = None,
        references: Tensor | None = None,
    ) -> Iterator[list[Attribution]]:
        """Yield running maps of the whole batch after each chunk; the last list has `partial=False`.

        Args:
            images: [B, 3, H, W] in [0, 1].
            targets: [B] class indices, or one for all.
            parameters: of the explainer's own type; None for those it was bound with.
            contrasts: [B] class indices, or one for all: explain the target against it.
            seeds: [B], or one for all. A map depends on its own seed only, never on its neighbours or the chunk.
            regions: what is removed where the parameters ask for it (`Explainer.wants_regions`): [P, H, W] in [0, 1]
                for all pictures, [B, P, H, W], or `Regions` with names. They add up to 1 at most, anywhere.
            references: [R, 3, H, W] in [0, 1], other pictures, for explainers that compare with some; None for those
                it was bound with.

        Raises:
            UserError: something does not fit; raised before the first chunk.
        """
        with torch.inference_mode(False):
            job = self._job(images, targets, parameters, contrasts, seeds, regions, references)
        if job.regions is None and self.explainer.wants_regions(job.parameters):
            raise UserError(
                f"{self.explainer.name} is asked to remove segments, and none are given here; give the picture's "
                "segments, or leave regions at its default."
            )
        with torch.inference_mode(False):
            self.explainer.check_state(job.parameters, self._state)
            self.explainer.check_job(self.classifier, job)
        return self._timed(job)

    def explain(self, *args: Any, **kwargs: Any) -> list[Attribution]:
        """The last of `steps`: same arguments."""
        last: list[Attribution] = []
        for last in self.steps(*args, **kwargs):  # noqa: B007 - the last one is the result
            pass
        return last

    def visited(
        self,
        images: Tensor,
        targets: Tensor | Sequence[int],
        parameters: Parameters | None = None,
        count: int = 8,
        *,
        seeds: Sequence[int] = (0,),
        references: Tensor | None = None,
    ) -> Tensor | None:
        """[B, N, 3, H, W], N <= count: perturbed pictures that `explain` looks at; None if it draws none.

        Args and errors as of `steps`.
        """
        job = self._job(images, targets, parameters, None, seeds, None, references)
        return self.explainer.visited(job, count)

    def _timed(self, job: Job) -> Iterator[list[Attribution]]:
        work = self.explainer.run(self.classifier, job, self._state)
        masks: list[Tensor] = []  # of the players, if there are any
        seconds = 0.0
        history: list[tuple[tuple[int, float], ...]] = [()] * job.size
        try:
            while True:
                began = perf_counter()
                with torch.inference_mode(False):  # whatever the caller is in; over before the yield
                    estimate = next(work, None)
                if estimate is None:
                    return
                values = estimate.values.detach().float().cpu()
                error = estimate.standard_error
                error = error.detach().float().cpu() if error is not None else None
                seconds += perf_counter() - began
                made = [self._attribution(job, estimate, values, error, b, seconds) for b in range(job.size)]
                if estimate.players is not None and estimate.regions is not None:
                    masks = masks or _own_masks(estimate.regions)
                    played = _player_values(estimate.players, masks, estimate.regions)
                    made = [replace(one, players=own) for one, own in zip(made, played)]
                history = [_longer(before, one) for before, one in zip(history, made)]
                yield [replace(one, convergence=past) for one, past in zip(made, history)]
        finally:
            if isinstance(work, Generator):
                work.close()

    def _attribution(
        self, job: Job, estimate: Estimate, values: Tensor, error: Tensor | None, b: int, seconds: float
    ) -> Attribution:
        return Attribution(
            values=values[b],
            standard_error=_known(error, b),
            partial=estimate.partial,
            signed=self.explainer.is_signed(job.parameters),
            unit=self.explainer.unit_of(job.parameters),
            target=int(job.targets[b]),
            contrast=None if job.contrasts is None else int(job.contrasts[b]),
            method=self.explainer.name,
            parameters=job.parameters,
            seed=job.seeds[b],
            forward_passes=int(estimate.forward_passes[b]),
            backward_passes=int(estimate.backward_passes[b]),
            seconds=seconds / job.size,
            saturated=None if estimate.saturated is None else float(estimate.saturated[b]),
            converged=None if estimate.converged is None else estimate.converged[b],
        )

    def _job(
        self,
        images: Tensor,
        targets: Any,
        parameters: Parameters | None,
        contrasts: Any,
        seeds: Any,
        regions: Any,
        references: Any,
    ) -> Job:
        wanted = self.explainer.parameters
        parameters = parameters if parameters is not None else self.parameters
        if not isinstance(parameters, wanted):
            raise UserError(f"{self.explainer.name} takes {wanted.__name__}, got {type(parameters).__name__}.")
        self.explainer.check(parameters)
        references = self.references if references is None else references
        return checked_job(self.classifier, images, targets, parameters, contrasts, seeds, regions, references)


def _own_masks(regions: Regions) -> list[Tensor]:
    """Of each picture [P, H, W] on the CPU, without padding."""
    return [own[:count].cpu() for own, count in zip(regions.masks, regions.counts)]


def _player_values(players: Players, masks: Sequence[Tensor], regions: Regions) -> list[PlayerValues]:
    """Of each picture, without padding, on the CPU."""
    values = players.values.detach().float().cpu()
    error = None if players.standard_error is None else players.standard_error.detach().float().cpu()
    pairs = None if players.interactions is None else players.interactions.detach().float().cpu()
    return [
        PlayerValues(
            values=values[b, :count],
            standard_error=_known(error, b, count),
            interactions=None if pairs is None else pairs[b, :count, :count],
            masks=masks[b],
            names=regions.names[b],
        )
        for b, count in enumerate(map(len, masks))
    ]


def _known(errors: Tensor | None, b: int, count: int | None = None) -> Tensor | None:
    """Of one picture; None where they are not known."""
    if errors is None or bool(errors[b, :count].isnan().all()):
        return None
    return errors[b, :count]


def _longer(before: tuple[tuple[int, float], ...], one: Attribution) -> tuple[tuple[int, float], ...]:
    """The convergence so far with this estimate's point, if it says anything new."""
    error, samples = one.relative_error, one.forward_passes
    return before if error is None or (before and before[-1][0] >= samples) else (*before, (samples, error))


FAMILIES = ("gradient", "cam", "attention", "relevance", "removal", "learned", "control")

registry: Registry[Explainer] = Registry(
    "explainer", Explainer, "core.explainers", FAMILIES, within=lambda explainer: not explainer.default
)
register, explainers = registry.register, registry.all
"""Class decorator that puts an explainer on the one list; every explainer by name, the defaults of a family first."""


def controls() -> dict[str, Explainer]:
    """By name: those that never look at the model."""
    return {name: method for name, method in explainers().items() if method.family == "control"}


def get_explainer(name: str) -> Explainer:
    """By name: one on the list, or captum:CLASS.

    Raises:
        UserError: unknown; names the nearest one.
    """
    if name.startswith("captum:"):
        from core.explainers.captum_adapter import captum_explainer

        return captum_explainer(name)
    return registry.get(name)
