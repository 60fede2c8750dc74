"""Masks that are pictures: the one rule from a decoded image to whole numbers, and from those to named values.

Image to numbers: grey counts as it is, of any depth; of a palette the grey where all its colours are greys, else the
index; of three equal channels the grey; of partly transparent ones what lies over black; of several pages the first.

Numbers to names: a value that has a name is that segment's. Where the names tell only two values apart that lie far
from each other (as 0 and 255 do), a value between them counts as the nearer one, as soft edges and JPEG leave them,
unless such values fill areas of their own. Every other value belongs to no segment. Notes say of how many pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from core.errors import UserError
from core.images import DAMAGE, EXIF_ORIENTATION
from core.segments.mask import turned

Colours = Mapping[tuple[int, int, int], int]

TURNED = "The mask was turned upright by its own tag."
# Values this far apart are levels of grey; nearer ones are numbers of classes, with no shades between them.
LEVELS = 64
# A level reaches an eighth of the way to the other one: so far go the waves that JPEG leaves on even areas.
REACH = 8
# What inside and outside are called in different programs
UNITS = (1, 255, 65_535)
TOLD = 8


def numbers_of(image: ImageFile.ImageFile, colours: Colours | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """[h, w] integers of the narrowest type that comes, upright by the image's own tag, and what was noticed.

    Args:
        image: opened, not yet decoded.
        colours: what the colours of an RGB picture stand for; a colour without an entry reads as -1.

    Raises:
        UserError: it does not say one whole number a pixel.
        OSError, ValueError, ...: it is damaged, as Pillow tells it.
    """
    # of colours with 16 bits the decoder keeps the upper 8, whatever stood in the lower ones
    cut = not image.mode.startswith("I") and any(";16" in str(tile[3]) for tile in image.tile)
    pages = getattr(image, "is_animated", False)
    try:
        turn = image.getexif().get(EXIF_ORIENTATION, 1)
    except DAMAGE:
        turn = 1
    image.load()  # turns a TIFF by its tag
    if cut:
        raise UserError("has 16 bits a channel and several channels; save one channel")
    values, notes = _one_channel(image, colours)
    if turn in range(2, 9):
        values = values if image.format == "TIFF" else turned(values, turn)
        notes.append(TURNED)
    if pages:
        notes.append("Only the first page or frame of the mask was taken.")
    return values, tuple(notes)


def named_values(
    values: np.ndarray, names: Collection[int], unjudged: Collection[int] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The same integers [h, w] with values between two named ones taken as the nearer one, and what was noticed.

    Args:
        names: the values that have a name; 0 without one is what no segment covers.
        unjudged: values that by convention belong to no segment, which is not worth a note (of many names).

    Raises:
        UserError: inside and outside are written with other numbers than those that have names.
    """
    found = pixels_of(values)
    silent = {0, *(unjudged if len(names) > 2 else ())}
    strange = {value: count for value, count in found.items() if value not in names and value not in silent}
    if not strange:
        return values, ()
    low, high = min(names, default=0), max(names, default=0)
    if len(names) == 1:
        low = 0
    if len(names) <= 2 and (low == 0 or 0 not in found):
        if is_grey(values, found, low, high):
            out = np.full(values.shape, low, np.promote_types(values.dtype, np.min_scalar_type(high)))
            out[values >= (low + high + 1) // 2] = high
            between = f"{sum(strange.values()):,} pixels"
            said = f"Values without a name were taken as {low} or {high}, whichever is nearer ({between})."
            return out, (said,)
        top = top_level(values, found)
        if len(names) == 2 and top != high and {top, high} <= set(UNITS):
            raise UserError(
                f"holds the values {_listed(found)}, and those with names are {_listed(names)}; "
                "name the values that stand in the masks, or save the masks with those that have names"
            )
    pixels = f"{sum(strange.values()):,} pixels of {_listed(strange)}"
    return values, (f"Values without a name belong to no segment ({pixels}; named are {_listed(names)}).",)


def inside_of(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """bool [h, w]: the inside of a mask of one segment, where 0 is outside, and what was noticed.

    Raises:
        UserError: it holds more than inside and outside.
    """
    found = pixels_of(values)
    top = top_level(values, found)
    if top is None:
        raise UserError("holds more than inside and outside")
    between = sum(count for value, count in found.items() if value not in (0, top))
    if not between:
        return values != 0, ()
    note = f"Values between outside and inside were taken as the nearer one ({between:,} pixels)."
    return values >= (top + 1) // 2, (note,)


def pixels_of(values: np.ndarray) -> dict[int, int]:
    """Value -> pixels, in the order of the values."""
    flat = values.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    runs = np.diff(starts, append=flat.size)
    found, places = np.unique(flat[starts], return_inverse=True)
    return dict(zip(found.tolist(), np.bincount(places, weights=runs).astype(np.int64).tolist()))


def is_grey(values: np.ndarray, found: Mapping[int, int], low: int, high: int) -> bool:
    """Whether these are shades between two levels: something is nearer to the high one, nothing lies far beyond
    either, and what lies between fills no areas of its own.
    """
    reach = (high - low) // REACH
    if high - low < LEVELS or min(found) < low - reach or not (low + high) / 2 <= max(found) <= high + reach:
        return False
    between = (values > low + reach) & (values < high - reach)
    count = int(np.count_nonzero(between))
    return not count or 2 * int(np.count_nonzero(between[1:-1, 1:-1] & _even(values))) < count


def top_level(values: np.ndarray, found: Mapping[int, int]) -> int | None:
    """What inside is written as in a mask that by itself shows an inside and an outside of 0; None if it does not."""
    others = [value for value in found if value]
    if len(others) < 2:
        return others[0] if others else 0
    even = _even(values)
    if not even.any():
        return None
    widest = int(values[1:-1, 1:-1][even].max())
    top = widest if widest >= LEVELS else UNITS[1] if max(found) <= UNITS[1] else UNITS[2]
    return top if is_grey(values, found, 0, top) else None


def _even(values: np.ndarray) -> np.ndarray:
    """bool [h - 2, w - 2]: all eight neighbours have the same value."""
    if min(values.shape) < 3:
        return np.zeros((max(0, values.shape[0] - 2), max(0, values.shape[1] - 2)), bool)
    rows = (values[:, 1:-1] == values[:, :-2]) & (values[:, 1:-1] == values[:, 2:])
    middle = values[1:-1, 1:-1]
    return (
        rows[1:-1] & rows[:-2] & rows[2:] & (middle == values[:-2, 1:-1]) & (middle == values[2:, 1:-1])
    )  # fmt: skip


def _one_channel(image: Image.Image, colours: Colours | None) -> tuple[np.ndarray, list[str]]:
    if image.mode in ("P", "PA"):
        greys = _palette_greys(image)
        if image.mode == "P" and (greys is None or "transparency" not in image.info):
            index = np.asarray(image)
            return (index if greys is None else greys[index]), []
        image = image.convert("RGBA")
    elif image.mode == "1":  # would read as True and False
        image = image.convert("L")
    elif image.mode in ("RGBa", "La"):
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    values = np.asarray(image)
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        return _whole(values), []
    if image.mode not in ("LA", "RGB", "RGBA"):
        raise UserError(f"has colours of the kind {image.mode}; save one number a pixel")
    if colours is not None and image.mode != "LA":
        return _by_colour(values, colours), []
    if image.mode == "RGB":
        return _grey(values), []
    return _over_black(values)


def _palette_greys(image: Image.Image) -> np.ndarray | None:
    """uint8 [256]: index -> grey; None where the palette has colours, or does not tell the used indices apart."""
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    used = np.flatnonzero(image.histogram()[:256])
    if not len(palette) or used[-1] >= len(palette) or (palette != palette[:, :1]).any():
        return None
    greys = palette[:, 0]
    if len(used) > 1 and len(set(greys[used].tolist())) == 1:
        return None
    return np.pad(greys, (0, 256 - len(greys)))


def _whole(values: np.ndarray) -> np.ndarray:
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    if not np.isfinite(values).all() or np.abs(values).max(initial=0) > np.iinfo(np.int32).max:
        raise UserError("holds values that are no numbers, or far too large; save one whole number a pixel")
    whole = values.astype(np.int64)
    if (whole != values).any():
        raise UserError("holds fractions; save one whole number a pixel")
    return whole.astype(np.int32) if np.abs(whole).max(initial=0) < np.iinfo(np.int32).max else whole


def _grey(values: np.ndarray) -> np.ndarray:
    if (values[..., 0] != values[..., 1]).any() or (values[..., 0] != values[..., 2]).any():
        raise UserError(f"has colours in its {values.shape[2]} channels; save one number a pixel")
    return values[..., 0]


def _over_black(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Of grey or colours with opacity: a shape of one colour on nothing is its opacity."""
    opacity, shades = values[..., -1], values[..., :-1]
    if opacity.min() == 255 or opacity.max() == 0:
        return (_grey(values[..., :3]) if shades.shape[2] == 3 else shades[..., 0]), []
    seen = shades[opacity > 0]
    drawn = seen[0] if (seen == seen[0]).all() else None
    if drawn is not None and (drawn[0] in (0, 255) or len(set(drawn.tolist())) > 1):
        return opacity, ["The mask's opacity was taken, as all that is drawn in it has one colour."]
    # where nothing is seen no colour counts either
    grey = _grey(np.where(opacity[..., None] > 0, shades, 0)) if shades.shape[2] == 3 else shades[..., 0]
    over = (grey.astype(np.uint16) * opacity + 127) // 255
    return over.astype(np.uint8), ["Transparent parts of the mask were taken as 0."]


def _by_colour(values: np.ndarray, colours: Colours) -> np.ndarray:
    packed = values[..., :3].astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    out = np.full(packed.shape, -1, np.int32)
    for (red, green, blue), value in colours.items():
        out[packed == red * 65536 + green * 256 + blue] = value
    return out


def _listed(values: Collection[Any]) -> str:
    """ "0, 1 and 255"; of many the first few."""
    texts = ["unknown colours" if value < 0 else str(value) for value in sorted(values)]
    if len(texts) > TOLD:
        texts = [*texts[: TOLD - 1], f"{len(texts) - TOLD + 1} more"]
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1]))) if texts else "none"
