"""Explainers that know nothing yet, written as files: what does not depend on how well they are trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from core.classifier import Classifier
from core.explainers.learned.files import About, save_trained
from core.explainers.learned.masker import Masker, masker_shape
from core.explainers.learned.masking import MASKER
from core.explainers.learned.model import HEAD, NULL
from core.explainers.learned.network import Network, shape_for, trainable
from core.explainers.learned.objective import Objective
from core.explainers.learned.weights import BACKBONE
from core.learning import MaskingTraining, SalvageTraining


def write_explainer(classifier: Classifier, path: Path, players: str = "patches", grid: int = 4, seed: int = 0) -> Path:
    """With weights that were drawn at random."""
    options = SalvageTraining(players=players, grid=grid, width=16)
    shape = shape_for(classifier, grid, players == "segments", options.width)
    assert shape is not None
    objective = Objective(sigmoid=classifier.output == "sigmoid", normalise=options.normalise)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(trainable(classifier), shape)
        torch.nn.init.normal_(network.head.values.weight)
        null = objective.null(torch.rand(len(classifier.labels)).softmax(0))
    tensors = {f"{HEAD}{name}": value for name, value in network.head.state_dict().items()}
    tensors |= {f"{BACKBONE}{name}": value for name, value in network.module.state_dict().items()}
    tensors[NULL] = null
    settings = {"shape": shape.to_dict(), "objective": asdict(objective), "training": options.to_dict()}
    about = About("salvage", players, classifier.fingerprint, classifier.name, classifier.labels, settings, {})
    save_trained(path, about, tensors)
    return path


def write_masker(classifier: Classifier, path: Path, seed: int = 0, **options: object) -> Path:
    """The same for a masking model."""
    chosen = MaskingTraining.parse(options)
    shape = masker_shape(classifier, chosen.tell_class, chosen.tell_area, chosen.hard)
    assert shape is not None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        masker = Masker(shape)
    tensors = {f"{MASKER}{name}": value for name, value in masker.state_dict().items()}
    if chosen.regime == "joint":
        own = trainable(classifier).module.state_dict()
        tensors |= {f"{BACKBONE}{name}": value for name, value in own.items()}
    settings = {"shape": shape.to_dict(), "training": chosen.to_dict()}
    about = About("masking", "mask", classifier.fingerprint, classifier.name, classifier.labels, settings, {})
    save_trained(path, about, tensors)
    return path
