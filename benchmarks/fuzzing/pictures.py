"""Pictures in every way that people store them: the same pixels must come back, upright; and damaged ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from PIL import Image

from core.images import read_picture

from .damage import damaged, png_chunk
from .harness import Case, Family, Wrong

ORIENTATION = 0x0112
Made = tuple[bytes, np.ndarray, int]  # the file, uint8 [h, w, 3] as it should be read, and by how much it may differ


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels [h, w, ...] as a viewer shows them."""
    across = array.swapaxes(0, 1)
    views = {
        2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1], 5: across, 6: across[:, ::-1], 7: across[::-1, ::-1],
        8: across[::-1],
    }  # fmt: skip
    return views.get(orientation, array)


def shape(case: Case) -> tuple[int, int]:
    sides = case.pick(((1, 1), (1, 40), (40, 1), (3, 30), (16, 16), (0, 0), (0, 0), (0, 0), (0, 0)))
    return sides if sides[0] else (case.number(2, 48), case.number(2, 48))


def content(case: Case, channels: int = 3) -> np.ndarray:
    """uint8 [h, w, channels]: noise, a ramp or flat."""
    size = (*shape(case), channels)
    how = case.pick(("noise", "ramp", "flat"))
    if how == "noise":
        return case.rng.integers(0, 256, size, dtype=np.uint8)
    if how == "flat":
        return np.broadcast_to(case.rng.integers(0, 256, channels, dtype=np.uint8), size).copy()
    ramp = np.linspace(0, 255, size[0])[:, None, None] * case.rng.random(channels)
    return (ramp + np.zeros(size)).astype(np.uint8)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def decoded(data: bytes, flags: int) -> np.ndarray:
    """What another reader makes of the same file; colours as BGR."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert array is not None
    return array


def over_white(array: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    part = alpha.astype(float) / 255
    return np.round(array * part + 255 * (1 - part)).astype(np.uint8)


def _grey3(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.reshape(*grey.shape[:2], 1), 3, axis=2)


def _plain(case: Case) -> Made:
    array = content(case)
    form, options = case.pick((
        ("PNG", {}), ("PNG", {"compress_level": 0}), ("BMP", {}), ("WEBP", {"lossless": True, "exact": True}),
        ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_deflate"}),
        ("TIFF", {"compression": "packbits"}), ("TIFF", {"big_tiff": True}),
    ))  # fmt: skip
    case.kind = f"RGB {form}"
    return saved(Image.fromarray(array), form, **options), array, 0


def _grey(case: Case) -> Made:
    grey = content(case, 1)[..., 0]
    form = case.pick(("PNG", "BMP", "TIFF", "GIF"))
    case.kind = f"L {form}"
    if form == "GIF" and len(np.unique(grey)) > 200:
        grey = grey & 0xF0
    return saved(Image.fromarray(grey), form), _grey3(grey), 0


def _two_tone(case: Case) -> Made:
    inside = content(case, 1)[..., 0] > 127
    form = case.pick(("PNG", "BMP", "TIFF", "GIF"))
    options = {"compression": case.pick((None, "group4", "group3"))} if form == "TIFF" else {}
    case.kind = f"1 bit {form}"
    return saved(Image.fromarray(inside), form, **options), _grey3(inside * np.uint8(255)), 0


def _palette(case: Case) -> Made:
    colours = case.rng.integers(0, 256, (case.pick((2, 3, 16, 256)), 3), dtype=np.uint8)
    if len(colours) == 2 and case.chance(0.5):
        colours = np.repeat(np.array(case.pick(((0, 255), (255, 0), (40, 200))), np.uint8)[:, None], 3, axis=1)
    index = case.rng.integers(0, len(colours), shape(case), dtype=np.uint8)
    form = case.pick(("PNG", "GIF", "BMP", "TIFF"))
    image = Image.frombytes("P", index.shape[::-1], index.tobytes())
    image.putpalette(colours.tobytes())
    case.kind = f"palette {form}"
    array = colours[index]
    if form == "PNG" and case.chance(0.3):
        clear = case.number(0, len(colours) - 1)
        case.kind = "palette PNG, one colour transparent"
        array = np.where((index == clear)[..., None], np.uint8(255), array)
        return saved(image, form, transparency=clear), array, 0
    return saved(image, form), array, 0


def _transparent(case: Case) -> Made:
    channels = case.pick((2, 4))
    array = content(case, channels)
    form = case.pick(("PNG", "TIFF", "WEBP") if channels == 4 else ("PNG", "TIFF"))
    case.kind = f"{'RGBA' if channels == 4 else 'LA'} {form}"
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    colours = array[..., :-1] if channels == 4 else _grey3(array[..., 0])
    return saved(Image.fromarray(array), form, **options), over_white(colours, array[..., -1:]), 2


def _key_colour(case: Case) -> Made:
    array = content(case)
    key = tuple(int(v) for v in array[0, 0])
    case.kind = "RGB PNG, one colour transparent"
    clear = (array == array[0, 0]).all(-1, keepdims=True)
    return saved(Image.fromarray(array), "PNG", transparency=key), np.where(clear, np.uint8(255), array), 0


def _jpeg(case: Case) -> Made:
    array = content(case)
    options = {"quality": case.pick((30, 75, 95)), "progressive": case.chance(0.3), "subsampling": case.pick((0, 1, 2))}
    case.kind = "JPEG"
    form = case.pick(("JPEG", "JPEG", "WEBP", "MPO"))
    if form == "WEBP":
        case.kind, options = "lossy WEBP", {"quality": 80}
    image = Image.fromarray(array if case.chance(0.8) or form != "JPEG" else array[..., 0])
    data = saved(image, form, **options)
    return data, decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1], 4


def _print_colours(case: Case) -> Made:
    ink = content(case, 4)
    case.kind = "CMYK TIFF"
    image = Image.frombytes("CMYK", ink.shape[1::-1], ink.tobytes())
    parts = 255 - ink.astype(float)
    return saved(image, "TIFF"), np.round(parts[..., :3] * parts[..., 3:] / 255).astype(np.uint8), 2


def _sixteen(case: Case) -> Made:
    deep = case.rng.integers(0, 65536, shape(case), dtype=np.uint16)
    form = case.pick(("PNG", "TIFF"))
    case.kind = f"16-bit grey {form}"
    return saved(Image.fromarray(deep), form), _grey3(np.round(deep / 257).astype(np.uint8)), 1


def _sixteen_colours(case: Case) -> Made:
    """Pillow reads these and does not write them."""
    deep = case.rng.integers(0, 65536, (*shape(case), 3)).astype(">u2")
    height, width = deep.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    case.kind = "16-bit RGB PNG"
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    return data, np.round(deep / 257).astype(np.uint8), 1


def _wide_numbers(case: Case) -> Made:
    size = shape(case)
    how = case.pick(("8 bit stored wide", "16 bit stored wide", "of any range", "float"))
    case.kind = f"32-bit TIFF, {how}"
    if how == "float":
        values: np.ndarray = (case.rng.normal(0, case.pick((1e-3, 1, 1e6)), size)).astype(np.float32)
    else:
        top = {"8 bit stored wide": 256, "16 bit stored wide": 65536}.get(how, 2**31 - 1)
        values = case.rng.integers(-top if how == "of any range" else 0, top, size).astype(np.int32)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 65535 and how != "float":
        low, high = 0.0, 255.0 if high <= 255 else 65535.0
    grey = (values.astype(float) - low) / (high - low) * 255 if high > low else np.zeros(size)
    return saved(Image.fromarray(values), "TIFF"), _grey3(np.round(grey).astype(np.uint8)), 1


def _turned(case: Case) -> Made:
    stored = content(case)
    orientation = case.number(1, 8)
    form = case.pick(("JPEG", "PNG", "WEBP", "TIFF"))
    case.kind = f"{form} with an EXIF turn"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"exif": exif}
    if form == "WEBP":
        options |= {"lossless": True, "exact": True}
    data = saved(Image.fromarray(stored), form, **options)
    if form == "JPEG":
        stored = decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1]
    return data, turned(stored, orientation), 4 if form == "JPEG" else 0


def _moving(case: Case) -> Made:
    frames = [content(case)]
    frames += [case.rng.integers(0, 256, frames[0].shape, dtype=np.uint8) for _ in range(case.number(1, 4))]
    form = case.pick(("PNG", "WEBP", "TIFF"))
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    case.kind = f"{form} of several frames"
    images = [Image.fromarray(frame) for frame in frames]
    return saved(images[0], form, save_all=True, append_images=images[1:], **options), frames[0], 0


def _torn_pages(case: Case) -> Made:
    """A TIFF whose first page is whole and whose second is not."""
    data, first, _ = _moving(case)
    while data[:2] not in (b"II", b"MM"):
        data, first, _ = _moving(case)
    case.kind = "TIFF whose second page is damaged"
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", data[4:8])
    (entries,) = struct.unpack(order + "H", data[start : start + 2])
    place = start + 2 + 12 * entries
    (second,) = struct.unpack(order + "I", data[place : place + 4])
    how = case.pick(("away", "loop", "entries", "blank", "odd"))
    if how in ("away", "loop", "odd"):
        to = {"away": len(data) + 500, "loop": start, "odd": 3}[how]
        data = data[:place] + struct.pack(order + "I", to) + data[place + 4 :]
    elif start < second and second + 2 < len(data):
        into = b"\xff\xff" if how == "entries" else case.rng.bytes(min(90, len(data) - second))
        data = data[:second] + into + data[second + len(into) :]
    return data, first, 0


def many_pages(pages: int) -> bytes:
    """A grey TIFF of 2 x 2 pixels, so many times."""
    tags = ((256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 4))  # fmt: skip
    length = 2 + 12 * len(tags) + 4
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    places = (12 + length * (page + 1) if page + 1 < pages else 0 for page in range(pages))
    return b"II*\0" + struct.pack("<I", 12) + bytes((0, 80, 160, 240)) + b"".join(
        body + struct.pack("<I", place) for place in places
    )  # fmt: skip


def _many_pages(case: Case) -> Made:
    case.kind = "TIFF of very many pages"
    grey = np.array([[0, 80], [160, 240]], np.uint8)
    return many_pages(case.number(20_000, 40_000)), _grey3(grey), 0


def _large(case: Case) -> Made:
    case.kind = "16-bit grey PNG of 9 megapixels"
    deep = np.zeros((3000, 3000), np.uint16)
    deep[::7] = case.number(0, 65535)
    return saved(Image.fromarray(deep), "PNG", compress_level=1), _grey3(np.round(deep / 257).astype(np.uint8)), 1


WAYS: tuple[Callable[[Case], Made], ...] = (
    _plain, _grey, _two_tone, _palette, _transparent, _key_colour, _jpeg, _print_colours, _sixteen, _sixteen_colours,
    _wide_numbers, _turned, _turned, _moving, _torn_pages,
)  # fmt: skip
RARE: tuple[Callable[[Case], Made], ...] = (_many_pages, _large)


def attempt(case: Case) -> None:
    way = case.pick(RARE) if case.chance(1 / 2000) else case.pick(WAYS)
    data, truth, tolerance = way(case)
    case.begin()
    if way not in RARE and case.chance(0.5):
        other = case.pick(WAYS)(Case(case.rng, case.folder))[0]
        case.kind = f"damaged {case.kind}"
        _check_whole(read_picture(damaged(case, data, other)).array())
        return
    if case.chance(0.2):
        path = case.folder / case.pick(("a.png", "b.jpg", "no suffix", "é ü.tif", ".hidden.bmp"))
        path.write_bytes(data)
        picture = case.sound(lambda: read_picture(path))
    else:
        picture = case.sound(lambda: read_picture(data))
    got = picture.array()
    case.expect(got.shape == truth.shape, f"{got.shape[:2]} pixels, {truth.shape[:2]} expected")
    apart = int(np.abs(got.astype(np.int16) - truth).max())
    case.expect(apart <= tolerance, f"a pixel differs by {apart}, {tolerance} allowed")


def _check_whole(array: np.ndarray) -> None:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise Wrong(f"no RGB picture: {array.dtype} {array.shape}")


FAMILY = Family("pictures", 0.30, attempt)
