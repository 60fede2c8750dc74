"""Masking: a network that has learned which pixels the classifier needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.classifier import Classifier
from core.errors import UserError
from core.explainer import Estimate, register
from core.explainers.layers import maps_of
from core.explainers.learned.files import About, about_trained, load_trained, trained_for
from core.explainers.learned.masker import Masker, MaskerShape
from core.explainers.learned.trained import TrainedExplainer
from core.explainers.learned.weights import BACKBONE, below, kept, shuffle, whole, with_weights
from core.job import Job
from core.parameters import Parameters, parameter
from core.runtime.chunks import in_chunks

MASKER = "masker."


@dataclass(frozen=True)
class MaskingModel:
    """What a file of trained weights holds, ready to be asked.

    Attributes:
        about: what the file says of itself.
        scorer: whose masks they are: the classifier, or with regime "joint" the copy that learned along.
        masker: from its features to the mask.
    """

    about: About
    scorer: Classifier
    masker: Masker

    @property
    def joint(self) -> bool:
        """Its masks explain the copy, not the classifier."""
        return self.about.settings["training"]["regime"] == "joint"

    @torch.no_grad()
    def masks(self, images: Tensor, targets: Tensor, area: float = 0.5) -> Tensor:
        """[B, 3, H, W] in [0, 1], [B] -> [B, H, W] in [0, 1]: what to keep.

        Args:
            targets, area: what to look for and how much to keep, where the masker was trained to be told.
        """
        frame = (images.shape[-2], images.shape[-1])
        _, maps = maps_of(self.scorer, self.masker.shape.layers, images)
        told = images.new_full((len(images),), area)
        logits = self.masker(maps, frame, targets.to(images.device), told)
        return self.masker.masks(logits, frame)


@kept
def load_masking_model(path: Path, classifier: Classifier) -> MaskingModel:
    """From a file, on the classifier's device; the last few are kept.

    For a twin with shuffled weights it is the control: the masker's own weights shuffled.

    Raises:
        UserError: as of `load_trained`, or the weights do not fit the classifier.
    """
    about, tensors = load_trained(path, classifier, "masking")
    with whole(path):
        with torch.device("meta"):  # no random number is drawn
            masker = Masker(MaskerShape.from_dict(about.settings["shape"]))
        own = {name: value.float() if value.is_floating_point() else value
               for name, value in below(tensors, MASKER).items()}  # fmt: skip
        masker.load_state_dict(own, assign=True)
        scorer = with_weights(classifier, tensors, BACKBONE) or classifier
    if classifier.shuffled_from is not None:
        shuffle(masker, classifier.fingerprint)
    return MaskingModel(about, scorer, masker.to(classifier.device).eval().requires_grad_(False))


@dataclass(frozen=True)
class MaskingParameters(Parameters):
    area: float = parameter(
        0.5, "How much to keep, as a part of the picture, where the masker was trained to be told", low=0.05, high=0.95,
        step=0.05,
    )  # fmt: skip


@register
class Masking(TrainedExplainer):
    """Phang, Park, Geras: Investigating and Simplifying Masking-based Saliency Methods (2020).

    One pass gives a mask in [0, 1]: what to keep so that the class stays, and to leave out so that it is lost. Loss
    (`core.explainers.masking_objective`) and network (`core.explainers.learned.masker`) are the paper's, from its code,
    which is public. There is one mask a picture, whatever the target, unless the masker was trained to be told the
    class. Trained with regime "joint" it explains the copy that learned along, and not the classifier.

    The control of a learned explainer is its own masker shuffled.
    """

    name = "masking"
    title = "Masking"
    summary = "A network trained beside the classifier marks what it needs: enough to keep, and enough to take away."
    parameters = MaskingParameters
    unit = "mask"
    class_specific = False
    forgets = "its own masker, and not the model"

    def found(self, classifier: Classifier, parameters: MaskingParameters) -> Path | None:
        return next(iter(trained_for(self.name, classifier).values()), None)

    def no_evidence(self, file: Path) -> str | None:
        if about_trained(file).settings.get("training", {}).get("regime") != "joint":
            return None
        return (
            f"{file.name} was trained with regime joint: its masks explain the copy that learned along, and are no "
            "evidence about the model itself; train one with --regime fixed for that."
        )

    def prepare(self, classifier: Classifier, weights: Any) -> Path:
        path = Path(weights) if weights is not None else self.found(classifier, MaskingParameters())
        if path is None:  # gone since `supports` looked
            raise UserError(f"The file of the {self.title} explainer is not there any more; train one again.")
        load_masking_model(path, classifier)
        return path

    def run(self, classifier: Classifier, job: Job, state: Path) -> Iterator[Estimate]:
        model = load_masking_model(state, classifier)
        values = torch.zeros(job.size, *job.frame, device=job.images.device)
        targets = job.targets.to(job.images.device)

        def look(start: int, end: int) -> None:
            values[start:end] = model.masks(job.images[start:end], targets[start:end], job.parameters.area)

        for done in in_chunks(classifier, job.size, tuple(job.images.shape[1:]), "learned", look):
            passes = [int(b < done) for b in range(job.size)]
            yield Estimate(values.clone(), passes, [0] * job.size, partial=done < job.size)
