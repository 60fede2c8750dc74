"""What explainers make, what an explainer is, and the one list of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from core.classifier import Classifier, expand_targets
from core.errors import UserError
from core.parameters import Parameters
from core.registry import Registry

Condition = Literal["fine", "flat", "broken"]


@dataclass(frozen=True)
class Attribution:
    """One map of evidence for one target, raw, with how it was made.

    Attributes:
        values: [H, W] float32 in the model's frame, on the CPU, not normalised.
        standard_error: [H, W] Monte-Carlo error of `values`; None where the method is exact or knows no error.
        partial: True for a running estimate.
        signed: True if negative values mean evidence against the target.
        target, contrast: class indices; contrast None where the target is explained on its own.
        method, parameters, seed: enough to make it again.
        forward_passes, backward_passes: pictures sent through the classifier for this map, and back.
        seconds: computing time for this map (of a batch: its equal part).
        saturated: share of the samples, by their weight, where the probability hardly moves with its log-odds.
        converged: whether the error fell below the tolerance, which ended the sampling; None without a tolerance.
        convergence: (samples, relative error) after each chunk, for a plot.
    """

    values: Tensor
    standard_error: Tensor | None
    partial: bool
    signed: bool
    target: int
    contrast: int | None
    method: str
    parameters: Parameters
    seed: int
    forward_passes: int
    backward_passes: int
    seconds: float
    saturated: float | None = None
    converged: bool | None = None
    convergence: tuple[tuple[int, float], ...] = ()

    @property
    def condition(self) -> Condition:
        """Whether there is anything to show: "flat" says no evidence, "broken" holds values that are not numbers."""
        if not bool(torch.isfinite(self.values).all()):
            return "broken"
        return "fine" if bool(says_something(self.values[None])) else "flat"

    @property
    def relative_error(self) -> float | None:
        """Mean standard error over mean absolute value; None where the method has none or it is not finite yet."""
        return None if self.standard_error is None else _relative_error(self.values, self.standard_error)


def says_something(values: Tensor) -> Tensor:
    """[B, H, W] -> [B]: the map is finite, and some pixel differs from another by more than rounding."""
    rows = values.flatten(1)
    span = rows.amax(1) - rows.amin(1)
    return torch.isfinite(rows).all(1) & (span > 1e-6 * rows.abs().amax(1))


def _relative_error(values: Tensor, error: Tensor) -> float | None:
    size = float(values.abs().mean())
    relative = float(error.mean()) / size if size > 0 else float("inf")
    return relative if math.isfinite(relative) else None


@dataclass(frozen=True)
class Job:
    """One batch to explain, checked: tensors on the classifier's device."""

    images: Tensor  # [B, 3, H, W] in [0, 1]
    targets: Tensor  # [B]
    contrasts: Tensor | None  # [B]
    parameters: Any
    seeds: tuple[int, ...]
    regions: Tensor | None  # [P, H, W] in [0, 1], a partition
    references: Tensor | None = None  # [R, 3, H, W] in [0, 1]

    @property
    def size(self) -> int:
        return self.images.shape[0]

    @property
    def frame(self) -> tuple[int, int]:
        return self.images.shape[-2], self.images.shape[-1]


@dataclass(frozen=True)
class Estimate:
    """What a method knows after a chunk, for all B pictures.

    values, standard_error: [B, H, W]; the others: one number a picture, so far, as in `Attribution`.
    """

    values: Tensor
    forward_passes: Sequence[int]
    backward_passes: Sequence[int]
    partial: bool = False
    standard_error: Tensor | None = None
    saturated: Sequence[float] | None = None
    converged: Sequence[bool] | None = None


class Explainer(ABC):
    """Makes attributions. Registered once, it appears on the page, the command line and in every contract test.

    Class attributes:
        name: as typed; title: as shown; summary: one line of help.
        family: gradient, cam, attention, relevance, removal, learned or control.
        parameters: its frozen dataclass.
        signed: with default parameters, negative values mean evidence against.
        class_specific: the map depends on the target.
        random: with default parameters, the map depends on the seed.
        needs_weights: `bind` needs trained weights.
        default: chosen when a person has not chosen.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    family: ClassVar[str]
    parameters: ClassVar[type[Parameters]] = Parameters
    signed: ClassVar[bool] = False
    class_specific: ClassVar[bool] = True
    random: ClassVar[bool] = False
    needs_weights: ClassVar[bool] = False
    default: ClassVar[bool] = False

    def supports(self, classifier: Classifier) -> str | None:
        """None, or one sentence why this explainer cannot explain this classifier."""
        return None

    def is_signed(self, parameters: Any) -> bool:
        """Whether maps made with these parameters are signed."""
        return self.signed

    def is_random(self, parameters: Any) -> bool:
        """Whether maps made with these parameters depend on the seed."""
        return self.random

    def check(self, parameters: Any) -> None:  # noqa: B027 - most have nothing to refuse
        """Refuse parameters that are each within bounds and do not go together.

        Raises:
            UserError: says which, and what to change.
        """

    def bind(self, classifier: Classifier, weights: Any = None) -> BoundExplainer:
        """Tie it to a classifier (and trained weights, for learned explainers).

        Raises:
            UserError: `supports` refuses.
        """
        reason = self.supports(classifier)
        if reason is not None:
            raise UserError(reason)
        return BoundExplainer(self, classifier, self.prepare(classifier, weights))

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
    """An explainer tied to a classifier."""

    def __init__(self, explainer: Explainer, classifier: Classifier, state: Any = None) -> None:
        self.explainer, self.classifier, self._state = explainer, classifier, state

    def steps(
        self,
        images: Tensor,
        targets: Tensor | Sequence[int],
        parameters: Parameters | None = None,
        *,
        contrasts: Tensor | Sequence[int] | None = None,
        seeds: Sequence[int] = (0,),
        regions: Tensor | None = None,
        references: Tensor | None = None,
    ) -> Iterator[list[Attribution]]:
        """Yield running maps of the whole batch after each chunk; the last list has `partial=False`.

        Args:
            images: [B, 3, H, W] in [0, 1].
            targets: [B] class indices, or one for all.
            parameters: of the explainer's own type; None for defaults.
            contrasts: [B] class indices, or one for all: explain the target against it.
            seeds: [B], or one for all. A map depends on its own seed only, never on its neighbours or the chunk.
            regions: [P, H, W] in [0, 1], a partition of the frame, for explainers that remove regions.
            references: [R, 3, H, W] in [0, 1], other pictures, for explainers that compare with some.

        Raises:
            UserError: something does not fit; raised before the first chunk.
        """
        with torch.inference_mode(False):
            job = self._job(images, targets, parameters, contrasts, seeds, regions, references)
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
            standard_error=None if error is None else error[b],
            partial=estimate.partial,
            signed=self.explainer.is_signed(job.parameters),
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
        device, classes = self.classifier.device, len(self.classifier.labels)
        images = _ordinary(images)
        if images.dim() != 4 or images.shape[1] != 3 or images.shape[0] == 0:
            raise UserError(f"Expected pictures of shape [B, 3, H, W], got {list(images.shape)}.")
        wanted = self.explainer.parameters
        parameters = parameters if parameters is not None else wanted()
        if not isinstance(parameters, wanted):
            raise UserError(f"{self.explainer.name} takes {wanted.__name__}, got {type(parameters).__name__}.")
        self.explainer.check(parameters)
        count = images.shape[0]
        targets = expand_targets(_ordinary(targets), count, device)
        contrasts = None if contrasts is None else expand_targets(_ordinary(contrasts), count, device)
        seeds = tuple(int(seed) for seed in seeds)
        seeds = seeds * count if len(seeds) == 1 else seeds
        for what, given in (("targets", targets), ("contrasts", contrasts), ("seeds", seeds)):
            if given is not None and len(given) != count:
                raise UserError(f"Expected {count} {what}, one a picture, got {len(given)}.")
        for what, given in (("target", targets), ("contrast", contrasts)):
            if given is not None and (int(given.min()) < 0 or int(given.max()) >= classes):
                raise UserError(f"The {what} must be a class from 0 to {classes - 1}.")
        if contrasts is not None and bool((targets == contrasts).any()):
            raise UserError("Target and contrast are the same class; choose another class to explain against.")
        if regions is not None:
            if regions.dim() != 3 or regions.shape[-2:] != images.shape[-2:]:
                raise UserError(
                    f"Expected regions [P, {images.shape[-2]}, {images.shape[-1]}], got {list(regions.shape)}."
                )
            regions = _ordinary(regions).to(device, torch.float32)
        if references is not None:
            if references.dim() != 4 or references.shape[0] == 0 or references.shape[1:] != images.shape[1:]:
                wanted_shape = ", ".join(map(str, images.shape[1:]))
                raise UserError(f"Expected references [R, {wanted_shape}], got {list(references.shape)}.")
            references = _ordinary(references).to(device, torch.float32)
        return Job(images.to(device, torch.float32), targets, contrasts, parameters, seeds, regions, references)


def _longer(before: tuple[tuple[int, float], ...], one: Attribution) -> tuple[tuple[int, float], ...]:
    """The convergence so far with this estimate's point, if it says anything new."""
    error, samples = one.relative_error, one.forward_passes
    return before if error is None or (before and before[-1][0] >= samples) else (*before, (samples, error))


def _ordinary(given: Any) -> Any:
    """A tensor without its history; one made in inference mode, which no gradient may meet, as a copy."""
    if not isinstance(given, Tensor):
        return given
    return given.clone() if given.is_inference() else given.detach()


FAMILIES = ("gradient", "cam", "attention", "relevance", "removal", "learned", "control")

registry: Registry[Explainer] = Registry("explainer", "core.explainers", FAMILIES, lambda e: not e.default)
register, explainers = registry.register, registry.all
"""Class decorator that puts an explainer on the one list; every explainer by name, the defaults of a family first."""


def get_explainer(name: str) -> Explainer:
    """By name: one on the list, or captum:CLASS.

    Raises:
        UserError: unknown; names the nearest one.
    """
    if name.startswith("captum:"):
        from core.explainers.captum_adapter import captum_explainer

        return captum_explainer(name)
    return registry.get(name)
