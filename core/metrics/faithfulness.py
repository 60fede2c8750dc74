"""Does the classifier's answer follow the map? Pixels are shown or covered in the map's order, or by its strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.fills import PLATES, fill_plate
from core.metrics.metric import Case, Metric, register
from core.metrics.ranking import descending, positions
from core.parameters import Parameters, parameter
from core.passes import probability, scores


def curve(case: Case, *, inserted: bool, steps: int, fill: str, patch: int) -> Tensor:
    """The target's probability while the picture appears, or disappears, in the order of the map.

    Signed maps are ordered by their raw value: evidence against the target comes last. Equal values come in an order
    drawn from the picture's seed.

    Args:
        case: maps and pictures; `case.scored_by` gives the probabilities.
        inserted: True shows the highest first on an empty picture, False covers the highest first.
        steps: intervals d; no more than there are patches.
        fill: what stands where the picture is not shown.
        patch: side of the squares that appear as wholes, in pixels; their order is that of the map's mean over them.

    Returns:
        [B, d + 1]: nested sets from nothing to everything, in equal steps.
    """
    pooled = F.avg_pool2d(case.values.unsqueeze(1), patch, ceil_mode=True)[:, 0]
    count = pooled[0].numel()
    places = positions(descending(pooled.flatten(1), case.seeds)).view(pooled.shape)
    places = places.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, : case.frame[0], : case.frame[1]]
    steps = min(steps, count)
    taken = torch.linspace(0, count, steps + 1, dtype=torch.float64).round().long().to(places.device)
    plates = fill_plate(case.images, fill)

    def show(picture: Tensor, copy: Sequence[int]) -> Tensor:
        first = (places[picture] < taken[list(copy)].view(-1, 1, 1)).unsqueeze(1)
        return torch.where(first if inserted else ~first, case.images[picture], plates[picture])

    return scores(case.scored_by, case.images, steps + 1, show, probability(case.scored_by, case.targets))


def _steps() -> Any:
    return parameter(28, "Equal steps from nothing to everything", low=1, high=1000, step=1)


def _patch() -> Any:
    return parameter(1, "Side of the squares taken as wholes, in pixels of the model's frame", low=1, high=64, step=1)


def _fill(default: str, help: str) -> Any:  # noqa: A002 - the word `parameter` uses
    return parameter(default, help, choices=PLATES)


@dataclass(frozen=True)
class InsertionParameters(Parameters):
    steps: int = _steps()
    fill: str = _fill("blur", "What stands where nothing is shown yet")
    patch: int = _patch()


@register
class Insertion(Metric):
    """Petsiuk, Das, Saenko: RISE (BMVC 2018). The area under the curve is the plain mean over its d + 1 sets."""

    name = "insertion"
    title = "Insertion"
    summary = "Show the pixels the map rates highest first: how soon does the classifier see the target?"
    family = "faithfulness"
    higher_is_better = True
    reference = "Petsiuk, Das, Saenko: RISE (BMVC 2018)"
    parameters = InsertionParameters

    def judge(self, case: Case, parameters: InsertionParameters) -> Tensor:
        p = parameters
        return curve(case, inserted=True, steps=p.steps, fill=p.fill, patch=p.patch).mean(1)


@dataclass(frozen=True)
class DeletionParameters(Parameters):
    steps: int = _steps()
    fill: str = _fill("mean", "What stands where the picture is covered")
    patch: int = _patch()


@register
class Deletion(Metric):
    """Petsiuk, Das, Saenko: RISE (BMVC 2018). The area under the curve is the plain mean over its d + 1 sets."""

    name = "deletion"
    title = "Deletion"
    summary = "Cover the pixels the map rates highest first: how soon does the classifier lose the target?"
    family = "faithfulness"
    higher_is_better = False
    reference = "Petsiuk, Das, Saenko: RISE (BMVC 2018)"
    parameters = DeletionParameters

    def judge(self, case: Case, parameters: DeletionParameters) -> Tensor:
        p = parameters
        return curve(case, inserted=False, steps=p.steps, fill=p.fill, patch=p.patch).mean(1)


@dataclass(frozen=True)
class InsertionDeletionParameters(Parameters):
    steps: int = _steps()
    insertion_fill: str = _fill("blur", "What stands where nothing is shown yet")
    deletion_fill: str = _fill("mean", "What stands where the picture is covered")
    patch: int = _patch()


@register
class InsertionDeletion(Metric):
    """Insertion minus deletion: a classifier that is sure, or unsure, of everything cancels out."""

    name = "insertion-deletion"
    title = "Insertion minus deletion"
    usual = True
    summary = "How much sooner the target appears with the map's best pixels than it disappears without them."
    family = "faithfulness"
    higher_is_better = True
    reference = "The two metrics of Petsiuk, Das, Saenko: RISE (BMVC 2018), one minus the other"
    parameters = InsertionDeletionParameters

    def judge(self, case: Case, parameters: InsertionDeletionParameters) -> Tensor:
        p = parameters
        shown = curve(case, inserted=True, steps=p.steps, fill=p.insertion_fill, patch=p.patch).mean(1)
        return shown - curve(case, inserted=False, steps=p.steps, fill=p.deletion_fill, patch=p.patch).mean(1)


@dataclass(frozen=True)
class BlendParameters(Parameters):
    fill: str = _fill("black", "What stands where the map is zero; black is the picture times the map, as published")


def _confidence(case: Case, fill: str) -> tuple[Tensor, Tensor]:
    """[B] twice: the target's probability on the picture, and on the picture as far as the map shows it.

    The map shows its positive part, scaled from its least value to its greatest into [0, 1]; NaN where nothing is
    positive.
    """
    positive = case.values.clamp(min=0)
    low, high = positive.amin((1, 2), keepdim=True), positive.amax((1, 2), keepdim=True)
    strength = ((positive - low) / (high - low)).unsqueeze(1)
    plates = fill_plate(case.images, fill)

    def show(picture: Tensor, copy: Sequence[int]) -> Tensor:
        masked = torch.tensor(copy, device=picture.device).view(-1, 1, 1, 1) == 1
        blended = torch.lerp(plates[picture], case.images[picture], strength[picture])
        return torch.where(masked, blended, case.images[picture])

    both = scores(case.scored_by, case.images, 2, show, probability(case.scored_by, case.targets))
    undefined = (high <= low).flatten()
    return both[:, 0], torch.where(undefined, float("nan"), both[:, 1])


@register
class AverageDrop(Metric):
    """Chattopadhyay et al.: Grad-CAM++ (WACV 2018). One picture's term of the average, in percent."""

    name = "average-drop"
    title = "Average drop"
    summary = "How much of the target's probability is lost when only what the map shows stays visible, in percent."
    family = "faithfulness"
    higher_is_better = False
    reference = "Chattopadhyay, Sarkar, Howlader, Balasubramanian: Grad-CAM++ (WACV 2018)"
    parameters = BlendParameters

    def judge(self, case: Case, parameters: BlendParameters) -> Tensor:
        whole, masked = _confidence(case, parameters.fill)
        return 100 * (whole - masked).clamp(min=0) / whole.clamp(min=1e-12)


@register
class AverageIncrease(Metric):
    """Chattopadhyay et al.: Grad-CAM++ (WACV 2018). One picture's term of the average: 1 or 0."""

    name = "average-increase"
    title = "Average increase"
    summary = "Whether the classifier is surer of the target when only what the map shows stays visible (1) or not (0)."
    family = "faithfulness"
    higher_is_better = True
    reference = "Chattopadhyay, Sarkar, Howlader, Balasubramanian: Grad-CAM++ (WACV 2018)"
    parameters = BlendParameters

    def judge(self, case: Case, parameters: BlendParameters) -> Tensor:
        whole, masked = _confidence(case, parameters.fill)
        return torch.where(masked.isnan(), masked, (masked > whole).float())
