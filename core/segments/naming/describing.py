"""What a mask looks like, as numbers that masks of one name share: what names are matched by."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core.images import Picture
from core.preprocessing import Preprocessing
from core.segments.segments import Segment, Segments, check_size

# everything is measured on a copy of at most so many pixels a side: names do not hang on single pixels
WORKING_SIDE = 224
# lengths in parts of the longer side: how far the ring around a mask reaches, and at what scales thickness is measured
RING = 0.036
THICKNESS = (0.014, 0.03, 0.067, 0.134)
# upright thumbnail of a mask in its own box, of which the two halves are averaged: birds look left and right
THUMBNAIL = (5, 6)
DIRECTIONS = 32
# masks that are measured together: what they take is this many working copies, several times over
TOGETHER = 64
#: Numbers a mask that need no encoder.
HAND = 59
TINY = 1e-6


def describe(picture: Picture, segments: Segments, features: Tensor | None = None) -> np.ndarray:
    """One row a segment, from its mask and the picture alone: other segments do not change it.

    In order: appearance (colour and brightness contrast in the mask, in a ring around it, and how they differ), place
    and size, shape; with features, those averaged over the mask and over the ring. Every number is scaled so that masks
    of one name usually differ by less than 1 in it, and each of the two averages of features so that it has the length
    3.

    Args:
        segments: over the same picture.
        features: [C, h, w] from any encoder, over the whole picture (a SAM's embedding without its padding, or the last
            map of a classifier that was shown all of the picture).

    Returns:
        float32 [P, D], D = HAND, or HAND + 2 C with features.

    Raises:
        UserError: the segments lie over a picture of another size.
    """
    check_size(segments, picture.size, picture.name)
    height, width = picture.size
    shrink = min(1.0, WORKING_SIDE / max(height, width))
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    geometry = Preprocessing(resize=size, crop=None).geometry(height, width)
    planes = _planes(picture, size)
    if features is not None:
        features = F.normalize(features.detach().to("cpu", torch.float32), dim=0)
    rows = [torch.zeros((0, HAND + (0 if features is None else 2 * len(features))))]
    for first in range(0, len(segments), TOGETHER):
        some = replace(segments, items=segments.items[first : first + TOGETHER])
        rows.append(_rows(planes, some.to_model(geometry), some, features))
    return torch.cat(rows).float().numpy()


def _rows(planes: Tensor, masks: Tensor, segments: Segments, features: Tensor | None) -> Tensor:
    sums = _sums(masks)
    rings = _rings(masks, sums)
    shapes = torch.from_numpy(np.stack([_shape(segment) for segment in segments]))
    blocks = [_appearance(planes, masks, rings), _place(masks, sums, segments), shapes]
    if features is not None:
        for weights in (masks, rings):
            coarse = F.adaptive_avg_pool2d(weights[:, None], (features.shape[1], features.shape[2])).flatten(1)
            blocks.append(3 * F.normalize(_average(coarse, features.flatten(1)), dim=1))
    return torch.cat(blocks, 1)


def _planes(picture: Picture, size: tuple[int, int]) -> Tensor:
    """[6, H, W]: lightness, two opponent colours, saturation, and brightness contrast at two scales."""
    image = picture.image.resize((size[1], size[0]), Image.Resampling.BOX)
    red, green, blue = torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)
    light = (red + green + blue) / 3
    saturation = torch.stack([red, green, blue]).amax(0) - torch.stack([red, green, blue]).amin(0)
    colours = [light, red - green, (red + green) / 2 - blue, saturation]
    total, pixels = _square(_sums(light[None]), 2)
    return torch.stack([*colours, _slope(light), _slope(total[0] / pixels)])


def _slope(plane: Tensor) -> Tensor:
    """[H, W]: length of the gradient, on a scale that grows like a logarithm."""
    padded = F.pad(plane[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    across, down = padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
    return torch.log1p(20 * torch.hypot(across, down))


def _sums(planes: Tensor) -> Tensor:
    """[P, H + 1, W + 1]: sums over everything above and left, from which those over any square are four look-ups."""
    return F.pad(planes.cumsum(1).cumsum(2), (1, 0, 1, 0))


def _square(sums: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """([P, H, W], [H, W]): sums over squares of 2 reach + 1 pixels a side, and how many pixels of them there are."""
    height, width = sums.shape[1] - 1, sums.shape[2] - 1
    rows, columns = torch.arange(height), torch.arange(width)
    top, bottom = (rows - reach).clamp(min=0), (rows + reach + 1).clamp(max=height)
    left, right = (columns - reach).clamp(min=0), (columns + reach + 1).clamp(max=width)
    bands = sums[:, bottom] - sums[:, top]
    return bands[:, :, right] - bands[:, :, left], (bottom - top)[:, None] * (right - left)


def _rings(masks: Tensor, sums: Tensor) -> Tensor:
    """[P, H, W] in [0, 1]: what lies outside within reach."""
    near = _square(sums, max(1, round(RING * max(masks.shape[1:]))))[0] > 0.5
    return (near.float() - masks).clamp(min=0)


def _average(weights: Tensor, values: Tensor) -> Tensor:
    """[P, N], [K, N] -> [P, K]: weighted means; 0 where nothing weighs."""
    return weights @ values.T / weights.sum(1, keepdim=True).clamp(min=TINY)


def _appearance(planes: Tensor, masks: Tensor, rings: Tensor) -> Tensor:
    """[P, 20]: means inside, means in the ring, their difference in colour, spread of colour inside."""
    flat, own, around = planes.flatten(1), masks.flatten(1), rings.flatten(1)
    inside = _average(own, flat)
    # a mask of the whole picture has no ring
    outside = torch.where(around.sum(1, keepdim=True) > 0.5, _average(around, flat), inside)
    spread = (_average(own, flat[:4] ** 2) - inside[:, :4] ** 2).clamp(min=0).sqrt()
    return torch.cat([5 * inside, 5 * outside, 5 * (inside - outside)[:, :4], 12 * spread], 1)


def _place(masks: Tensor, sums: Tensor, segments: Segments) -> Tensor:
    """[P, 16]: where in the picture, how large, how thick, and how much of each border of the picture it takes."""
    height, width = segments.size
    boxes = torch.tensor([segment.mask.box for segment in segments], dtype=torch.float32)
    left, top, right, bottom = (boxes + F.pad(boxes[:, :2], (2, 0))).div(torch.tensor([width, height] * 2)).T
    area = masks.flatten(1).sum(1).clamp(min=TINY)
    y = masks.sum(2) @ ((torch.arange(masks.shape[1]) + 0.5) / masks.shape[1]) / area
    x = masks.sum(1) @ ((torch.arange(masks.shape[2]) + 0.5) / masks.shape[2]) / area
    where = [4 * y, 3 * top, 3 * bottom, 2 * x, 1.5 * left, 1.5 * right, 4 * (x - 0.5).abs()]
    share = torch.tensor([segment.mask.area for segment in segments]) / (height * width)
    borders = [masks[:, 0].mean(1), masks[:, -1].mean(1), masks[:, :, 0].mean(1), masks[:, :, -1].mean(1)]
    # thickness: how much of a pixel's neighbourhood is the mask's own, on average over the mask
    squares = [_square(sums, max(1, round(part * max(masks.shape[1:])))) for part in THICKNESS]
    thick = [(masks * total / pixels).flatten(1).sum(1) / area for total, pixels in squares]
    size = [1.5 * torch.log(share.clamp(min=TINY))]
    return torch.stack([*where, *size, *(4 * part for part in thick), *(3 * part for part in borders)], 1)


def _shape(segment: Segment) -> np.ndarray:
    """[23]: of one mask, in its own box."""
    crop = segment.mask.crop()
    if not crop.size:
        return np.zeros(23, np.float32)
    coarse = max(1.0, max(crop.shape) / WORKING_SIDE)
    dense = torch.from_numpy(crop.astype(np.float32))[None, None]
    small = F.adaptive_max_pool2d(dense, tuple(math.ceil(side / coarse) for side in crop.shape))[0, 0].numpy() > 0
    points = np.stack(np.nonzero(small)[::-1], 1).astype(np.float64)
    centred = points - points.mean(0)
    # a pixel is a square, not a point: even one alone has a size
    variances, axes = np.linalg.eigh(centred.T @ centred / len(points) + np.eye(2) / 12)
    along = centred @ axes / np.sqrt(variances)
    short, long = np.sqrt(variances) * coarse / max(segment.mask.size)
    framed = np.pad(small, 1).astype(np.int8)
    outline = sum(int(np.abs(np.diff(framed, axis=axis)).sum()) for axis in (0, 1))
    numbers = [
        9 * long,
        12 * short,
        6 * len(points) / small.size,
        2 * math.log(crop.shape[1] / crop.shape[0]),
        4 * (variances[1] - variances[0]) / variances.sum(),
        4 * math.log(outline / (4 * math.sqrt(len(points)))),
        2 * abs(float((along[:, 1] * along[:, 0] ** 2).mean())),  # wedges are wide at one end
        4 * len(points) / _hull_area(small),
    ]
    thumbnail = F.adaptive_avg_pool2d(dense, THUMBNAIL)[0, 0]
    halves = (thumbnail + thumbnail.flip(1))[:, : (THUMBNAIL[1] + 1) // 2] / 2
    return np.concatenate([numbers, 1.5 * halves.flatten().numpy()]).astype(np.float32)


def _hull_area(mask: np.ndarray) -> float:
    """Area of a mask's convex hull, from how far it reaches in DIRECTIONS directions; a little more than exact."""
    rows = np.flatnonzero(mask.any(1))
    ends = mask[rows].argmax(1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(1)
    points = np.concatenate([np.stack([end, rows], 1) for end in ends])
    step = 2 * math.pi / DIRECTIONS
    angles = np.arange(DIRECTIONS) * step
    normals = np.stack([np.cos(angles), np.sin(angles)])
    reach = (points @ normals).max(0) + 0.5 * np.abs(normals).sum(0)
    sides = (np.roll(reach, 1) + np.roll(reach, -1) - 2 * reach * math.cos(step)) / math.sin(step)
    return float((reach * sides).sum() / 2)
