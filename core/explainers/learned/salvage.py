"""Salvage: an explainer that has learned what the classifier says of masked pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.classifier import Classifier
from core.errors import UserError
from core.explainer import Estimate, Players, register
from core.explainers.games.players import Cells, Given
from core.explainers.learned.files import about_trained, trained_for
from core.explainers.learned.model import SalvageModel, load_model
from core.explainers.learned.objective import of_class
from core.explainers.learned.trained import TrainedExplainer
from core.job import Job
from core.parameters import Parameters
from core.regions import SEGMENTS, regions_parameter
from core.runtime.chunks import in_chunks


@dataclass(frozen=True)
class SalvageParameters(Parameters):
    regions: str = regions_parameter(
        "patches", help="Who has a value: patches of a grid, or the picture's segments; each is trained for itself"
    )


@register
class Salvage(TrainedExplainer):
    """Naouar et al.: Salvage (ICLR 2025): one pass gives every player's value for every class.

    From the paper's public parts: the explainer is trained to give the classifier's distribution on masked pictures as
    a "Shapley-distribution", on subsets that are drawn informed by approximated importance, and is itself an additive
    classifier. This project's reconstruction: the softmax over the null and the present players' sum, the KL
    divergence, and the way subsets are drawn (`core.explainers.learned.subsets`). Values are contributions to the
    log-odds of the explainer's own prediction, each class's less the mean over classes; they sum exactly to that
    prediction and, as far as it agrees, to the classifier's.

    The control of a learned explainer is its own network with the head shuffled.
    """

    name = "salvage"
    title = "Salvage"
    summary = "A network trained beside the classifier tells in one pass what each part adds to each class."
    parameters = SalvageParameters
    signed = True
    unit = "density"
    forgets = "its own head, and not the model"

    def found(self, classifier: Classifier, parameters: SalvageParameters) -> Path | None:
        return trained_for(self.name, classifier).get(parameters.regions)

    def trained_with(self, file: Path) -> dict[str, Any]:
        return {"regions": about_trained(file).players}

    def prepare(self, classifier: Classifier, weights: Any) -> Mapping[str, Path]:
        """Players -> file."""
        if weights is None:
            return trained_for(self.name, classifier)
        path = Path(weights)
        model = load_model(path, classifier, self.name)
        return {model.about.players: path}

    def check_state(self, parameters: SalvageParameters, state: Mapping[str, Path]) -> None:
        if parameters.regions not in state:
            there = next(iter(state.values()), None)
            trained = about_trained(there).players if there is not None else "nothing"
            raise UserError(
                f"This {self.title} explainer was trained on {trained}, not on {parameters.regions}; train one with "
                f"--players {parameters.regions}, or choose regions={trained}."
            )

    def run(self, classifier: Classifier, job: Job, state: Mapping[str, Path]) -> Iterator[Estimate]:
        model = load_model(state[job.parameters.regions], classifier, self.name)
        own = job.regions if job.parameters.regions == SEGMENTS else None
        masks = None if own is None else own.masks
        players = Cells(model.labels(job.frame)[None].to(job.images.device), job.size) if own is None else Given(own)
        regions = players.regions()
        values = torch.zeros(job.size, max(players.counts), len(classifier.labels), device=job.images.device)

        def look(start: int, end: int) -> None:
            values[start:end] = model.values(job.images[start:end], None if masks is None else masks[start:end])

        for done in in_chunks(classifier, job.size, tuple(job.images.shape[1:]), "learned", look):
            passes = [model.passes * (b < done) for b in range(job.size)]
            explained = explained_values(values, job)
            yield Estimate(
                values=players.laid(explained),
                forward_passes=passes,
                backward_passes=[0] * job.size,
                partial=done < job.size,
                players=Players(explained),
                regions=regions,
            )


def explained_values(values: Tensor, job: Job) -> Tensor:
    """[B, P, C] -> [B, P]: the target's, less the contrast's, on the values' device."""
    own = of_class(values, job.targets.to(values.device))
    return own if job.contrasts is None else own - of_class(values, job.contrasts.to(values.device))


def salvage_model(classifier: Classifier, players: str = "patches", file: Path | None = None) -> SalvageModel:
    """The trained explainer itself: all classes' values, and what it predicts for any players.

    Raises:
        UserError: there is none for this classifier, or the file is another's.
    """
    path = file or trained_for("salvage", classifier).get(players)
    if path is None:
        raise UserError(f"No Salvage explainer on {players} is trained for {classifier.name}; see satchel train.")
    return load_model(path, classifier)
