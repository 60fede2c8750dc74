"""Maps over pictures: colours, scales and JPEGs. Numbers come from core; here they only become colours."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from core.attribution import Attribution
from core.preprocessing import Geometry

LONGEST_SIDE = 1024
TOP_PERCENTILE = 99.5
LINKED_TOP = 8.0  # times the map's average
OUTSIDE = 0.38  # brightness of what the model did not see
AT_ZERO = 0.55  # part of the opacity that is left where a map is zero
FADED = 0.35  # part of its opacity that a value keeps where its error is larger than itself


# Anchors, evenly spaced, of maps that get steadily lighter (inferno, by Smith and van der Walt, public domain) or go
# from blue over a neutral to red (after ColorBrewer's RdBu); both can be told apart with any colour vision.
SEQUENTIAL = (
    "#000004", "#0b0724", "#210c4a", "#3d0965", "#57106e", "#71196e", "#8a226a", "#a32c61", "#bc3754",
    "#d24644", "#e45a31", "#f1731d", "#f98e09", "#fcac11", "#f9cb35", "#f2ea69", "#fcffa4",
)  # fmt: skip
DIVERGING_LIGHT = ("#053061", "#2166ac", "#4393c3", "#92c5de", "#f4f4f2", "#f4a582", "#d6604d", "#b2182b", "#67001f")
DIVERGING_DARK = ("#b5dcff", "#7fbbf0", "#3f8fd0", "#225a8c", "#17191c", "#8c3a2f", "#cc5f4a", "#f08f76", "#ffd0bf")


def _table(anchors: Sequence[str], size: int = 256) -> np.ndarray:
    """uint8 [size, 3]: the anchors, joined by straight lines."""
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in anchors], float)
    at = np.linspace(0, len(anchors) - 1, size)
    return np.stack([np.interp(at, np.arange(len(anchors)), rgb[:, c]) for c in range(3)], 1).round().astype(np.uint8)


_TABLES = {
    ("unsigned", False): _table(SEQUENTIAL),
    ("unsigned", True): _table(SEQUENTIAL),
    ("signed", False): _table(DIVERGING_LIGHT, 257),
    ("signed", True): _table(DIVERGING_DARK, 257),
}


def colour_table(signed: bool, dark: bool = False) -> np.ndarray:
    """uint8 [256, 3] from zero to the top, or signed [257, 3] with zero in the middle, neutral in either mode."""
    return _TABLES["signed" if signed else "unsigned", dark]


@dataclass(frozen=True)
class Scale:
    """What a colour stands for: a value divided by `unit` is coloured from 0 (or -top) to top.

    Attributes:
        unit: what one is, in the map's own numbers.
        top: where the colours end, in units.
        linked: the unit is the map's own average, and top is the same for all maps.
    """

    unit: float
    top: float
    linked: bool


def scale_of(attribution: Attribution, linked: bool) -> Scale | None:
    """The scale of one map; None where there is nothing to colour.

    Explainers answer in different units, so raw values cannot share one scale. Linked maps are divided by their own
    mean absolute value (1 = the map's average evidence) and all run to LINKED_TOP, so that one colour means the same
    multiple in every map, of every picture, finished or not. Unlinked ones run to their own 99.5th percentile, in
    their own units.
    """
    if attribution.condition != "fine":
        return None
    magnitude = attribution.values.abs().numpy()
    if linked:
        return Scale(float(magnitude.mean()), LINKED_TOP, True)
    return Scale(1.0, float(np.percentile(magnitude, TOP_PERCENTILE)) or float(magnitude.max()), False)


def display_size(size: tuple[int, int], longest: int = LONGEST_SIDE) -> tuple[int, int]:
    """(height, width) on the page, at most `longest` a side, never enlarged."""
    shrink = min(1.0, longest / max(size))
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))


def shrunk(geometry: Geometry, size: tuple[int, int]) -> Geometry:
    """The same geometry over a copy of the picture of another size (height, width)."""
    (h, w), (new_h, new_w) = geometry.picture_size, size
    return replace(
        geometry, picture_size=size, scale_y=geometry.scale_y * h / new_h, scale_x=geometry.scale_x * w / new_w
    )


def overlay(
    picture: np.ndarray,
    attribution: Attribution,
    geometry: Geometry,
    scale: Scale | None,
    opacity: float,
    dark: bool = False,
) -> np.ndarray:
    """Lay a map over the picture as it was given, whole and upright.

    Args:
        picture: uint8 [h, w, 3].
        attribution: in the model's frame.
        geometry: of a picture of this very size.
        scale: None shows the picture alone, in grey.
        opacity: 0 to 1.
        dark: the page is dark.

    Returns:
        uint8 [h, w, 3]; what the model did not see is dimmed.
    """
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    base = np.repeat(grey[..., None], 3, axis=2)
    if scale is not None and opacity > 0:
        table = colour_table(attribution.signed, dark)
        level = geometry.map_to_picture(attribution.values).numpy() / (scale.unit * scale.top)
        level = (np.clip(level, -1, 1) + 1) / 2 if attribution.signed else np.clip(np.abs(level), 0, 1)
        colour = table[(level * (len(table) - 1) + 0.5).astype(np.intp)].astype(np.float32)
        distance = np.abs(level * 2 - 1) if attribution.signed else level
        # near zero more of the picture shows through, so that one sees what is not looked at
        strength = opacity * (AT_ZERO + (1 - AT_ZERO) * distance) * _certainty(attribution, geometry)
        base += (colour - base) * strength[..., None]
    return dim_outside(base, geometry)


def _certainty(attribution: Attribution, geometry: Geometry) -> np.ndarray:
    """[h, w]: 1, or less where the standard error is larger than the value."""
    if attribution.standard_error is None:
        return np.ones(geometry.picture_size, np.float32)
    sure = (attribution.standard_error <= attribution.values.abs()).float()
    return FADED + (1 - FADED) * geometry.map_to_picture(sure).numpy()


def dim_outside(values: np.ndarray, geometry: Geometry) -> np.ndarray:
    """uint8 [h, w, 3]: darkened outside the box that the model sees."""
    top, left, bottom, right = geometry.seen_box()
    seen = np.full(values.shape[:2], OUTSIDE, np.float32)
    seen[top:bottom, left:right] = 1
    return np.clip(values * seen[..., None] + 0.5, 0, 255).astype(np.uint8)


def jpeg(array: np.ndarray, quality: int = 86) -> str:
    """A data address for an <img>."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
