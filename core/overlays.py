"""Maps over pictures: colours and their scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from core.attribution import Attribution
from core.images import Picture
from core.preprocessing import Geometry

LONGEST_SIDE = 1024  # of a drawing on a screen
LONGEST_SIDE_OF_A_FILE = 2048
TOP_PERCENTILE = 98.0  # a few pixels of a gradient are 20 to 100 times the average and would darken all the others
LINKED_TOP = 4.0  # times the map's average: smooth maps peak at 3 to 5 of it
FULL = 0.6  # part of a scale from which a map covers as much as the opacity allows; below it less and less
OPACITY = 0.85
OUTSIDE = 0.38  # brightness of what the model did not see
FADED = 0.35  # part of its opacity that a value keeps where its error is larger than itself


# Anchors, evenly spaced from zero to the top. Unsigned evidence gets lighter by even steps (of OKLab), through hues
# that photos seldom hold: an orange map cannot be seen on a goldfish. Signed evidence goes to red, and what speaks
# against to blue (after ColorBrewer's RdBu). Both can be told apart with any colour vision. Near zero colours are full,
# too: the photo shows through there.
EVIDENCE = ("#5d05a4", "#8c00b5", "#bf00b3", "#ee22a0", "#ff678d", "#ff9f7d", "#ffca8d", "#fff28c")
FOR, AGAINST = ("#f59a7a", "#e9573f", "#cf1f2b", "#990019"), ("#84bdf5", "#3f8fe6", "#1763c6", "#0a3a92")
NEUTRAL = np.array([[244, 244, 242]], np.uint8)


def _table(anchors: Sequence[str], size: int) -> np.ndarray:
    """uint8 [size, 3]: the anchors, joined by straight lines."""
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in anchors], float)
    at = np.linspace(0, len(anchors) - 1, size)
    return np.stack([np.interp(at, np.arange(len(anchors)), rgb[:, c]) for c in range(3)], 1).round().astype(np.uint8)


_TABLES = {
    False: _table(EVIDENCE, 256),
    True: np.concatenate([_table(AGAINST, 128)[::-1], NEUTRAL, _table(FOR, 128)]),
}


def colour_table(signed: bool) -> np.ndarray:
    """uint8 [256, 3] from zero to the top, or signed [257, 3] with zero in the middle."""
    return _TABLES[signed]


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
    multiple in every map, of every picture, finished or not. Unlinked ones run to their own 98th percentile, in their
    own units. What lies beyond has the colour of the top (`beyond`).
    """
    if attribution.condition != "fine":
        return None
    magnitude = attribution.values.abs().numpy()
    if linked:
        return Scale(float(magnitude.mean()), LINKED_TOP, True)
    return Scale(1.0, float(np.percentile(magnitude, TOP_PERCENTILE)) or float(magnitude.max()), False)


def cover_of(level: np.ndarray) -> np.ndarray:
    """How much of the picture a value covers, 0 to 1, from its part of the scale, 0 to 1.

    Nothing at zero, and little at a quarter of the scale, which for linked maps is the map's average; but all of it
    from FULL on, so that a hill of twice the average is seen at a glance.
    """
    part = np.clip(level / FULL, 0, 1)
    return part * part * (3 - 2 * part)


def beyond(attribution: Attribution, scale: Scale) -> tuple[float, float]:
    """(part of the map in [0, 1] that lies beyond the top of its scale, the largest magnitude in the scale's units)."""
    magnitude = attribution.values.abs() / scale.unit
    return float((magnitude > scale.top * 1.0001).float().mean()), float(magnitude.max())


def display_size(size: tuple[int, int], longest: int = LONGEST_SIDE) -> tuple[int, int]:
    """(height, width) to draw at, at most `longest` a side, never enlarged."""
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
    opacity: float = OPACITY,
) -> np.ndarray:
    """Lay a map over the picture as it was given, whole and upright.

    Zero is transparent, and the map covers the picture the more the larger its values (`cover_of`): where it says
    nothing the picture stays what it is, in its colours.

    Args:
        picture: uint8 [h, w, 3].
        attribution: in the model's frame.
        geometry: of a picture of this very size.
        scale: None shows the picture alone, in grey.
        opacity: 0 to 1, where the map covers most.

    Returns:
        uint8 [h, w, 3]; what the model did not see is dimmed.
    """
    if scale is None:
        grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
        return dim_outside(np.repeat(grey[..., None], 3, axis=2), geometry)
    base = picture.astype(np.float32)
    if opacity > 0:
        colour, cover = _coloured(attribution, geometry, scale)
        base += (colour - base) * (opacity * cover)[..., None]
    return dim_outside(base, geometry)


def layer(attribution: Attribution, geometry: Geometry, scale: Scale) -> np.ndarray:
    """The map alone, to be laid over the picture: uint8 [h, w, 4], clear where it says nothing; as `overlay` has it at
    an opacity of 1."""
    colour, cover = _coloured(attribution, geometry, scale)
    return np.concatenate([colour, 255 * cover[..., None] + 0.5], 2).astype(np.uint8)


def _coloured(attribution: Attribution, geometry: Geometry, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """(colours [h, w, 3] in 0 to 255, how much of the picture they cover [h, w] in 0 to 1)."""
    table = colour_table(attribution.signed)
    level = np.clip(geometry.map_to_picture(attribution.values).numpy() / (scale.unit * scale.top), -1, 1)
    place = (level + 1) / 2 if attribution.signed else np.abs(level)
    colour = table[(place * (len(table) - 1) + 0.5).astype(np.intp)].astype(np.float32)
    return colour, cover_of(np.abs(level)) * _certainty(attribution, geometry)


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


def drawing(
    picture: Picture, attribution: Attribution, geometry: Geometry, longest: int = LONGEST_SIDE_OF_A_FILE
) -> Image.Image:
    """The map over the whole upright picture, on the map's own colour scale, at most `longest` pixels a side."""
    height, width = display_size(picture.size, longest)
    image = picture.image if (height, width) == picture.size else picture.image.resize((width, height))
    small = shrunk(geometry, (height, width))
    return Image.fromarray(overlay(np.asarray(image), attribution, small, scale_of(attribution, linked=False)))
