"""Where a map is strong and no named segment lies: such areas of one picture, and what the model makes of them.

Everything happens in the model's frame. What lies within the rim that goes with a segment when it is removed belongs
to the segment. A background that was made of what no mask covers names nothing, and covers nothing here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.attribution import Attribution
from core.classifier import Classifier
from core.explainers.layers import last_map, maps_of
from core.preprocessing import Geometry
from core.runtime.randomness import derived_seed
from core.sat.batch import LoadedPicture
from core.sat.interventions import LARGE, dilate
from core.segments.files.rle_text import from_text, to_text
from core.segments.mask import Mask
from core.segments.segments import REST

AREAS = 2  # of a picture
PEAKS = 4  # that are looked at for them
SPREAD = 0.03  # of the longer side: how far a map is smoothed, so that grain makes no areas
DENSE = 2.0  # times the picture's mean positive attribution, that an area has at least
LEAST_SHARE = 0.03  # of the picture's positive attribution
LEAST_COVERAGE = 0.002
LEAST_PIXELS = 12
WITHIN = (0.3, 0.5, 0.7, 0.9)  # parts of the peak, down to which an area reaches; the first that is small enough
DIMENSIONS = 64  # of a feature vector as it is kept
PATCH = 6  # pixels a side of what an area looks like, where the model keeps no map of features


def find_areas(values: Tensor, covered: Tensor) -> list[tuple[Tensor, float]]:
    """[H, W] of a map, [H, W] in [0, 1] of what is named -> (area [H, W] of 0 and 1, share of the positive attribution)
    for at most `AREAS` of them, the one with the highest peak first."""
    from scipy import ndimage

    up = values.detach().cpu().double().clamp(min=0).numpy()
    total, pixels = float(up.sum()), up.size
    least = max(LEAST_PIXELS, LEAST_COVERAGE * pixels)
    free = dilate(covered.cpu().float()).numpy() < 0.5
    if not (total > 0 and math.isfinite(total)) or free.sum() < least:
        return []
    mean = total / pixels
    smooth = ndimage.gaussian_filter(up * free, SPREAD * max(up.shape)) * free
    found: list[tuple[Tensor, float]] = []
    for _ in range(PEAKS):
        top = float(smooth.max())
        if top < DENSE * mean or len(found) == AREAS:
            break
        for part in WITHIN:
            parts, _ = ndimage.label(smooth >= part * top)
            area = ndimage.binary_fill_holes(parts == parts.flat[smooth.argmax()]) & free
            if area.sum() <= LARGE * pixels:
                break
        # what smoothing carries beyond an area's edge is no area of its own
        smooth[ndimage.distance_transform_edt(~area) <= 2 * SPREAD * max(up.shape)] = 0
        share = float(up[area].sum()) / total
        enough = least <= area.sum() <= LARGE * pixels
        if enough and share >= max(LEAST_SHARE, DENSE * area.sum() / pixels):
            found.append((torch.from_numpy(area.astype(np.float32)), share))
    return found


def covered_by_names(entry: LoadedPicture) -> Tensor:
    """[H, W]: union of a picture's named segments."""
    assert entry.segments is not None
    assert entry.masks is not None
    told = [mask for one, mask in zip(entry.segments, entry.masks) if one.source != REST or one.naming]
    return torch.stack(told).amax(0) if told else torch.zeros(entry.prepared.geometry.model_size)


def area_records(
    explained: Sequence[tuple[LoadedPicture, dict[str, Any], Attribution]], classifier: Classifier
) -> list[dict[str, Any]]:
    """One record an area of these pictures: image, group, target, share, coverage, mask (compressed runs), geometry
    (JSON, with which it is laid over the picture), features (float16 [DIMENSIONS])."""
    found = []
    for entry, line, attribution in explained:
        areas = find_areas(attribution.values, covered_by_names(entry))
        if areas:
            found.append((entry, line, areas))
    if not found:
        return []
    images = torch.stack([entry.prepared.tensor for entry, _, _ in found]).to(classifier.device)
    features = _features(classifier, images, [[area for area, _ in areas] for _, _, areas in found])
    return [
        {
            "image": entry.item.id,
            "group": entry.item.group,
            "target": line["target"],
            "share": share,
            "coverage": float(area.mean()),
            "mask": to_text(Mask.from_dense(area.numpy() > 0)),
            "geometry": json.dumps(asdict(entry.prepared.geometry)),
            "features": vector.numpy().tobytes(),
        }
        for (entry, line, areas), vectors in zip(found, features)
        for (area, share), vector in zip(areas, vectors)
    ]


def geometry_of(record: dict[str, Any]) -> Geometry:
    """Of an area's picture."""
    known = json.loads(record["geometry"])
    sizes = {key: tuple(known.pop(key)) for key in ("picture_size", "model_size")}
    return Geometry(**known, **sizes)


def mask_of(record: dict[str, Any]) -> Tensor:
    """[H, W] of 0 and 1.

    Raises:
        UserError: it is damaged.
    """
    return torch.from_numpy(from_text(record["mask"], geometry_of(record).model_size).decode().astype(np.float32))


@torch.no_grad()
def _features(classifier: Classifier, images: Tensor, areas: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """float16 [areas, DIMENSIONS] a picture, of length 1: what the model's last map of features holds in an area beyond
    what it holds in the whole picture; of a model that keeps none, how the area looks."""
    layer = last_map(classifier)
    if layer is None:
        found = [torch.stack([_look(image, area) for area in some]) for image, some in zip(images.cpu(), areas)]
    else:
        _, (maps,) = maps_of(classifier, [layer], images)
        found = [torch.stack([_pooled(one, area) for area in some]) for one, some in zip(maps.cpu(), areas)]
    return [F.normalize(vectors @ _projection(vectors.shape[1]), dim=1).half() for vectors in found]


def _pooled(features: Tensor, area: Tensor) -> Tensor:
    """[c, h, w], [H, W] -> [c]."""
    weights = F.interpolate(area[None, None], features.shape[1:], mode="area")[0, 0]
    return (features * weights).sum((1, 2)) / weights.sum() - features.mean((1, 2))


def _look(image: Tensor, area: Tensor) -> Tensor:
    """[3, H, W], [H, W] -> [3 * PATCH ** 2]."""
    rows, columns = (torch.nonzero(area.amax(side) > 0).flatten() for side in (1, 0))
    patch = image[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    return (F.adaptive_avg_pool2d(patch, PATCH) - image.mean((1, 2), keepdim=True)).flatten()


@lru_cache(maxsize=4)
def _projection(width: int) -> Tensor:
    """[width, DIMENSIONS]: keeps angles nearly as they are (Johnson, Lindenstrauss), and a million areas in memory."""
    random = np.random.default_rng(derived_seed(0, "areas", width))
    return torch.from_numpy(random.standard_normal((width, DIMENSIONS)).astype(np.float32))
