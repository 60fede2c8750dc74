"""torchvision's semantic segmentation models: every pixel gets one of the categories that the model was taught."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import UserError, closest
from core.images import Picture
from core.loading.checkpoints import load_weights, read_checkpoint
from core.loading.labels import read_labels
from core.loading.request import preprocessing_entry, read_entry
from core.loading.torchvision_models import build, count_classes, published
from core.loading.torchvision_names import semantic_models
from core.parameters import Parameters, parameter
from core.paths import user_path
from core.preprocessing import Geometry, Preprocessing
from core.runtime.device import choose_device, choose_precision
from core.runtime.fingerprints import weights_mark
from core.segments.registry import Segmenter, register
from core.segments.segmenters.planes import laid_over, named_pieces
from core.segments.segments import Segment, Segments, legal_name

NAMES = semantic_models()
USUAL = "deeplabv3_mobilenet_v3_large"
# the longer side is at most so many times what the weights want for the shorter one; beyond that it is squashed less
LONGEST = 4


@dataclass(frozen=True)
class SemanticParameters(Parameters):
    """Of a semantic segmentation model."""

    confidence: float = parameter(0.5, "least mean probability of a segment", low=0.0, high=1.0, step=0.01)
    split: bool = parameter(False, "each connected region on its own, instead of one mask a category")


@dataclass(frozen=True)
class Model:
    """One that is loaded.

    Attributes:
        categories: names, in the order of its planes.
        preprocessing: its crop is not used: the whole picture is looked at.
    """

    module: nn.Module
    categories: tuple[str, ...]
    preprocessing: Preprocessing
    device: torch.device
    precision: str

    @torch.no_grad()
    def probabilities(self, picture: Picture) -> tuple[Tensor, Geometry]:
        """[C, H, W] float32 on the CPU, their sum 1 at every pixel of the model's frame; and the way back."""
        wanted = self.preprocessing
        framed = Preprocessing(frame(wanted.resize, picture.size), None, wanted.interpolation, wanted.mean, wanted.std)
        prepared = framed.apply(picture)
        mean, std = (torch.tensor(values, device=self.device).view(3, 1, 1) for values in (wanted.mean, wanted.std))
        images = ((prepared.tensor.to(self.device) - mean) / std)[None]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits = self.module(images)["out"]
        return logits[0].float().softmax(0).cpu(), prepared.geometry


@register
class Semantic(Segmenter):
    """FCN, DeepLab v3 and LR-ASPP as torchvision has them."""

    name = "semantic"
    title = "Semantic model"
    summary = "the categories that a segmentation model was taught, one mask each, with names"
    family = "semantic"
    specs = (*NAMES, "NAME@FILE")
    parameters = SemanticParameters

    def __init__(self, spec: str = "", **options: Any) -> None:
        """As of `Segmenter`; `labels` in the options is a file of category names for one's own weights."""
        super().__init__(spec or USUAL, **options)
        self._model: Model | None = None
        self._architecture, at, file = self.spec.partition("@")
        if self._architecture not in NAMES:
            raise UserError(
                f"torchvision has no semantic model {self._architecture!r}; {closest(self._architecture, list(NAMES))}"
            )
        if at and not file:
            raise UserError(f"{self.spec!r} ends after the @; name the weights file there, or leave the @ out.")
        self._file = user_path(file) if file else None

    def load(self) -> Model:
        if self._model is None:
            device = choose_device(self.options.get("device", "auto"))
            precision = choose_precision(self.options.get("precision", "auto"), device)
            module, categories, preprocessing = self._published() if self._file is None else self._own(self._file)
            module = module.eval().requires_grad_(False).to(device)
            self._model = Model(module, categories, preprocessing, device, precision)
        return self._model

    def settings(self) -> dict[str, str]:
        files = [user_path(path) for path in (self._file, self.options.get("labels")) if path is not None]
        return {"weights": weights_mark(files)} if files else {}

    def cut(self, picture: Picture, parameters: SemanticParameters) -> Segments:
        model = self.load()
        planes, geometry = model.probabilities(picture)
        # category by category, since all planes of a large picture together would take gigabytes
        winners = planes.argmax(0).unique().tolist()
        best = laid_over(planes[winners[0]], geometry)
        owner = torch.full(picture.size, winners[0]).numpy()
        for index in winners[1:]:
            plane = laid_over(planes[index], geometry)
            better = plane > best
            owner[better], best[better] = index, plane[better]
        items: list[Segment] = []
        for index in winners:
            mask = owner == index
            items += named_pieces(
                mask,
                best,
                model.categories[index],
                self.source,
                split=parameters.split,
                confidence=parameters.confidence,
            )
        return Segments(picture.size, tuple(items))

    def _published(self) -> tuple[nn.Module, tuple[str, ...], Preprocessing]:
        weights, state = published(self._architecture, self.source, self.options.get("progress"))
        labels = self._labels() or weights.meta["categories"]
        module = _build(self._architecture, len(weights.meta["categories"]), state)
        load_weights(module, state, self.source)
        return module, _categories(labels, len(weights.meta["categories"]), self.source), _usual(self._architecture)

    def _own(self, file: Path) -> tuple[nn.Module, tuple[str, ...], Preprocessing]:
        from torchvision.models import get_model_weights

        state, metadata = read_checkpoint(file)
        count = count_classes(self._architecture, _options(state), state)
        module = _build(self._architecture, count, state)
        load_weights(module, state, self.spec)
        labels: Sequence[str] | None = self._labels()
        if labels is None and "labels" in metadata:
            labels = [str(label) for label in read_entry(metadata, "labels", list, self.spec)]
        usual = get_model_weights(self._architecture)["DEFAULT"].meta["categories"]
        if labels is None:
            if count != len(usual):
                raise UserError(f"{self.spec} does not say what its {count} categories are called; give --labels.")
            labels = usual
        preprocessing = (
            preprocessing_entry(metadata, self.spec) if "preprocessing" in metadata else _usual(self._architecture)
        )
        return module, _categories(labels, count, self.spec), preprocessing

    def _labels(self) -> list[str] | None:
        file = self.options.get("labels")
        if file is None:
            return None
        labels, changed = read_labels(file)
        if changed:  # a category 0, mostly the background, may be meant to have no name
            raise UserError(f"The labels file {file} must number the categories from 0.")
        return labels


def frame(resize: int | tuple[int, int] | None, size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) that a picture of this size (height, width) is resized to."""
    if resize is None or isinstance(resize, tuple):
        return resize or size
    scale = min(resize / min(size), LONGEST * resize / max(size))
    # torchvision's rounding: the longer side is truncated
    return max(1, int(size[0] * scale + 1e-6)), max(1, int(size[1] * scale + 1e-6))


def _build(name: str, categories: int, state: dict[str, Tensor]) -> nn.Module:
    return build(name, num_classes=categories, **_options(state))


def _options(state: dict[str, Tensor]) -> dict[str, Any]:
    """Of the builder; an auxiliary head is there if the weights have one."""
    auxiliary = any(re.search(r"(^|\.)aux_classifier\.", key) for key in state)
    return {"weights_backbone": None, **({"aux_loss": True} if auxiliary else {})}


def _usual(name: str) -> Preprocessing:
    from torchvision.models import get_model_weights

    transform = get_model_weights(name)["DEFAULT"].transforms()
    side = transform.resize_size[0]
    mean, std = tuple(transform.mean), tuple(transform.std)
    return Preprocessing(side, (side, side), transform.interpolation.value, mean, std)


def _categories(labels: Sequence[str], count: int, what: str) -> tuple[str, ...]:
    """Names of segments; what torchvision calls "__background__" is the background."""
    if len(labels) != count:
        raise UserError(f"{what} has {count} categories but {len(labels)} labels were given; give one a category.")
    known = {"__background__": "background"}
    return tuple(known.get(label) or legal_name(label) or f"category {index}" for index, label in enumerate(labels))
