"""Class activation maps: what the last feature map says, weighted by what it means for the target."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.classifier import Classifier
from core.explainer import Estimate, Explainer, register
from core.explainers.integration import Reading, Samples
from core.explainers.layers import SpatialLayer, last_map
from core.explainers.presets import PresetParameters, integrate_preset, is_random_preset, visited_by_preset
from core.job import Job
from core.parameters import parameter
from core.runtime.capture import captured


@dataclass(frozen=True)
class CamParameters(PresetParameters):
    relu: bool = parameter(True, "Keep evidence for the target only; off shows evidence against it as well")


class Cam(Explainer):
    """Shared by the family: a coarse map from one layer's activation and gradient, alone or averaged over samples.

    An intensity: it is of features, some of them dropped, and enlarged.
    """

    family = "cam"
    parameters = CamParameters
    takes_references = True

    def supports(self, classifier: Classifier) -> str | None:
        if last_map(classifier) is None:
            return (
                f"{self.title} needs a layer that keeps a map over the picture, and {classifier.name} has none; "
                "choose a gradient or removal explainer."
            )
        return None

    def is_signed(self, parameters: CamParameters) -> bool:
        return not parameters.relu

    def is_random(self, parameters: CamParameters) -> bool:
        return is_random_preset(parameters.sampler)

    def prepare(self, classifier: Classifier, weights: Any) -> SpatialLayer | None:
        return last_map(classifier)

    def visited(self, job: Job, count: int) -> Tensor | None:
        return visited_by_preset(job, count)

    @abstractmethod
    def weigh(self, activation: Tensor, gradient: Tensor, relu: bool) -> Tensor:
        """Two [K, C, h, w] -> [K, h, w]: evidence, before negative values are dropped."""

    def run(self, classifier: Classifier, job: Job, state: SpatialLayer) -> Iterator[Estimate]:
        p: CamParameters = job.parameters

        def read(samples: Samples) -> tuple[Tensor, Tensor]:
            activation, gradient, logits = _activation_and_gradient(classifier, job, state, samples)
            return self.weigh(activation, gradient, p.relu).unsqueeze(1), logits

        def finish(mean: Tensor, squares: Tensor, n: Tensor) -> Tensor:
            return mean[:, 0].relu() if p.relu else mean[:, 0]

        # passes go back only as far as the layer, so their best chunk is learned apart from whole gradients
        reading = Reading(read, finish, kind="cam")
        yield from integrate_preset(classifier, job, reading)


@register
class GradCam(Cam):
    """Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization (ICCV 2017).

    The layer is found once per classifier by `layers.find_last_map`; for a ViT the patch tokens are the map.
    """

    name = "grad-cam"
    title = "Grad-CAM"
    summary = "The last feature map, weighted by how much each feature matters for the target: coarse, but quick."
    default = True
    reported = True

    def weigh(self, activation: Tensor, gradient: Tensor, relu: bool) -> Tensor:
        return (gradient.mean((2, 3), keepdim=True) * activation).sum(1)


@register
class LayerCam(Cam):
    """Jiang et al.: LayerCAM: Exploring Hierarchical Class Activation Maps for Localization (TIP 2021).

    With `relu` off negative gradients count as well, and the map is gradient times activation.
    """

    name = "layer-cam"
    title = "LayerCAM"
    summary = "Like Grad-CAM, but every place of the feature map is weighted by its own gradient."

    def weigh(self, activation: Tensor, gradient: Tensor, relu: bool) -> Tensor:
        return ((gradient.relu() if relu else gradient) * activation).sum(1)


def _activation_and_gradient(
    classifier: Classifier, job: Job, layer: SpatialLayer, samples: Samples
) -> tuple[Tensor, Tensor, Tensor]:
    """Two [K, C, h, w] float32: the layer's map of some samples, and the gradient of their scores in it; and logits."""
    module = classifier.module.get_submodule(layer.name)
    with torch.enable_grad():
        with captured([(layer.name, module)]) as answers:
            logits = classifier.logits(samples.images.clone().requires_grad_(True))
        score = job.score(classifier, logits, samples.picture)
        activation = layer.map_of(answers[layer.name])
        gradient = torch.autograd.grad(score.sum(), activation)[0]
    activation, gradient = (layer.as_channels_first(tensor).float() for tensor in (activation.detach(), gradient))
    return activation, gradient, logits.detach()
