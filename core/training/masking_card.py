"""The results card of a masking model: what its masks keep and take away, and how well they find the object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.boxes import centre_box, tight_box
from core.choice import Choice, Trained
from core.classifier import Classifier
from core.errors import UserError
from core.explainers.learned.masking import MaskingModel, MaskingParameters
from core.explainers.masking_objective import masked
from core.fills import fill_plate
from core.metrics.metric import Case, get_metric
from core.sat.batch import load
from core.training.card import JUDGED, cases, faithfulness
from core.training.pictures import Frames

BOXES = ("localisation-error", "box-f1")


def masking_card(
    model: MaskingModel,
    classifier: Classifier,
    held: Frames,
    file: Path,
    each: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Everything on held-out pictures.

    Args:
        file: of the trained model. each: told what is being measured.

    Returns:
        For JSON: "masks" {"classifier" and, with regime "joint", "copy": {"plain", "kept", "lost": parts of the
        pictures that get the classifier's answer whole, masked in and masked out}, "area": mean mask}, "faithfulness"
        as of `core.training.card.faithfulness`, "boxes" {name: {metric: mean}} where pictures have segments.
    """
    batch = held.batch(range(min(JUDGED, len(held))))
    fill = model.about.settings["training"]["fill"]
    each("what the masks keep")
    kept = _kept(model, classifier, held, fill)
    own = Choice("masking", MaskingParameters(), Trained.of(file))
    chosen = {"masking": own, "random": Choice("random")}
    if Choice("grad-cam").method.supports(classifier) is None:
        chosen["grad-cam"] = Choice("grad-cam")
    scorer = model.scorer if model.joint else classifier
    judged = cases(chosen, classifier, batch, each)
    card = {"masks": kept, "faithfulness": faithfulness(judged, scorer, fill)}
    objects = _objects(classifier, held)
    if objects is not None:
        each("how well they find the object")
        card["boxes"] = _boxes(judged, classifier, objects)
    return card


def _kept(model: MaskingModel, classifier: Classifier, held: Frames, fill: str) -> dict[str, Any]:
    judges = {"classifier": classifier, **({"copy": model.scorer} if model.joint else {})}
    sums = {name: dict.fromkeys(("plain", "kept", "lost"), 0) for name in judges}
    area, count = 0.0, 0
    for start in range(0, len(held), 16):
        images = held.batch(range(start, min(start + 16, len(held)))).images
        with torch.no_grad():
            targets = classifier.logits(images).argmax(1)
            masks, plates = model.masks(images, targets), fill_plate(images, fill)
            shown = {"plain": images, "kept": masked(images, plates, masks), "lost": masked(images, plates, 1 - masks)}
            for name, judge in judges.items():
                for which, pictures in shown.items():
                    sums[name][which] += int(judge.says(judge.logits(pictures), targets).sum())
        area, count = area + float(masks.mean((1, 2)).sum()), count + len(images)
    parts = {name: {which: hits / count for which, hits in own.items()} for name, own in sums.items()}
    return {**parts, "area": area / count}


def _objects(classifier: Classifier, held: Frames) -> Tensor | None:
    """[B, H, W], what is no context in the pictures that are judged; None where one has no segments."""
    masks = []
    for item in held.items[:JUDGED]:
        try:
            loaded = load(item, classifier)
        except UserError:
            return None
        if loaded.segments is None or not len(loaded.segments):
            return None
        masks.append(loaded.scene(torch.device("cpu")).object_mask())
    return torch.stack(masks)


def _boxes(judged: dict[str, Case], classifier: Classifier, objects: Tensor) -> dict[str, dict[str, float]]:
    """Of explainers, and of answers that need no classifier."""
    found = {}
    for name, case in judged.items():
        boxed = replace(case, masks=objects)
        found[name] = {metric: float(get_metric(metric).score(boxed).nanmean()) for metric in BOXES}
    some = next(iter(judged.values()))
    for name, masks in trivial_masks(objects).items():
        found[name] = _of_masks(classifier, some.images, some.targets, masks, objects)
    return found


def _of_masks(
    classifier: Classifier, images: Tensor, targets: Tensor, masks: Tensor, objects: Tensor
) -> dict[str, float]:
    """Of masks that nothing has made, which may be the same all over."""
    seeds = tuple(range(len(images)))
    case = Case(classifier, images, targets, masks, False, seeds, objects, lambda model, seen: masks, unit="mask")
    judges = [get_metric(name) for name in BOXES]
    return {judge.name: float(judge.judge(case, judge.parameters()).nanmean()) for judge in judges}


def trivial_masks(objects: Tensor) -> dict[str, Tensor]:
    """Masks [B, H, W] that no classifier is needed for: everything, the middle, and the object's own box."""
    frame = (objects.shape[-2], objects.shape[-1])
    boxes = [tight_box(one >= 0.5) for one in objects]
    own = torch.stack([torch.zeros(frame) if box is None else box.mask(frame).float() for box in boxes])
    middle = centre_box(frame).mask(frame).float().expand(len(objects), -1, -1)
    return {"everything": torch.ones(len(objects), *frame), "the middle": middle, "the object's box": own}
