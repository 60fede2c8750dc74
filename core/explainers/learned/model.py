"""A trained Salvage explainer: values of all players for all classes in one pass, and itself a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.classifier import Classifier
from core.explainers.games.players import cells
from core.explainers.learned.files import About, load_trained
from core.explainers.learned.network import Network, Shape, existing
from core.explainers.learned.objective import Objective
from core.explainers.learned.weights import BACKBONE, below, kept, shuffle, whole, with_weights

SURROGATE, HEAD, NULL = "surrogate.", "head.", "null"


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
        raw, own = self.network(images, masks)
        whole = None
        if self.surrogate is not None:
            whole = self.surrogate.probabilities(self.surrogate.logits(images))
        return self.objective.values(raw, self.null, own, whole, existing(masks))

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


@kept
def load_model(path: Path, classifier: Classifier, explainer: str = "salvage") -> SalvageModel:
    """From a file, on the classifier's device; the last few are kept.

    For a twin with shuffled weights it is the control: the same network, its own head shuffled.

    Raises:
        UserError: as of `load_trained`, or the weights do not fit the classifier.
    """
    about, tensors = load_trained(path, classifier, explainer)
    with whole(path):
        shape = Shape.from_dict(about.settings["shape"])
        objective = Objective(**about.settings["objective"])
        backbone = with_weights(classifier, tensors, BACKBONE) or classifier
        network = Network(backbone, shape, below(tensors, HEAD))
        null = tensors[NULL].to(classifier.device)
        surrogate = with_weights(classifier, tensors, SURROGATE)
    if classifier.shuffled_from is not None:
        shuffle(network.head, classifier.fingerprint)
    return SalvageModel(about, network.eval().requires_grad_(False), objective, null, surrogate)
