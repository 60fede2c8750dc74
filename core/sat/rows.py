"""Attribution x segments -> rows: what part of a map lies on which named thing, in one picture.

Hinns, Martens: Aggregating Local Saliency Maps for Semi-Global Explainable Image Classification (arXiv 2506.23247):
each segment of a picture is one row that holds the mean attribution over it, a_i = sum(A * M_i) / sum(M_i).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from core.attribution import Attribution, Unit
from core.preprocessing import Geometry
from core.segments import Segments

# a segment of fewer model pixels than this is noise in any map
MIN_MODEL_PIXELS = 4.0


def segment_rows(attribution: Attribution, segments: Segments, geometry: Geometry) -> list[dict[str, Any]]:
    """One row a segment the model can see.

    Returns:
        Rows of: segment, instance, kind; pixels (of the upright picture); visible (part of them inside the crop);
        coverage (part of the model's frame); unit (of the map); mean (the paper's value); sum (the segment's part of
        the score's change; None of an intensity, which has no sum); scaled_mean (mean over the map's mean absolute
        value, which makes pictures and units comparable); share (part of the absolute attribution); positive_share;
        density (share / coverage; 1 = no more than its size); rank (1 = densest in this picture).
        On a flat map share, density and their kin are None: there is no evidence to share.
    """
    return rows_from_masks(attribution.values, segments.to_model(geometry), segments, geometry, attribution.unit)


def rows_from_masks(
    values: Tensor, masks: Tensor, segments: Segments, geometry: Geometry, unit: Unit = "intensity"
) -> list[dict[str, Any]]:
    """As `segment_rows`, for masks that are in the model's frame already ([P, H, W])."""
    flat = values.double().flatten()
    weights = masks.double().flatten(1)
    area = weights.sum(1)
    total, positive = flat.abs().sum(), flat.clamp(min=0).sum()
    sums = (weights @ flat).tolist()
    absolute = (weights @ flat.abs()).tolist()
    ups = (weights @ flat.clamp(min=0)).tolist()
    scale = float(total) / flat.numel()
    instances = segments.instances
    rows: list[dict[str, Any]] = []
    for i, segment in enumerate(segments):
        if float(area[i]) < MIN_MODEL_PIXELS:
            continue
        coverage = float(area[i]) / flat.numel()
        share = absolute[i] / float(total) if total > 0 else None
        mean = sums[i] / float(area[i])
        rows.append(
            {
                "segment": segment.name,
                "instance": instances[i],
                "kind": segment.kind,
                "pixels": segment.mask.area,
                "visible": geometry.visible(segment.mask.decode()),
                "coverage": coverage,
                "unit": unit,
                "mean": mean,
                "sum": sums[i] if unit == "density" else None,
                "scaled_mean": mean / scale if scale > 0 else None,
                "share": share,
                "positive_share": ups[i] / float(positive) if positive > 0 else None,
                "density": share / coverage if share is not None else None,
            }
        )
    order = sorted(range(len(rows)), key=lambda i: -(rows[i]["density"] or 0.0))
    for place, i in enumerate(order):
        rows[i]["rank"] = place + 1
    return rows


def merged_masks(segments: Segments, masks: Tensor) -> dict[str, Tensor]:
    """Name -> [H, W]: instances of one name joined, for removing and transplanting; too small ones left out."""
    out: dict[str, Tensor] = {}
    for name, mask in zip(segments.names, masks):
        out[name] = torch.maximum(out[name], mask) if name in out else mask
    return {name: mask for name, mask in out.items() if float(mask.sum()) >= MIN_MODEL_PIXELS}


def shares_from_masks(values: Tensor, masks: Tensor) -> list[float] | None:
    """Only the shares of `rows_from_masks`, cheap enough for every frame of a map that is still sharpening.

    Args:
        values: [H, W]; masks: [P, H, W] in [0, 1].

    Returns:
        One a mask, in [0, 1]; None on a flat zero map.
    """
    absolute = values.abs().flatten()
    total = float(absolute.sum())
    return ((masks.flatten(1) @ absolute) / total).tolist() if total > 0 else None
