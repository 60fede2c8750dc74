"""Does a box around what the map marks find the object? Measures of masking models, for any map.

As in Phang, Park and Geras: Investigating and Simplifying Masking-based Saliency Methods (2020), from their code.
The object's box is the tight one around its mask; where pictures have several objects that is one box around all.
A map that is no mask is scaled to [0, 1], its least value to 0 and its greatest to 1, where a mask is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from core.boxes import box_of, overlap, tight_box
from core.metrics.metric import Case, Metric, register
from core.parameters import Parameters, parameter

REFERENCE = "Phang, Park, Geras: Investigating and Simplifying Masking-based Saliency Methods (2020)"
LEAST_AREA = 0.05  # of the picture, that the saliency metric rewards
BINS = 100  # of the map's values
TINY = 1e-6


def as_masks(case: Case) -> Tensor:
    """[B, H, W] in [0, 1]."""
    values = case.values.nan_to_num(0, 0, 0)
    if case.unit == "mask":
        return values
    low, high = (ends[:, None, None] for ends in values.flatten(1).aminmax(dim=1))
    return (values - low) / (high - low).clamp(min=torch.finfo(values.dtype).tiny)


@dataclass(frozen=True)
class BoxParameters(Parameters):
    strict_repo: bool = parameter(False, "As the paper's code: boxes are one pixel short")


@dataclass(frozen=True)
class OverlapParameters(BoxParameters):
    overlap: float = parameter(0.5, "Intersection over union that the boxes must pass", low=0.1, high=0.9, step=0.05)


@register
class LocalisationError(Metric):
    """1 where the box around the map's largest piece above its mean overlaps the object's box too little, else 0."""

    name = "localisation-error"
    title = "Localisation error (LE)"
    summary = "Whether a box around what the map marks misses the object's box: 1 is a miss, 0 a hit."
    family = "localisation"
    higher_is_better = False
    reference = REFERENCE
    parameters = OverlapParameters
    needs_mask = True

    def judge(self, case: Case, parameters: OverlapParameters) -> Tensor:
        assert case.masks is not None  # `Metric.score` has seen to it
        found = []
        for values, mask in zip(case.values, case.masks):
            truth = tight_box(mask >= 0.5)
            hit = overlap(box_of(values, parameters.strict_repo), truth) > parameters.overlap
            found.append(float("nan") if truth is None else float(not hit))
        return torch.tensor(found, device=case.values.device)


@register
class OfficialError(LocalisationError):
    """The same, and 1 also where the classifier's answer is not the picture's label (ImageNet's localisation task).

    NaN where the picture's label is not known or no class of the classifier. A case without any labels is taken to be
    of the classes that it explains.
    """

    name = "official-error"
    title = "Localisation and classification error (OM)"
    summary = "Whether a box around what the map marks misses the object, or the classifier its class: 1 is a miss."

    def judge(self, case: Case, parameters: OverlapParameters) -> Tensor:
        with torch.no_grad():
            said = case.classifier.logits(case.images).argmax(1)
        labels = case.targets if case.labels is None else case.labels
        missed = super().judge(case, parameters)
        wrong = torch.where(missed.isnan(), missed, torch.ones_like(missed))
        return torch.where(labels < 0, float("nan"), torch.where(said == labels, missed, wrong))


@register
class BoxF1(Metric):
    """F1 of the mask, as it is, against the object's box: precision is the part of the mask inside, recall the part of
    the box that it fills. The code's box may reach beyond the picture; here it is what the picture shows of it.
    """

    name = "box-f1"
    title = "Mask and box (F1)"
    summary = "How well the map, as a mask, fills the object's box and nothing else."
    family = "localisation"
    higher_is_better = True
    reference = REFERENCE
    needs_mask = True

    def judge(self, case: Case, parameters: Parameters) -> Tensor:
        assert case.masks is not None  # `Metric.score` has seen to it
        boxes = [tight_box(mask >= 0.5) for mask in case.masks]
        empty = torch.zeros(case.frame, dtype=torch.bool)
        truth = torch.stack([empty if box is None else box.mask(case.frame) for box in boxes]).to(case.values.device)
        masks = as_masks(case)
        shared, size = (masks * truth).sum((1, 2)), truth.sum((1, 2))
        precision, recall = shared / (masks.sum((1, 2)) + TINY), shared / size  # 0 / 0, no object, is NaN
        return 2 * precision * recall / (precision + recall).clamp(min=TINY)


@register
class SaliencyMetric(Metric):
    """Dabkowski, Gal: Real Time Image Saliency for Black Box Classifiers (NeurIPS 2017).

    log(max(a, 0.05)) - log p: the crop's part of the picture, and the target's probability on it at the picture's size.
    """

    name = "saliency-metric"
    title = "Saliency metric (SM)"
    summary = "How small a crop around what the map marks is, and how sure the classifier is of it; low is good."
    family = "localisation"
    higher_is_better = False
    reference = "Dabkowski, Gal: Real Time Image Saliency for Black Box Classifiers (NeurIPS 2017)"
    parameters = BoxParameters

    def judge(self, case: Case, parameters: BoxParameters) -> Tensor:
        areas, crops = [], []
        for image, values in zip(case.images, case.values):
            box = box_of(values, parameters.strict_repo)
            if box is None or not box.area:
                areas.append(0.0)
                crops.append(torch.zeros_like(image))
                continue
            crop = image[None, :, box.top : box.bottom + 1, box.left : box.right + 1]
            grown = F.interpolate(crop, case.frame, mode="bicubic", align_corners=False)
            areas.append(box.area / values.numel())
            crops.append(grown[0].clamp(0, 1))
        with torch.no_grad():
            classifier = case.scored_by
            logits = torch.cat([classifier.logits(crop[None]) for crop in crops])
            sure = classifier.score(logits, case.targets, scale="log-probability")
        return torch.tensor([log(max(area, LEAST_AREA)) for area in areas], device=sure.device) - sure


@register
class PixelPrecision(Metric):
    """Choe et al.: Evaluating Weakly Supervised Object Localization Methods Right (CVPR 2020), PxAP.

    Average precision over thresholds a hundredth apart, of pixels against the object's. Theirs pools the pixels of all
    pictures (`pooled_precision`); a metric gives each picture a number, so this is each picture's own.
    """

    name = "pixel-precision"
    title = "Pixel average precision (PxAP)"
    summary = "Average precision of the map's pixels against the object's, over all thresholds."
    family = "localisation"
    higher_is_better = True
    reference = "Choe et al.: Evaluating Weakly Supervised Object Localization Methods Right (CVPR 2020)"
    needs_mask = True

    def judge(self, case: Case, parameters: Parameters) -> Tensor:
        assert case.masks is not None  # `Metric.score` has seen to it
        maps = as_masks(case)
        return torch.stack([pooled_precision(values[None], mask[None]) for values, mask in zip(maps, case.masks)])


def pooled_precision(maps: Tensor, masks: Tensor) -> Tensor:
    """PxAP of all pixels together, a number in [0, 1]; NaN where there is no object.

    Args:
        maps: [B, H, W] in [0, 1]. masks: [B, H, W]; a pixel is the object's where at least half of it is.
    """
    bins = (maps.clamp(0, 1) * BINS).long().clamp(max=BINS - 1).flatten()
    inside = (masks >= 0.5).flatten()
    hits = torch.bincount(bins[inside], minlength=BINS).double().flip(0).cumsum(0)
    marked = torch.bincount(bins, minlength=BINS).double().flip(0).cumsum(0)
    recall = hits / hits[-1]
    gained = torch.diff(recall, prepend=recall.new_zeros(1))
    return (hits / marked.clamp(min=1) * gained).sum()
