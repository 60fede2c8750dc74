"""The model under study, behind one face."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from core.errors import UserError, closest
from core.images import Picture
from core.preprocessing import Prepared, Preprocessing
from core.probing.answers import tensor_of
from core.probing.copying import private_copy
from core.probing.probe import Output, probe_pictures, probed
from core.runtime.device import choose_device, choose_precision
from core.runtime.fingerprints import add_weights
from core.runtime.folding import fold_norms
from core.runtime.randomness import uniform
from core.text import composed

Scale = Literal["logit", "log-probability", "probability"]


@dataclass(frozen=True)
class Prediction:
    """One line of a top-k list: class index, its label, its probability in [0, 1]."""

    index: int
    label: str
    probability: float


class Classifier:
    """A private copy of a model: evaluation mode, no parameter gradients, no in-place activations.

    The caller's module is never touched. Plain pictures go in, logits come out: normalisation is inside, and so is the
    way back from probabilities where the module answers with those.

    Attributes:
        name: the spec or file it came from, for people.
        labels: one per class.
        output: "softmax" (classes exclude each other) or "sigmoid" (each class on its own).
        preprocessing: how pictures become its input.
        device, precision: where and in what the passes run ("float32" or "bfloat16"; logits are always float32).
        fingerprint: sha256 over weights, architecture and preprocessing, as the module was given.
        module: the copy, with batch normalisation folded where that changes no answer (`core.runtime.folding`).
        notes: one sentence for each thing that was noticed when it was loaded.
        recipe: what `load_classifier` was given, with which another process loads the same; None if it was not.
        aliases: label of a class that was taken together with others -> the group's (`core.loading.groups`).
        shuffled_from: of a twin with shuffled weights (`core.randomised`), the original's fingerprint.
    """

    recipe: Mapping[str, Any] | None = None
    aliases: Mapping[str, str] = MappingProxyType({})
    shuffled_from: str | None = None

    def __init__(
        self,
        module: nn.Module,
        *,
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        output: Output | None = None,
        name: str = "classifier",
        device: str | torch.device = "auto",
        precision: str = "auto",
        notes: Sequence[str] = (),
    ) -> None:
        """Copy the module and find out what it takes and what it answers.

        A one-logit module becomes two classes with logits (-z, z) and sigmoid output, so that both labels have
        their own probability and a gradient of full size.

        Args:
            output: whether classes exclude each other; None to go by the module's last layer ("softmax" if it has
                neither).
            notes: what was noticed before, when the module was read.

        Raises:
            UserError: labels do not fit, weights are not finite, a layer has none yet, or the module does not take such
                pictures.
        """
        self.name = name
        self.preprocessing = preprocessing or Preprocessing()
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self._mean = torch.tensor(self.preprocessing.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(self.preprocessing.std, device=self.device).view(1, 3, 1, 1)
        self._one_logit = False
        copied, changes = private_copy(module, name)
        pictures = self._normalised(probe_pictures(self.input_size))
        ready, found = probed(copied.to(self.device), pictures, self.preprocessing, output, name)
        self.notes = (*notes, *changes, *found.notes)
        self.memory_format = found.memory_format
        self.module: nn.Module = ready.to(memory_format=self.memory_format)
        self.output: Output = found.output
        classes = found.classes
        if classes == 1:
            self._one_logit, self.output, classes = True, "sigmoid", 2
            if labels is not None and len(labels) == 1:
                labels = [f"not {labels[0]}", labels[0]]
        if labels is not None and len(labels) != classes:
            raise UserError(
                f"{name} has {classes} classes but {len(labels)} labels were given; give one label a class."
            )
        self.labels = tuple(composed(label) for label in labels or (f"class {i}" for i in range(classes)))
        self.fingerprint = self._fingerprint()
        fold_norms(self.module, self._noise())

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the model's frame in pixels."""
        return self.preprocessing.model_size

    def prepare(self, picture: Picture | Image.Image) -> Prepared:
        """Resize and crop a picture into the model's frame, [3, H, W] in [0, 1]."""
        return self.preprocessing.apply(picture)

    def logits(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, C] float32, differentiable in the images."""
        x = self._normalised(images).contiguous(memory_format=self.memory_format)
        low = self.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext():
            out = tensor_of(self.module(x), len(x)).float()
        return torch.cat([-out, out], dim=1) if self._one_logit else out

    def probabilities(self, logits: Tensor) -> Tensor:
        """[B, C] logits -> [B, C] in [0, 1]."""
        return logits.sigmoid() if self.output == "sigmoid" else logits.softmax(-1)

    def margin(self, logits: Tensor, targets: Tensor) -> Tensor:
        """[B, C], [B] -> [B]: log-odds of the target against all other classes (sigmoid: against its absence)."""
        chosen = logits.gather(1, targets.view(-1, 1)).squeeze(1)
        if self.output == "sigmoid":
            return chosen
        others = logits.scatter(1, targets.view(-1, 1), float("-inf"))
        return chosen - others.logsumexp(-1)

    def says(self, logits: Tensor, targets: Tensor) -> Tensor:
        """[B, C], [B] -> [B] of booleans: the target is the answer (sigmoid: likelier than not)."""
        return named(logits, targets, self.output == "softmax")

    def score(self, logits: Tensor, targets: Tensor, contrasts: Tensor | None = None, scale: Scale = "logit") -> Tensor:
        """[B, C], [B] -> [B]: the number explainers explain, the target's value (minus the contrast's) on a scale."""
        values = logits
        if scale == "probability":
            values = self.probabilities(logits)
        elif scale == "log-probability":
            values = F.logsigmoid(logits) if self.output == "sigmoid" else logits.log_softmax(-1)
        chosen = values.gather(1, targets.view(-1, 1)).squeeze(1)
        if contrasts is None:
            return chosen
        return chosen - values.gather(1, contrasts.view(-1, 1)).squeeze(1)

    def with_module(self, module: nn.Module, name: str) -> Classifier:
        """The same classifier with other weights.

        Args:
            module: of the same architecture, on the device, as of `core.runtime.folding.unfolded`. It is taken over: in
                evaluation mode, without parameter gradients, its batch normalisation folded.
        """
        twin = copy.copy(self)
        twin.module, twin.name = module.eval().requires_grad_(False), name
        twin.fingerprint = twin._fingerprint()
        fold_norms(module, twin._noise())
        return twin

    @torch.no_grad()
    def finite_logits(self, images: Tensor) -> Tensor:
        """As `logits`, without gradients.

        Raises:
            UserError: the model answers with something that is not a number.
        """
        logits = self.logits(images)
        if not torch.isfinite(logits).all():
            raise UserError(f"{self.name} answers with NaN or infinity on this picture; check its weights.")
        return logits

    def predict(self, images: Tensor, k: int = 5) -> list[list[Prediction]]:
        """The k likeliest classes of each picture, likeliest first.

        Raises:
            UserError: as `finite_logits`.
        """
        logits = self.finite_logits(images)
        top = self.probabilities(logits).topk(min(k, len(self.labels)), dim=1)
        return [
            [Prediction(int(i), self.labels[int(i)], float(p)) for p, i in zip(row_p, row_i)]
            for row_p, row_i in zip(top.values.cpu(), top.indices.cpu())
        ]

    def class_index(self, label: str | int) -> int:
        """The class a person means by a label or a number.

        Raises:
            UserError: no such class, or the label names several.
        """
        text = composed(str(label).strip())
        text = self.aliases.get(text, text)
        exact = [i for i, known in enumerate(self.labels) if known == text]
        found = exact or [i for i, known in enumerate(self.labels) if known.lower() == text.lower()]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise UserError(f"{text!r} is the label of classes {', '.join(map(str, found))}; give the number instead.")
        if text.isdecimal() and int(text) < len(self.labels):
            return int(text)
        raise UserError(f"{self.name} has no class {text!r}; {closest(text, list(self.labels))}")

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.to(self.device, torch.float32) - self._mean) / self._std

    def _noise(self) -> Tensor:
        """[2, 3, H, W], as the module takes it: no two pictures alike."""
        noise = uniform((3, *self.input_size), (0, 0), (0, 1), self.device, salt="fold")
        return self._normalised(noise).contiguous(memory_format=self.memory_format)

    def _fingerprint(self) -> str:
        h = hashlib.sha256()
        h.update(str(self.module).encode())
        h.update(json.dumps(self.preprocessing.to_dict(), sort_keys=True).encode())
        h.update(f"{self.output}{self._one_logit}".encode())
        add_weights(h, self.module)
        return h.hexdigest()


def named(logits: Tensor, targets: Tensor, exclusive: bool) -> Tensor:
    """[B, C], [B] -> [B] of booleans: the class is the answer; where classes do not exclude each other, likelier than
    not."""
    return logits.argmax(1) == targets if exclusive else logits.gather(1, targets[:, None])[:, 0] > 0


def expand_targets(targets: Tensor | Sequence[int], count: int, device: torch.device) -> Tensor:
    """Class indices as a [count] long tensor on the device; one index serves all."""
    tensor = torch.as_tensor(targets, dtype=torch.long).flatten().to(device)
    return tensor.expand(count) if tensor.numel() == 1 else tensor
