"""What is asked of an explainer, checked before the first pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, float32

from core.classifier import Classifier, Scale, expand_targets
from core.errors import UserError
from core.regions import Regions, checked_regions


@dataclass(frozen=True)
class Job:
    """One batch to explain, checked: tensors on the classifier's device."""

    images: Tensor  # [B, 3, H, W] in [0, 1]
    targets: Tensor  # [B]
    contrasts: Tensor | None  # [B]
    parameters: Any
    seeds: tuple[int, ...]
    regions: Regions | None  # each picture's own
    references: Tensor | None = None  # [R, 3, H, W] in [0, 1]

    @property
    def size(self) -> int:
        return self.images.shape[0]

    @property
    def frame(self) -> tuple[int, int]:
        return self.images.shape[-2], self.images.shape[-1]

    def score(self, classifier: Classifier, logits: Tensor, pictures: Tensor, scale: Scale = "logit") -> Tensor:
        """[K, C], of these rows [K] of the batch -> [K]: the number that is explained, as of `Classifier.score`."""
        contrasts = None if self.contrasts is None else self.contrasts[pictures]
        return classifier.score(logits, self.targets[pictures], contrasts, scale)


def checked_job(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor | Sequence[int],
    parameters: Any,
    contrasts: Tensor | Sequence[int] | None,
    seeds: Sequence[int],
    regions: Tensor | Regions | None,
    references: Tensor | None,
) -> Job:
    """Arguments as of `BoundExplainer.steps`, which fit each other and the classifier.

    Raises:
        UserError: something does not fit.
    """
    device, classes = classifier.device, len(classifier.labels)
    images = _ordinary(images)
    if images.dim() != 4 or images.shape[1] != 3 or images.shape[0] == 0:
        raise UserError(f"Expected pictures of shape [B, 3, H, W], got {list(images.shape)}.")
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
        given = checked_regions(regions, count, (images.shape[-2], images.shape[-1]))
        regions = replace(given, masks=_ordinary(given.masks), present=_ordinary(given.present)).to(device)
    if references is not None:
        if references.dim() != 4 or references.shape[0] == 0 or references.shape[1:] != images.shape[1:]:
            wanted_shape = ", ".join(map(str, images.shape[1:]))
            raise UserError(f"Expected references [R, {wanted_shape}], got {list(references.shape)}.")
        references = _ordinary(references).to(device, float32)
    return Job(images.to(device, float32), targets, contrasts, parameters, seeds, regions, references)


def _ordinary(given: Any) -> Any:
    """A tensor without its history; one made in inference mode, which no gradient may meet, as a copy."""
    if not isinstance(given, Tensor):
        return given
    return given.clone() if given.is_inference() else given.detach()
