"""What a metric is, what it judges, and the one list of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from core.attribution import Attribution, Unit, says_something
from core.classifier import Classifier, expand_targets
from core.errors import UserError
from core.explainer import BoundExplainer
from core.parameters import Parameters, parse_named
from core.regions import Regions
from core.registry import Registry


@dataclass(frozen=True)
class Case:
    """One batch of pictures explained by one explainer: what every metric judges.

    Made wrong, it raises UserError; tensors are moved to the classifier's device.

    Attributes:
        classifier: whose decisions were explained.
        images: [B, 3, H, W] in [0, 1].
        targets: [B], the classes explained.
        values: [B, H, W], raw maps.
        signed: negative values mean evidence against the target.
        seeds: B of them; what is drawn for a picture depends on its own seed only.
        masks: [B, H, W] in [0, 1], where the object is; None if unknown.
        explain: (classifier, B pictures) -> [B, H, W]: the same explainer, parameters, targets and seeds on other
            pictures or on another classifier.
        unit: what the maps' values are; "mask": parts of pixels that are kept.
        labels: [B], what the pictures show; -1 where that is not known, None where it is of none.
        scorer: the model that scores masked pictures, one with the same classes; None for the classifier itself.
        made: the maps with how they were made, where that is known; no metric looks at it.
    """

    classifier: Classifier
    images: Tensor
    targets: Tensor
    values: Tensor
    signed: bool
    seeds: tuple[int, ...]
    masks: Tensor | None
    explain: Callable[[Classifier, Tensor], Tensor]
    scorer: Classifier | None = None
    unit: Unit = "intensity"
    labels: Tensor | None = None
    made: tuple[Attribution, ...] = ()

    def __post_init__(self) -> None:
        device, count = self.classifier.device, len(self.images)
        if self.images.dim() != 4 or self.images.shape[1] != 3 or count == 0:
            raise UserError(f"Expected pictures of shape [B, 3, H, W], got {list(self.images.shape)}.")
        for what, given in (("maps", self.values), ("masks", self.masks)):
            if given is not None and given.shape != (count, *self.frame):
                raise UserError(f"Expected {what} of shape {[count, *self.frame]}, got {list(given.shape)}.")
        for what, length in (("targets", len(self.targets)), ("seeds", len(self.seeds))):
            if length != count:
                raise UserError(f"Expected {count} {what}, one a picture, got {length}.")
        if self.scorer is not None and len(self.scorer.labels) != len(self.classifier.labels):
            raise UserError(
                f"The scorer has {len(self.scorer.labels)} classes and the classifier {len(self.classifier.labels)}; "
                "choose a scorer with the same classes."
            )
        for name in ("images", "values", "masks"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, given.detach().to(device, torch.float32))
        object.__setattr__(self, "targets", self.targets.to(device))
        if self.labels is not None:
            object.__setattr__(self, "labels", self.labels.to(device))

    @property
    def size(self) -> int:
        return self.images.shape[0]

    @property
    def frame(self) -> tuple[int, int]:
        return self.images.shape[-2], self.images.shape[-1]

    @property
    def scored_by(self) -> Classifier:
        """The model that scores masked pictures."""
        return self.scorer or self.classifier

    @classmethod
    def of(
        cls,
        bound: BoundExplainer,
        images: Tensor,
        targets: Tensor | Sequence[int],
        parameters: Parameters | None = None,
        *,
        seeds: Sequence[int] = (0,),
        masks: Tensor | None = None,
        scorer: Classifier | None = None,
        regions: Tensor | Regions | None = None,
        labels: Tensor | None = None,
    ) -> Case:
        """Explain a batch and make the case of it: arguments as of `BoundExplainer.steps`.

        Raises:
            UserError: something does not fit.
        """
        seeds = tuple(seeds) * len(images) if len(seeds) == 1 else tuple(seeds)

        def explain(classifier: Classifier, pictures: Tensor) -> Tensor:
            tied = bound if classifier is bound.classifier else bound.on(classifier)
            return torch.stack([one.values for one in maps(tied, pictures)])

        def maps(tied: BoundExplainer, pictures: Tensor) -> list[Attribution]:
            return tied.explain(pictures, targets, parameters, seeds=seeds, regions=regions)

        made = tuple(maps(bound, images))
        return cls(
            classifier=bound.classifier,
            images=images,
            targets=expand_targets(targets, len(images), bound.classifier.device),
            values=torch.stack([one.values for one in made]),
            signed=bound.explainer.is_signed(parameters or bound.parameters),
            seeds=seeds,
            masks=masks,
            explain=explain,
            scorer=scorer,
            unit=bound.explainer.unit_of(parameters or bound.parameters),
            labels=labels,
            made=made,
        )


class Metric(ABC):
    """Judges maps. Registered once, it is listed everywhere and held to every contract test.

    Class attributes:
        name: as typed; title: as shown; summary: one line for newcomers.
        family: faithfulness, robustness, complexity, certainty, localisation or sanity.
        higher_is_better: which way to read it.
        reference: the paper, or that it is this project's own.
        parameters: its frozen dataclass.
        needs_mask: it asks where the object is.
        usual: taken where nobody has chosen.
        slow: it explains again, many times or on other models.
        random: the score depends on the seeds, for more than breaking ties.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    family: ClassVar[str]
    higher_is_better: ClassVar[bool]
    reference: ClassVar[str]
    parameters: ClassVar[type[Parameters]] = Parameters
    needs_mask: ClassVar[bool] = False
    usual: ClassVar[bool] = False
    slow: ClassVar[bool] = False
    random: ClassVar[bool] = False

    def score(self, case: Case, parameters: Parameters | None = None) -> Tensor:
        """One number a picture.

        Args:
            case: the maps and what they explain.
            parameters: of the metric's own type; None for defaults.

        Returns:
            [B] float32 on the classifier's device; NaN where it is undefined (a map that is flat or not finite, an
            empty mask).

        Raises:
            UserError: the metric needs masks and there are none, or the parameters are another metric's.
        """
        parameters = parameters if parameters is not None else self.parameters()
        if not isinstance(parameters, self.parameters):
            raise UserError(f"{self.name} takes {self.parameters.__name__}, got {type(parameters).__name__}.")
        if self.needs_mask and case.masks is None:
            raise UserError(f"{self.name} needs to know where the object is; give masks, or choose another metric.")
        usable = says_something(case.values)
        undefined = torch.full((case.size,), float("nan"), device=case.values.device)
        if not usable.any():
            return undefined
        return torch.where(usable, self.judge(case, parameters).float(), undefined)

    @abstractmethod
    def judge(self, case: Case, parameters: Any) -> Tensor:
        """[B]; rows whose map is flat or not finite may hold anything, but must not raise."""


FAMILIES = ("faithfulness", "robustness", "complexity", "certainty", "localisation", "sanity")

registry: Registry[Metric] = Registry("metric", Metric, "core.metrics", FAMILIES)
register, metrics, get_metric = registry.register, registry.all, registry.get
"""Class decorator that puts a metric on the one list; every metric by name; one by name."""


def usual_metrics(masked: bool) -> list[Metric]:
    """What is taken where nobody has chosen: one a question, and those that need masks where every picture has some."""
    return [metric for metric in metrics().values() if metric.usual or (masked and metric.needs_mask)]


def parse_metric(text: str) -> tuple[Metric, Parameters]:
    """From the text of an option, such as "insertion:fill=blur".

    Raises:
        UserError: an unknown metric or parameter, a bad value, or not of that form.
    """
    return parse_named(text, get_metric)
