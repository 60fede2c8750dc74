"""Class activation maps: what the last feature map says, weighted by what it means for the target."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from core.attribution import Estimate, Explainer, Job, register
from core.classifier import Classifier
from core.explainers.layers import SpatialLayer, find_last_map
from core.parameters import Parameters, parameter
from core.runtime.capture import captured
from core.runtime.chunks import in_chunks


@dataclass(frozen=True)
class GradCamParameters(Parameters):
    relu: bool = parameter(True, "Keep evidence for the target only; off shows evidence against it as well")


@register
class GradCam(Explainer):
    """Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization (ICCV 2017).

    The layer is found once per classifier by `layers.find_last_map`; for a ViT the patch tokens are the map.
    """

    name = "grad-cam"
    title = "Grad-CAM"
    summary = "The last feature map, weighted by how much each feature matters for the target: coarse, but quick."
    family = "cam"
    parameters = GradCamParameters
    default = True

    def __init__(self) -> None:
        self._layers: WeakKeyDictionary[Classifier, SpatialLayer | None] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def layer(self, classifier: Classifier) -> SpatialLayer | None:
        """The layer whose map is shown, found at the first question; None if the model has none."""
        with self._lock:
            if classifier not in self._layers:
                self._layers[classifier] = find_last_map(classifier)
            return self._layers[classifier]

    def supports(self, classifier: Classifier) -> str | None:
        if self.layer(classifier) is None:
            return (
                f"Grad-CAM needs a layer that keeps a map over the picture, and {classifier.name} has none; "
                "choose a gradient or removal explainer."
            )
        return None

    def is_signed(self, parameters: GradCamParameters) -> bool:
        return not parameters.relu

    def prepare(self, classifier: Classifier, weights: Any) -> SpatialLayer | None:
        return self.layer(classifier)

    def run(self, classifier: Classifier, job: Job, state: SpatialLayer) -> Iterator[Estimate]:
        values = torch.zeros(job.size, *job.frame, device=job.images.device)

        def run(start: int, end: int) -> None:
            activation, gradient = _activation_and_gradient(classifier, job, state, slice(start, end))
            coarse = (gradient.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True)
            if job.parameters.relu:
                coarse = coarse.relu()
            values[start:end] = F.interpolate(coarse, job.frame, mode="bilinear", align_corners=False)[:, 0]

        # passes go back only as far as the layer, so their best chunk is learned apart from whole gradients
        for done in in_chunks(classifier, job.size, tuple(job.images.shape[1:]), "cam", run):
            passes = [int(b < done) for b in range(job.size)]
            yield Estimate(values.clone(), passes, passes, partial=done < job.size)


def _activation_and_gradient(
    classifier: Classifier, job: Job, layer: SpatialLayer, rows: slice
) -> tuple[Tensor, Tensor]:
    """Two [K, C, h, w] float32: the layer's map of some pictures, and the gradient of their scores in it."""
    contrasts = None if job.contrasts is None else job.contrasts[rows]
    module = classifier.module.get_submodule(layer.name)
    with torch.enable_grad():
        with captured([(layer.name, module)]) as answers:
            logits = classifier.logits(job.images[rows].clone().requires_grad_(True))
        score = classifier.score(logits, job.targets[rows], contrasts)
        activation = layer.map_of(answers[layer.name])
        gradient = torch.autograd.grad(score.sum(), activation)[0]
    return layer.as_channels_first(activation.detach()).float(), layer.as_channels_first(gradient).float()
