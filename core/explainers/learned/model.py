"""A trained Salvage explainer: values of all players for all classes in one pass, and itself a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.classifier import Classifier
from core.errors import UserError
from core.explainers.games.players import cells
from core.explainers.learned.files import About, load_trained
from core.explainers.learned.network import Network, Shape
from core.explainers.learned.objective import Objective
from core.runtime.fingerprints import file_state
from core.runtime.folding import unfolded
from core.runtime.randomness import derived_seed
from core.runtime.recent import Recent

KEPT = 4  # models in memory
BACKBONE, SURROGATE, HEAD, NULL = "backbone.", "surrogate.", "head.", "null"


@dataclass(frozen=True)
class SalvageModel:
    """What a file of trained weights holds, ready to be asked.

    Attributes:
        about: what the file says of itself.
        network: features and head. objective: how its values become a distribution.
        null: [C], the logits (identity: probabilities) when no player is present.
        surrogate: what it was trained to predict; kept where the values cannot be had without it (identity).
    """

    about: About
    network: Network
    objective: Objective
    null: Tensor
    surrogate: Classifier | None = None

    @property
    def passes(self) -> int:
        """Of a classifier, that one picture takes."""
        return 1 if self.surrogate is None else 2

    @torch.no_grad()
    def values(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """[B, 3, H, W] in [0, 1], and where segments are the players [B, P, H, W] -> [B, P, C]."""
        raw = self.network(images, masks)
        whole = raw.new_zeros(len(raw), raw.shape[-1])
        if self.surrogate is not None:
            whole = self.surrogate.probabilities(self.surrogate.logits(images))
        return self.objective.values(raw, self.null, whole)

    def logits(self, values: Tensor, present: Tensor | None = None) -> Tensor:
        """[B, P, C], [B, M, P] of booleans (None: everybody, M = 1) -> [B, M, C]; what it predicts for these players.

        Without present players that is the null, and with all of them their exact sum on top of it.
        """
        if present is None:
            present = torch.ones(len(values), 1, values.shape[1], dtype=torch.bool, device=values.device)
        return self.objective.predicted(values, self.null, present)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of `logits`."""
        return self.objective.probabilities(logits)

    def labels(self, frame: tuple[int, int]) -> Tensor:
        """[H, W]: which patch has which pixel."""
        return cells(frame, *self.network.shape.grid)


_models: Recent[tuple, SalvageModel] = Recent(KEPT)


def load_model(path: Path, classifier: Classifier, explainer: str = "salvage") -> SalvageModel:
    """From a file, on the classifier's device; the last few are kept.

    For a twin with shuffled weights it is the control: the same network, its own head shuffled.

    Raises:
        UserError: as of `load_trained`, or the weights do not fit the classifier.
    """
    try:
        state = file_state(path)
    except OSError:
        state = []
    key = (str(path), *state, classifier.fingerprint, str(classifier.device), classifier.precision)
    return _models.get_or_make(key, lambda: _loaded(path, classifier, explainer))


def _loaded(path: Path, classifier: Classifier, explainer: str) -> SalvageModel:
    about, tensors = load_trained(path, classifier, explainer)
    try:
        shape = Shape.from_dict(about.settings["shape"])
        objective = Objective(**about.settings["objective"])
        backbone = _with_weights(classifier, tensors, BACKBONE) or classifier
        network = Network(backbone, shape, _below(tensors, HEAD))
        null = tensors[NULL].to(classifier.device)
        surrogate = _with_weights(classifier, tensors, SURROGATE)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} is not whole ({str(error).splitlines()[0][:120]}); train it again.") from error
    if classifier.shuffled_from is not None:
        _shuffle(network, classifier.fingerprint)
    return SalvageModel(about, network.eval().requires_grad_(False), objective, null, surrogate)


def _with_weights(classifier: Classifier, tensors: Mapping[str, Tensor], prefix: str) -> Classifier | None:
    own = _below(tensors, prefix)
    if not own:
        return None
    module = unfolded(classifier.module)
    module.load_state_dict(own)  # which makes them float32 again
    return classifier.with_module(module, f"{classifier.name} ({prefix.rstrip('.')})")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@torch.no_grad()
def _shuffle(network: Network, seed: str) -> None:
    """Every tensor of the head, within itself."""
    for name, value in network.head.named_parameters():
        numbers = torch.Generator().manual_seed(derived_seed(seed, "shuffled head", name))
        order = torch.randperm(value.numel(), generator=numbers).to(value.device)
        value.copy_(value.flatten()[order].view(value.shape))
