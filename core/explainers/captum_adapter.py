"""captum's attribution classes as explainers, each called captum:CLASS; what they ask for is read off their signatures.

Kokhlikyan et al.: Captum: A unified and generic model interpretability library for PyTorch (arXiv 2009.07896).
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import inspect
import random
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from textwrap import shorten
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.attribution import Unit
from core.classifier import Classifier
from core.errors import UserError, closest
from core.explainer import Estimate, Explainer
from core.explainers.captum_source import CaptumClass, captum_classes
from core.explainers.layers import SpatialLayer, last_map
from core.explainers.removal import OcclusionParameters
from core.fills import PLATES, fill_plate
from core.job import Job
from core.parameters import Parameters, parameter
from core.regions import regions_parameter
from core.runtime.capture import tensors_in
from core.runtime.chunks import START
from core.runtime.folding import unfolded
from core.runtime.randomness import derived_seed

PREFIX = "captum:"
# it hooks a private copy, so that it takes its hooks off again concerns nobody
warnings.filterwarnings("ignore", message=r"\s*Setting (forward, )?backward hooks", category=UserWarning)

_NEURON = "it explains one neuron inside the model, and none is chosen here"
_TEXT = "it explains language models"
_SHUFFLED = "it exchanges features between the pictures of a batch, and a map here depends on its own picture only"
LEFT_OUT = {
    "DataLoaderAttribution": "it adds up over a data set, and a map here is of one picture",
    "FeaturePermutation": _SHUFFLED,
    "LayerActivation": "activations are not about the target",
    "LayerFeaturePermutation": _SHUFFLED,
    "LayerLRP": "captum keeps relevance at layers with weights only, and maps end in activations; use captum:LRP",
    "LimeBase": "it has no parts of its own; use captum:Lime",
    "NoiseTunnel": "it wraps another method; use smoothgrad",
    "ShapleyValues": "it tries every order of the features, which takes for ever; use captum:ShapleyValueSampling",
}

# help, low, high, step of the options that captum's methods have; others get bounds from their defaults
KNOWN: dict[str, tuple[str, float | None, float | None, float | None]] = {
    "abs": ("Absolute values, or for and against", None, None, None),
    "multiply_by_inputs": ("Times the difference to the baseline", None, None, None),
    "n_samples": ("Samples drawn", 2, 1000, 1),
    "n_steps": ("Points on the path from the baseline to the picture", 1, 500, 1),
    "relu_attributions": ("Keep evidence for the target only", None, None, None),
    "stdevs": ("Noise, as a part of the full brightness range", 0, 1, 0.01),
}
# their values sum to the change of the score on the way from the baseline (those of layers are enlarged, and do not)
COMPLETE = {"DeepLift", "DeepLiftShap", "GradientShap", "IntegratedGradients"}
# these say how captum works, not what it answers
NOT_OFFERED = {
    *("show_progress", "verbose", "return_convergence_delta", "return_input_shape", "memory_efficient", "eps"),
    *("perturbations_per_eval", "attribute_to_layer_input", "attr_dim_summation"),
}

_global_randomness = threading.Lock()


class Score(nn.Module):
    """The number to explain as a module of its own, [K, 3, H, W] -> [K]; counts the pictures that pass.

    Attributes:
        module: the classifier's, for hooks.
        forwards, backwards: pictures sent so far, and those of them with a way back.
    """

    def __init__(self, classifier: Classifier, target: Tensor, contrast: Tensor | None) -> None:
        super().__init__()
        self.module = classifier.module
        self.forwards, self.backwards = 0, 0
        self._classifier, self._target, self._contrast = classifier, target, contrast

    def forward(self, images: Tensor) -> Tensor:
        count = len(images)
        logits = self._classifier.logits(images)
        self.forwards += count
        self.backwards += count if logits.requires_grad else 0
        contrasts = None if self._contrast is None else self._contrast.expand(count)
        return self._classifier.score(logits, self._target.expand(count), contrasts)


class CaptumExplainer(Explainer):
    """One of captum's classes; `captum_explainers` derives one explainer from each.

    Hooks and changed weights stay in a private copy of the module. captum draws from the global random state, which is
    therefore seeded from the picture's own seed for the time of one picture, under a lock, and put back.
    """

    described: ClassVar[CaptumClass]

    @property
    def method(self) -> Any:
        """captum's class."""
        import captum.attr

        return getattr(captum.attr, self.described.name)

    def supports(self, classifier: Classifier) -> str | None:
        if self.described.name in ("Lime", "KernelShap") and importlib.util.find_spec("sklearn") is None:
            return f"{self.name} needs the package scikit-learn; install it with: pip install scikit-learn."
        if "layer" in self.described.made_with:
            layer = last_map(classifier)
            if layer is None or ("GradCam" in self.name and layer.layout != "channels first"):
                return (
                    f"{self.name} needs a layer that keeps a map of the picture, channels first, and {classifier.name} "
                    "has none; choose a gradient or removal explainer."
                )
        return None

    def is_signed(self, parameters: Any) -> bool:
        return not (getattr(parameters, "abs", False) or getattr(parameters, "relu_attributions", False))

    def unit_of(self, parameters: Any) -> Unit:
        """Regions and patches are divided by their area; windows overlap, as those of `Occlusion` do."""
        complete = self.described.name in COMPLETE and getattr(parameters, "multiply_by_inputs", True)
        return "density" if complete or "feature_mask" in self.described.asked else "intensity"

    def prepare(self, classifier: Classifier, weights: Any) -> SpatialLayer | None:
        return last_map(classifier) if "layer" in self.described.made_with else None

    def run(self, classifier: Classifier, job: Job, state: SpatialLayer | None) -> Iterator[Estimate]:
        twin = copy.copy(classifier)
        twin.module = unfolded(classifier.module)  # captum's rules are for the layers as they were written
        values = torch.zeros(job.size, *job.frame, device=job.images.device)
        forwards, backwards = [0] * job.size, [0] * job.size
        for b in range(job.size):
            contrast = None if job.contrasts is None else job.contrasts[b : b + 1]
            score = Score(twin, job.targets[b : b + 1], contrast).eval()
            try:
                with _seeded(job.seeds[b], classifier.device), torch.enable_grad():
                    values[b] = self._map(score, job, b, state)
            except (UserError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                told = shorten(str(error) or type(error).__name__, 160, placeholder=" ...").rstrip(".")
                raise UserError(
                    f"{self.name} cannot explain {classifier.name} (captum says: {told}); choose another explainer."
                ) from error
            forwards[b], backwards[b] = score.forwards, score.backwards
            yield Estimate(values.clone(), list(forwards), list(backwards), partial=b + 1 < job.size)

    def _map(self, score: Score, job: Job, b: int, layer: SpatialLayer | None) -> Tensor:
        """[H, W], the map of one picture."""
        from captum.attr import LayerAttribution
        from captum.attr._utils.attribution import PerturbationAttribution

        image = job.images[b : b + 1].clone().requires_grad_(True)
        made = self.method(**self._given(self.described.made_with, score, job, b, image, layer))
        options = self._given(self.described.asked, score, job, b, image, layer)
        answer = made.attribute(image, **options)
        # what is removed is removed from all colours or features at once, and each of them is given the whole effect
        over_channels = torch.mean if issubclass(self.method, PerturbationAttribution) else torch.sum
        if layer is not None and issubclass(self.method, LayerAttribution):
            coarse = layer.as_channels_first(layer.map_of(answer).detach()).float()
            summed = over_channels(coarse, 1, keepdim=True)
            return F.interpolate(summed, job.frame, mode="bilinear", align_corners=False)[0, 0]
        values = over_channels(tensors_in(answer)[0].detach().float(), 1)[0]
        if "feature_mask" in options:
            features = options["feature_mask"][0, 0]
            values = values / features.flatten().bincount()[features]
        return values

    def _given(
        self,
        asked: dict[str, inspect.Parameter],
        score: Score,
        job: Job,
        b: int,
        image: Tensor,
        layer: SpatialLayer | None,
    ) -> dict[str, Any]:
        """What a constructor or `attribute` is called with: everything it asks for that there is an answer to."""
        known = {field.name: getattr(job.parameters, field.name) for field in dataclasses.fields(job.parameters)}
        given = {name: value for name, value in known.items() if name in asked}
        for name, one in asked.items():
            if name in ("model", "forward_func"):
                given[name] = score
            elif name == "layer" and layer is not None:
                given[name] = score.module.get_submodule(layer.name)
            elif name == "baselines":
                plates = ("mean",) if one.default is None else PLATES  # methods that insist want several
                given[name] = torch.cat([fill_plate(image.detach(), kind) for kind in plates])
            elif name == "feature_mask":
                features = _segments(job, b) if self.wants_regions(job.parameters) else _patches(job, known["patches"])
                given[name] = features.expand_as(image).contiguous()
            elif name == "layer_mask" and layer is not None:
                given[name] = _positions(layer).to(image.device)
            elif name == "sliding_window_shapes":
                window, stride = OcclusionParameters(known["window"], known["stride"]).pixels(job.frame)
                given |= {name: (3, window, window), "strides": (3, stride, stride)}
            elif name in ("internal_batch_size", "perturbations_per_eval"):
                given[name] = START.get(image.device.type, 8)
        return given


def _segments(job: Job, b: int) -> Tensor:
    """[1, 1, H, W] long: the number of the region that has most of each pixel of picture b."""
    assert job.regions is not None  # `BoundExplainer.steps` has seen to it
    return _numbered(job.regions.masks[b].argmax(0))


def _patches(job: Job, patches: int) -> Tensor:
    """[1, 1, H, W] long: the number of each pixel's cell in a grid."""
    height, width = job.frame
    side = max(1, round(min(job.frame) / patches))
    rows, columns = (torch.arange(n, device=job.images.device) // side for n in (height, width))
    return _numbered(rows[:, None] * (int(columns[-1]) + 1) + columns[None, :])


def _numbered(features: Tensor) -> Tensor:
    """[H, W] -> [1, 1, H, W]: captum counts from 0 to the largest number, so that none may be missing."""
    return features.unique(return_inverse=True)[1].view(1, 1, *features.shape)


def _positions(layer: SpatialLayer) -> Tensor:
    """A number for each position of a layer's map, all channels together, in the layer's own layout."""
    h, w = layer.grid
    shape = {"channels first": (1, 1, h, w), "channels last": (1, h, w, 1), "tokens": (1, layer.extra + h * w, 1)}
    return torch.arange(h * w + layer.extra).view(shape[layer.layout])


@contextmanager
def _seeded(seed: int, device: torch.device) -> Generator[None]:
    """The global randomness of torch, numpy and Python depends on the seed while the block runs, then is as before."""
    devices = [device.index or 0] if device.type == "cuda" else []
    drawn = derived_seed(seed, "captum")
    with _global_randomness, torch.random.fork_rng(devices):
        states = np.random.get_state(), random.getstate()  # noqa: NPY002 - it is captum that draws from it
        try:
            torch.manual_seed(drawn)
            np.random.seed(drawn % 2**32)  # noqa: NPY002
            random.seed(drawn)
            yield
        finally:
            np.random.set_state(states[0])  # noqa: NPY002
            random.setstate(states[1])


def _parameters(described: CaptumClass) -> Any:
    """The numbers and switches of a class's signatures as a frozen dataclass with bounds."""
    asked = {**described.made_with, **described.asked}
    fields: list[tuple[str, type, Any]] = []
    for name, one in asked.items():
        kind = type(one.default)
        if name in NOT_OFFERED or kind not in (int, float, bool):
            continue
        number = kind is not bool
        fallback = f"captum's option {name}", 0 if number else None, max(10 * one.default, 1) if number else None
        text, low, high, step = KNOWN.get(name, (*fallback, {int: 1, float: 0.01}.get(kind)))
        fields.append((name, kind, parameter(one.default, text, low=low, high=high, step=step)))
    if "feature_mask" in asked:
        text = "Cells along the shorter side of the picture, where patches are removed"
        fields.append(("patches", int, parameter(8, text, low=2, high=32, step=1)))
        text = "What is removed: patches of a grid, or each of the picture's segments"
        fields.append(("regions", str, regions_parameter("patches", help=text)))
    if "sliding_window_shapes" in asked:
        window, stride, *_ = dataclasses.fields(OcclusionParameters)
        fields += [
            (one.name, float, dataclasses.field(default=one.default, metadata=one.metadata)) for one in (window, stride)
        ]
    return dataclasses.make_dataclass(f"{described.name}Parameters", fields, bases=(Parameters,), frozen=True)


def _explainer(one: CaptumClass) -> Explainer:
    name = one.name
    if "GradCam" in name:
        family = "cam"
    elif "DeepLift" in name or "LRP" in name:
        family = "relevance"
    else:
        family = "removal" if "PerturbationAttribution" in one.bases else "gradient"
    asked = one.asked
    described = {
        "__doc__": f"captum.attr.{name}.",
        "name": PREFIX + name,
        "title": f"captum {name}",
        "summary": f"{name} as captum has it.",
        "family": family,
        "parameters": _parameters(one),
        "signed": not ("abs" in asked and asked["abs"].default),
        "unit": "density" if name in COMPLETE or "feature_mask" in asked else "intensity",
        "random": "n_samples" in asked,
        "described": one,
    }
    return type(f"Captum{name}", (CaptumExplainer,), described)()


def _why_left_out(name: str) -> str | None:
    if name.startswith("Neuron"):
        return _NEURON
    return _TEXT if "LLM" in name else LEFT_OUT.get(name)


@cache
def captum_explainers() -> dict[str, Explainer]:
    """An explainer for each of captum's classes that can make a map of one picture; none where it is not installed."""
    usable = {name: one for name, one in captum_classes().items() if one.of_inputs and _why_left_out(name) is None}
    return {PREFIX + name: _explainer(one) for name, one in usable.items()}


def captum_explainer(name: str) -> Explainer:
    """By its whole name, such as "captum:Occlusion".

    Raises:
        UserError: captum is not installed, the class makes no map of one picture, or there is none of that name.
    """
    known = captum_explainers()
    if not known:
        raise UserError(f"{name} needs the package captum; install it with: pip install captum.")
    if name not in known:
        reason = _why_left_out(name.removeprefix(PREFIX)) if name.removeprefix(PREFIX) in captum_classes() else None
        if reason is not None:
            raise UserError(f"{name} cannot be used here: {reason}.")
        raise UserError(f"There is no explainer {name!r}; {closest(name, list(known))}")
    return known[name]
