"""The results card of a trained explainer: how faithful it is beside others, and what it is worth as a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.choice import Choice, Trained
from core.classifier import Classifier
from core.explainers.learned.files import About
from core.explainers.learned.model import SalvageModel
from core.explainers.learned.salvage import SalvageParameters
from core.explainers.learned.subsets import shapley_subsets
from core.metrics.metric import Case, get_metric
from core.regions import Regions
from core.runtime.randomness import generator
from core.training.pictures import Batch, Frames
from core.training.salvage import Passes

JUDGED = 32  # pictures that metrics look at
SUBSETS = 32  # of a picture
BINS = 10  # of confidence


def results_card(
    model: SalvageModel,
    classifier: Classifier,
    surrogate: Classifier,
    held: Frames,
    file: Path,
    each: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Everything on held-out pictures; figures of masked pictures once with each model that scored them.

    Args:
        file: of the trained explainer. each: told what is being measured.

    Returns:
        For JSON: "faithfulness" {explainer: {"insertion"/"deletion": {"classifier"/"surrogate": mean}, "passes": n}},
        "subsets" {"kl", "brier"}, "classifier" {"accuracy", "own_accuracy", "agreement", "calibration_error",
        "own_calibration_error"}; accuracies None without labels.
    """
    faithful = _faithfulness(model.about, classifier, surrogate, held, file, each)
    each("what it predicts of masked pictures")
    subsets = subset_errors(model, surrogate, held)
    each("what it is worth as a classifier")
    return {"faithfulness": faithful, "subsets": subsets, "classifier": as_classifier(model, classifier, held)}


def _faithfulness(
    about: About,
    classifier: Classifier,
    surrogate: Classifier,
    held: Frames,
    file: Path,
    each: Callable[[str], None],
) -> dict[str, Any]:
    batch = held.batch(range(min(JUDGED, len(held))))
    regions = batch.players.regions() if batch.masks is not None else None
    fill, grid = about.settings["training"]["fill"], about.settings["training"]["grid"]
    shared = {"regions": about.players, "fill": fill, "scale": "log-probability"}
    if about.players == "patches":
        shared["grid"] = min(grid, 16)
    others = {f"kernel-shap, {n} passes": Choice.parse(f"kernel-shap:{_options({**shared, 'samples': n})}")
              for n in (64, 512)}  # fmt: skip
    own = Choice("salvage", SalvageParameters(regions=about.players), Trained.of(file))
    chosen = {"salvage": own, **others, "random": Choice("random")}
    return faithfulness(cases(chosen, classifier, batch, each, regions), surrogate, fill)


def cases(
    chosen: Mapping[str, Choice],
    classifier: Classifier,
    batch: Batch,
    each: Callable[[str], None],
    regions: Regions | None = None,
) -> dict[str, Case]:
    """{name: maps of some pictures, each of the classifier's answer, to be judged by metrics}.

    Args:
        each: told what is being made.
    """
    targets, found = classifier.logits(batch.images).argmax(1), {}
    for name, choice in chosen.items():
        each(f"how faithful it is ({name})")
        bound = choice.bind(classifier)
        found[name] = Case.of(bound, batch.images, targets, seeds=range(len(targets)), regions=regions)
    return found


def faithfulness(judged: Mapping[str, Case], surrogate: Classifier, fill: str) -> dict[str, Any]:
    """{name: {"insertion"/"deletion": {"classifier"/"surrogate": mean}, "passes": a picture's}}.

    Args:
        surrogate: the second model that scores masked pictures; the classifier itself where there is none.
        fill: what stands where pictures are masked.
    """
    found: dict[str, Any] = {}
    for name, case in judged.items():
        scores = {metric: _scored(metric, fill, case, surrogate) for metric in ("insertion", "deletion")}
        found[name] = {**scores, "passes": round(sum(one.forward_passes for one in case.made) / len(case.made), 1)}
    return found


def _scored(metric: str, fill: str, case: Case, surrogate: Classifier) -> dict[str, float]:
    judge = get_metric(metric)
    parameters = judge.parameters.parse({"fill": fill})
    classifier = case.classifier
    scorers = {"classifier": classifier, **({} if surrogate is classifier else {"surrogate": surrogate})}
    return {name: float(judge.score(replace(case, scorer=scorer), parameters).nanmean())
            for name, scorer in scorers.items()}  # fmt: skip


def _options(given: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in given.items())


def _batches(held: Frames, size: int = 16) -> list[Batch]:
    return [held.batch(range(start, min(start + size, len(held)))) for start in range(0, len(held), size)]


def subset_errors(model: SalvageModel, surrogate: Classifier, held: Frames) -> dict[str, float]:
    """KL divergence and Brier score of the explainer's predictions on held-out subsets of the Shapley kernel."""
    passes = Passes(surrogate, model.about.settings["training"]["fill"])
    kl, brier, count = 0.0, 0.0, 0
    for number, batch in enumerate(_batches(held)):
        present = shapley_subsets(batch.exists, SUBSETS, generator("card", number))
        wanted = passes(batch, present)
        found = model.probabilities(model.logits(model.values(batch.images, batch.masks), present))
        found = found / found.sum(-1, keepdim=True).clamp(min=1e-6) if not model.objective.sigmoid else found
        kl += float(_divergence(wanted, found, model.objective.sigmoid).sum())
        brier += float((wanted - found).square().sum(-1).sum())
        count += found.shape[0] * found.shape[1]
    return {"kl": kl / count, "brier": brier / count}


def _divergence(wanted: Tensor, found: Tensor, sigmoid: bool) -> Tensor:
    """[..., C] twice -> [...]: KL divergence, where classes stand on their own the sum of each one's."""
    wanted, found = wanted.clamp(1e-9, 1), found.clamp(1e-6, 1 - 1e-6 if sigmoid else 1)
    each = wanted * (wanted / found).log()
    if sigmoid:
        absent = (1 - wanted).clamp(min=1e-9)
        each = each + absent * (absent / (1 - found)).log()
    return each.sum(-1)


def as_classifier(model: SalvageModel, classifier: Classifier, held: Frames) -> dict[str, float | None]:
    """How often explainer and classifier are right, how often they agree, and how far confidence is from accuracy.

    Labels that are no class of the classifier count as missing.
    """
    own, theirs, truth = [], [], []
    for batch in _batches(held):
        with torch.no_grad():
            theirs.append(classifier.probabilities(classifier.logits(batch.images)).cpu())
        own.append(model.probabilities(model.logits(model.values(batch.images, batch.masks)))[:, 0].cpu())
    truth = torch.tensor([held.label(item) for item in held.items])
    mine, other = torch.cat(own), torch.cat(theirs)
    labelled = truth >= 0
    agreement = float((mine.argmax(1) == other.argmax(1)).float().mean())
    if not bool(labelled.any()):
        return {"accuracy": None, "own_accuracy": None, "agreement": agreement,
                "calibration_error": None, "own_calibration_error": None}  # fmt: skip
    right = [(p[labelled].argmax(1) == truth[labelled]).float() for p in (other, mine)]
    return {
        "accuracy": float(right[0].mean()),
        "own_accuracy": float(right[1].mean()),
        "agreement": agreement,
        "calibration_error": calibration_error(other[labelled].amax(1), right[0]),
        "own_calibration_error": calibration_error(mine[labelled].amax(1), right[1]),
    }


def calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015), ten bins of equal width: [N] in [0, 1] twice."""
    bins = (confidence * BINS).long().clamp(0, BINS - 1)
    error = 0.0
    for number in bins.unique():
        own = bins == number
        error += float(own.float().mean()) * abs(float(confidence[own].mean() - right[own].mean()))
    return error
