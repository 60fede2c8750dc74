"""How people write masks, one function a way: the file, its names, and the segments that must come of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from core.segments.files.label_maps import VOC_CLASSES

from .damage import png_chunk
from .harness import Case
from .pictures import ORIENTATION, decoded, saved, turned

INSIDE = "lesion"


@dataclass(frozen=True)
class Written:
    """A mask file and what is right about it.

    Attributes:
        names: what goes into `segments.json`; empty for a folder of masks per name.
        truth: name -> masks of which one must come out, bool [h, w]; nothing else may come out.
        must_tell: a note is due. may_miss: with a note, a segment may be missing. may_refuse: a sentence will do.
        ordinary: no note is due.
    """

    kind: str
    suffix: str
    data: bytes
    names: dict[str, Any]
    truth: dict[str, list[np.ndarray]] = field(default_factory=dict)
    must_tell: bool = False
    may_miss: bool = False
    may_refuse: bool = False
    ordinary: bool = False


def scene(case: Case, regions: int = 1) -> np.ndarray:
    """int [regions, h, w] of 0 and 1 as bool: discs and boxes that do not overlap."""
    size = (case.number(6, 40), case.number(6, 40))
    rows, columns = np.mgrid[: size[0], : size[1]]
    labels = np.zeros(size, int)
    for region in range(1, regions + 1):
        y, x, reach = case.rng.random() * size[0], case.rng.random() * size[1], 2 + case.rng.random() * 10
        round_ = (rows - y) ** 2 + (columns - x) ** 2 <= reach**2
        square = (abs(rows - y) <= reach) & (abs(columns - x) <= reach / 2)
        labels[round_ if case.chance(0.7) else square] = region
    return np.stack([labels == region for region in range(1, regions + 1)])


def _values(case: Case, inside: np.ndarray, low: int = 0, high: int = 255, dtype: Any = np.uint8) -> np.ndarray:
    return np.where(inside, high, low).astype(dtype)


def _named(case: Case, low: int, high: int) -> dict[str, Any]:
    """Names for inside and outside, or inside only."""
    inside = case.pick((INSIDE, {"name": INSIDE}, {"name": INSIDE, "kind": "object"}))
    return {str(high): inside} if case.chance(0.4) else {str(low): "skin", str(high): inside}


def _truth(names: dict[str, Any], inside: np.ndarray) -> dict[str, list[np.ndarray]]:
    return {INSIDE: [inside], **({"skin": [~inside]} if len(names) > 1 else {})}


def _grey_form(case: Case) -> tuple[str, str, dict[str, Any]]:
    """Suffix, format and options that hold 8-bit grey without loss."""
    return case.pick((
        (".png", "PNG", {}), (".PNG", "PNG", {}), (".bmp", "BMP", {}), (".tif", "TIFF", {}),
        (".TIFF", "TIFF", {"compression": "tiff_lzw"}), (".tif", "TIFF", {"compression": "tiff_deflate"}),
        (".tif", "TIFF", {"compression": "packbits"}), (".tif", "TIFF", {"tiffinfo": {262: 0}}),
    ))  # fmt: skip


# -- label maps: any value, with segments.json -----------------------------------------------------------------------


def grey(case: Case) -> Written:
    inside = scene(case)[0]
    names = _named(case, 0, 255)
    suffix, form, options = _grey_form(case)
    data = saved(Image.fromarray(_values(case, inside)), form, **options)
    return Written(f"8-bit grey {form}", suffix, data, names, _truth(names, inside), ordinary=True)


def many_values(case: Case) -> Written:
    """Several values; one of them may have no name, which must be told."""
    masks = scene(case, case.number(1, 5))
    numbers = [int(v) for v in case.rng.choice(np.arange(1, 256), len(masks), replace=False)]
    values = np.zeros(masks.shape[1:], np.uint8)
    for number, mask in zip(numbers, masks):
        values[mask] = number
    names = {str(number): f"name {number}" for number in numbers} | ({"0": "skin"} if case.chance(0.5) else {})
    unnamed = numbers[-1] if len(numbers) > 1 and case.chance(0.4) else None
    if unnamed is not None:
        del names[str(unnamed)]
    suffix, form, options = _grey_form(case)
    truth = {name: [values == int(number)] for number, name in names.items()}
    told = unnamed is not None and bool((values == unnamed).any())
    if told and len(names) <= 2 and (len(names) == 1 or "0" in names):
        # two levels: what lies between may count as the nearer one, which the note says
        high = max(int(number) for number in names)
        near = {number: values >= high / 2 if int(number) else values < high / 2 for number in names}
        truth = {name: [*truth[name], near[number]] for number, name in names.items()}
    kind = "grey of several values, one without a name" if told else "grey of several values"
    return Written(
        kind, suffix, saved(Image.fromarray(values), form, **options), names, truth, told, may_refuse=False,
        ordinary=not told,
    )  # fmt: skip


def other_range(case: Case) -> Written:
    """Values that are not those that have names: 0 and 1 where 0 and 255 are named, and the like."""
    inside = scene(case)[0]
    written, named = case.pick(((1, 255), (255, 1), (65535, 255), (255, 65535), (254, 255), (2, 1), (128, 255)))
    dtype = np.uint16 if written > 255 else np.uint8
    names = _named(case, 0, named)
    data = saved(Image.fromarray(_values(case, inside, 0, written, dtype)), "PNG")
    kind = f"values 0/{written} where 0/{named} have names"
    return Written(kind, ".png", data, names, _truth(names, inside), True, may_miss=True, may_refuse=True)


def one_bit(case: Case) -> Written:
    """It reads as 0 and 255; where 0 and 1 have names, by these or told."""
    inside = scene(case)[0]
    high = case.pick((255, 255, 1))
    names = _named(case, 0, high)
    suffix, form, options = case.pick((
        (".png", "PNG", {}), (".bmp", "BMP", {}), (".tif", "TIFF", {}), (".tif", "TIFF", {"compression": "group4"}),
        (".tif", "TIFF", {"tiffinfo": {262: 0}}),
    ))  # fmt: skip
    data = saved(Image.fromarray(inside), form, **options)
    lenient = {"may_miss": True, "may_refuse": True} if high == 1 else {"ordinary": True}
    return Written(f"1-bit {form}", suffix, data, names, _truth(names, inside), **lenient)


def few_bits(case: Case) -> Written:
    """Grey PNG of 2 or 4 bits a pixel, which Pillow scales to 8: the stored numbers count, or it is told."""
    inside = scene(case)[0]
    bits, high = case.pick((2, 4)), case.pick((1, 3))
    values = _values(case, inside, 0, high)
    planes = np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(len(values), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in planes)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    names = _named(case, 0, high)
    kind = f"grey PNG of {bits} bits, value {high}"
    return Written(kind, ".png", data, names, _truth(names, inside), may_miss=True, may_refuse=True)


def _palette_image(index: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.frombytes("P", index.shape[::-1], index.astype(np.uint8).tobytes())
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


def grey_palette(case: Case) -> Written:
    """An editor's PNG-8: the palette's colours are greys, in any order; the grey counts, not the index."""
    masks = scene(case, case.pick((1, 1, 2, 4)))
    greys = [0, 255] if len(masks) == 1 else [int(v) for v in case.rng.choice(256, len(masks) + 1, replace=False)]
    shown = np.full(masks.shape[1:], greys[0])
    for value, mask in zip(greys[1:], masks):
        shown[mask] = value
    palette = case.rng.permutation(greys) if case.chance(0.8) else np.arange(256)[::-1]
    place = {int(value): index for index, value in enumerate(palette)}
    index = np.vectorize(place.__getitem__)(shown)
    colours = np.repeat(np.asarray(palette)[:, None], 3, axis=1)
    names = {str(value): INSIDE if value == greys[1] else f"name {value}" for value in greys}
    suffix, form = case.pick(((".png", "PNG"), (".bmp", "BMP"), (".tif", "TIFF")))
    data = saved(_palette_image(index, colours), form)
    truth = {name: [shown == int(value)] for value, name in names.items()}
    return Written(f"palette {form} of greys", suffix, data, names, truth)


def index_names(case: Case) -> Written:
    """Black and white in a palette whose places 0 and 1 have names: by these, or told."""
    inside = scene(case)[0]
    greys = case.pick(([0, 255], [255, 0]))
    names = _named(case, 0, 1)
    data = saved(_palette_image(inside, np.repeat(np.array(greys)[:, None], 3, axis=1)), "PNG")
    kind = "palette PNG of greys, its places named"
    truth = _truth(names, inside)
    # black is 0 whichever place it has, so that a mask all of whose pixels are black shows nothing inside
    if greys[0]:
        truth = {
            name: [*masks, ~masks[0]] if name == "skin" or inside.all() else masks for name, masks in truth.items()
        }
    return Written(kind, ".png", data, names, truth, may_miss=True, may_refuse=True)


def voc_palette() -> np.ndarray:
    """uint8 [256, 3]: Pascal VOC's own, whose places 0 and 7 are greys among colours."""
    place = np.arange(256)
    return np.stack(
        [sum(((place >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)], axis=1
    ).astype(np.uint8)


def colour_palette(case: Case) -> Written:
    """Colours only colour: the index counts."""
    masks = scene(case, case.pick((1, 1, 3)))
    if case.chance(0.5):
        colours, numbers = voc_palette(), [7, 1, 20][: len(masks)]
        kind = "palette PNG of VOC's colours"
    else:
        colours = case.rng.integers(0, 256, (case.number(len(masks) + 1, 30), 3))
        colours[:, 1] = (colours[:, 0] + 40) % 256  # no greys
        numbers = [int(v) for v in case.rng.choice(np.arange(1, len(colours)), len(masks), replace=False)]
        kind = "palette PNG of colours"
    index = np.zeros(masks.shape[1:], int)
    for number, mask in zip(numbers, masks):
        index[mask] = number
    names = {"0": "skin"} | {str(number): VOC_CLASSES[place + 1] for place, number in enumerate(numbers)}
    truth = {name: [index == int(number)] for number, name in names.items()}
    return Written(kind, ".png", saved(_palette_image(index, colours), "PNG"), names, truth, ordinary=True)


def grey_in_colours(case: Case) -> Written:
    """Grey, stored as RGB, RGBA or with an alpha that hides nothing: as it is, or refused."""
    inside = scene(case)[0]
    names = _named(case, 0, 255)
    mode = case.pick(("RGB", "RGBA", "LA"))
    data = saved(Image.fromarray(_values(case, inside)).convert(mode), "PNG")
    return Written(f"grey stored as {mode}", ".png", data, names, _truth(names, inside), may_refuse=True)


def red_on_black(case: Case) -> Written:
    inside = scene(case)[0]
    names = _named(case, 0, 255)
    array = np.zeros((*inside.shape, 3), np.uint8)
    array[inside] = case.pick(((255, 0, 0), (0, 255, 0), (128, 64, 0)))
    data = saved(Image.fromarray(array), "PNG")
    return Written("coloured RGB", ".png", data, names, _truth(names, inside), True, may_miss=True, may_refuse=True)


def in_alpha(case: Case) -> Written:
    inside = scene(case)[0]
    inside[0, 0], inside[-1, -1] = False, True  # an even alpha would hide that it is one
    names = _named(case, 0, 255)
    mode, flat = case.pick((("LA", 255), ("LA", 0), ("RGBA", 255), ("RGBA", 90)))
    image = Image.new(mode[:-1], inside.shape[::-1], (flat,) * 3 if mode == "RGBA" else flat)
    image.putalpha(Image.fromarray(_values(case, inside)))
    data = saved(image, "PNG")
    kind = f"the mask in the alpha of {mode}"
    return Written(kind, ".png", data, names, _truth(names, inside), True, may_miss=True, may_refuse=True)


def deep(case: Case) -> Written:
    """16 and 32 bit, whole numbers: as they are."""
    inside = scene(case)[0]
    high = case.pick((1, 255, 256, 1000, 65535))
    how, dtype, suffix, form = case.pick((
        ("16-bit PNG", np.uint16, ".png", "PNG"), ("16-bit TIFF", np.uint16, ".tif", "TIFF"),
        ("32-bit TIFF", np.int32, ".tif", "TIFF"), ("float TIFF of whole numbers", np.float32, ".tiff", "TIFF"),
    ))  # fmt: skip
    names = _named(case, 0, high)
    data = saved(Image.fromarray(_values(case, inside, 0, high, dtype)), form)
    return Written(how, suffix, data, names, _truth(names, inside), ordinary=form == "PNG")


def fractions(case: Case) -> Written:
    """Probabilities, or numbers that are none."""
    inside = scene(case)[0]
    values = _values(case, inside, 0, 1, np.float32)
    values[0, 0] = case.pick((0.5, 0.25, np.nan, np.inf, -1.5))
    names = _named(case, 0, 1)
    data = saved(Image.fromarray(values), "TIFF")
    near = inside.copy()
    near[0, 0] = not inside[0, 0]
    truth = {INSIDE: [inside, near], **({"skin": [~inside, ~near]} if len(names) > 1 else {})}
    out = [mask & (np.arange(mask.size).reshape(mask.shape) > 0) for mask in (inside, ~inside)]
    truth[INSIDE].append(out[0])
    if "skin" in truth:
        truth["skin"].append(out[1])
    return Written("float TIFF of fractions", ".tif", data, names, truth, True, may_miss=True, may_refuse=True)


def _softened(case: Case, names: dict[str, Any], soft: np.ndarray, data: bytes, kind: str, suffix: str) -> Written:
    """Half and above is inside, with a note; or refused."""
    inside = soft >= 128
    truth = _truth(names, inside)
    exact = not ((soft > 0) & (soft < 255)).any()
    if len(names) == 1 and not exact:
        truth[INSIDE].append(soft == 255)  # nothing says that 254 is nearer to it than to what has no name
    return Written(kind, suffix, data, names, truth, not exact, may_refuse=not exact, may_miss=len(names) == 1)


def _soft(case: Case) -> np.ndarray:
    """uint8 [h, w]: a shape whose edges are anti-aliased, or softened otherwise."""
    inside = _values(case, scene(case)[0])
    if case.chance(0.5):
        larger = cv2.resize(inside, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        return cv2.resize(larger, inside.shape[::-1], interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(inside, (3, 3), 0)


def soft_edges(case: Case) -> Written:
    soft = _soft(case)
    names = _named(case, 0, 255)
    suffix, form, options = _grey_form(case)
    data = saved(Image.fromarray(soft), form, **options)
    return _softened(case, names, soft, data, "anti-aliased edges", suffix)


def once_jpeg(case: Case) -> Written:
    first = saved(Image.fromarray(_values(case, scene(case)[0])), "JPEG", quality=case.pick((60, 75, 90, 95)))
    soft = decoded(first, cv2.IMREAD_GRAYSCALE)
    names = _named(case, 0, 255)
    return _softened(case, names, soft, saved(Image.fromarray(soft), "PNG"), "once a JPEG", ".png")


def jpeg(case: Case) -> Written:
    """The mask itself a JPEG: read as one that once was, refused, or named as passed over."""
    data = saved(Image.fromarray(_values(case, scene(case)[0])), "JPEG", quality=95)
    soft = decoded(data, cv2.IMREAD_GRAYSCALE)
    names = _named(case, 0, 255)
    inside = soft >= 128
    truth = {INSIDE: [inside, soft == 255]}
    if len(names) > 1:
        truth["skin"] = [~inside, soft == 0]
    return Written("a JPEG", ".jpg", data, names, truth, may_miss=True, may_refuse=True)


def turned_mask(case: Case) -> Written:
    """Turned by its own tag."""
    stored = scene(case)[0]
    orientation = case.number(2, 8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    suffix, form = case.pick(((".png", "PNG"), (".tif", "TIFF")))
    names = _named(case, 0, 255)
    data = saved(Image.fromarray(_values(case, stored)), form, exif=exif)
    return Written(f"{form} with an EXIF turn", suffix, data, names, _truth(names, turned(stored, orientation)))


def pages(case: Case) -> Written:
    """What the second page says is not read, and that is told."""
    inside = scene(case)[0]
    names = _named(case, 0, 255)
    second = Image.fromarray(_values(case, ~inside))
    data = saved(Image.fromarray(_values(case, inside)), "TIFF", save_all=True, append_images=[second])
    return Written("TIFF of two pages", ".tif", data, names, _truth(names, inside), True, may_refuse=True)


LABEL_WAYS: tuple[Callable[[Case], Written], ...] = (
    grey, many_values, many_values, other_range, one_bit, few_bits, grey_palette, grey_palette, index_names,
    colour_palette, grey_in_colours, red_on_black, in_alpha, deep, fractions, soft_edges, once_jpeg, jpeg, turned_mask,
    pages,
)  # fmt: skip
#: What may lie in a folder of masks per name: inside and outside, whatever the numbers.
_TWO_VALUED = (
    grey, one_bit, few_bits, grey_palette, colour_palette, grey_in_colours, in_alpha, deep, soft_edges, once_jpeg,
    turned_mask, pages, other_range,
)  # fmt: skip


def _as_folder(way: Callable[[Case], Written]) -> Callable[[Case], Written]:
    def made(case: Case) -> Written:
        written = way(case)
        while len(written.truth) > 2 or (INSIDE not in written.truth and way is not colour_palette):
            written = way(case)
        name = INSIDE if INSIDE in written.truth else list(written.truth)[-1]
        inside = written.truth[name][:1]
        # any one other value is inside, so that only a doubtful edge or a lost page is worth a word
        certain = way not in (soft_edges, once_jpeg, pages, in_alpha)
        return Written(
            written.kind, written.suffix, written.data, {}, {INSIDE: inside},
            must_tell=written.must_tell and not certain, may_miss=not inside[0].any(),
            may_refuse=written.may_refuse and way is not other_range and way is not few_bits, ordinary=False,
        )  # fmt: skip

    return made


INSIDE_WAYS: tuple[Callable[[Case], Written], ...] = tuple(_as_folder(way) for way in _TWO_VALUED)
