"""The one safe reader of untrusted pictures."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import struct
import threading
import warnings
import zlib
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from core.beforehand import picture_file
from core.compression import WHOLE, Compression, compression_of
from core.errors import UserError
from core.paths import readable

# Decoders outside this list (EPS, PDF, PSD, ...) have a long history of holes. Pillow's JPEG covers MPO, which
# many phones write.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
READABLE = "PNG, JPEG, WebP, GIF, BMP or TIFF"
PICTURE_SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".pjpeg", ".pjp", ".mpo", ".webp", ".gif", ".bmp",
    ".dib", ".tif", ".tiff",
)  # fmt: skip
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 1024 * 1024
# Decoded one at a time, and converted in strips.
LARGE_PIXELS = 16_000_000
# values that a byte of a file can stand for at most: deflate's own bound, and more than LZW or JPEG ever reach
PACKED, PACKED_OTHERS = {"PNG": 1032, "WEBP": 0}, 5000
# of a PNG, by the number that stands for its colours
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
STRIP_PIXELS = 1_000_000
_one_at_a_time = threading.Lock()
MOST_FRAMES = 100
LARGE_ANIMATION = 1 << 20  # bytes of a GIF whose frames are not counted
EXIF_ORIENTATION = 0x0112
# Pillow warns of odd tags and of large pictures; what matters of that is said in an error or a note.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
# What Pillow's decoders raise on damaged files, found by damaging them.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error, OverflowError)


@dataclass(frozen=True)
class Picture:
    """A picture as a person sees it.

    Attributes:
        image: RGB, 8 bit, turned upright.
        name: what to call it (the file's name).
        orientation: EXIF orientation of the stored pixels, 1 to 8 (1: stored upright).
        notes: what was changed on the way in, one sentence each; empty for an ordinary picture.
        compression: what its file lost.
    """

    image: Image.Image
    name: str = "picture"
    orientation: int = 1
    notes: tuple[str, ...] = ()
    compression: Compression = WHOLE

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels, upright."""
        return self.image.height, self.image.width

    @property
    def digest(self) -> str:
        """sha256 over the upright pixels: equal pictures have equal digests, whatever their file format."""
        h = hashlib.sha256(f"{self.image.size}".encode())
        for box in strips(self.image.size):
            h.update(self.image.crop(box).tobytes())
        return h.hexdigest()

    def array(self) -> np.ndarray:
        """uint8 [h, w, 3]."""
        return np.asarray(self.image)


def read_picture(source: str | Path | bytes, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture from a file or from bytes, distrusting it.

    Turned upright by its EXIF tag; 16 bit and floats scaled to 8 bit; CMYK, LAB and palettes converted; transparency
    laid over white; the first frame of an animation. The size limit is checked before any pixel is decoded.

    Raises:
        UserError: what is there is no picture, is cut off, too large, or of a format that is not read.
    """
    if isinstance(source, bytes):
        name = name or "picture"
        data = source
    else:
        path = Path(source)
        name = name or path.name
        data = _bytes_of(path, name)
    if len(data) > MAX_BYTES:
        raise UserError(f"{name} is larger than {MAX_BYTES >> 20} MB; save a smaller copy of it.")
    if not data:
        raise UserError(f"{name} is empty (0 bytes); choose the file again or export it anew.")
    image = _open(data, name)
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise _too_large(name, f"{image.width} x {image.height} pixels", max_pixels)
    if missing := missing_pixels(image, len(data)):
        raise UserError(f"{name} is damaged ({missing}); export or download it again.")
    deep = any(";16" in str(tile[3]) for tile in image.tile)  # known only until it is decoded
    notes = _frame_notes(data, image.format or "")
    compression = compression_of(image, data)
    with _one_at_a_time if pixels > LARGE_PIXELS else nullcontext():
        try:
            _decode(image, name)
            if cut_short(image, data):
                raise UserError(f"{name} is cut off (its last rows are missing); export or download it again.")
            return replace(_upright_rgb(image, name, deep, notes), compression=compression)
        except MemoryError as error:
            raise _too_large(name, f"{image.width} x {image.height} pixels", max_pixels) from error


def _bytes_of(path: Path, name: str) -> bytes:
    picture_file(path)
    with readable(path, "picture"):
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{name} is larger than {MAX_BYTES >> 20} MB; save a smaller copy of it.")
        return path.read_bytes()


def _open(data: bytes, name: str) -> ImageFile.ImageFile:
    try:
        return bytes_as_bytes(Image.open(io.BytesIO(data), formats=FORMATS))
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        size = f"{int(pixels[1]) // 1_000_000} megapixels" if pixels else "far too many pixels"
        raise _too_large(name, size, MAX_PIXELS) from error
    except UnidentifiedImageError as error:
        head = data[:512].lstrip().lower()
        if head.startswith((b"<svg", b"<?xml")) or b"<svg" in head:
            raise UserError(f"{name} is an SVG drawing, which has no pixels; export it as PNG first.") from error
        raise UserError(f"{name} is not a picture that Satchel reads; save it as {READABLE}.") from error
    except DAMAGE as error:
        raise UserError(f"{name} is damaged ({error}); export or download it again.") from error


def missing_pixels(image: Image.Image, size: int) -> str | None:
    """What is wrong with a head that promises more pixels than a file of so many bytes can hold; None if it can.

    Decoders leave black, unsaid, what is missing. Formats without such a bound (lossless WebP, faxes) pass.
    """
    most = PACKED.get(image.format or "", PACKED_OTHERS)
    values = image.width * image.height * len(image.getbands())
    bits = 1 if image.mode in ("L", "P") else 8  # a value at least, as they are stored
    if not most or image.mode == "1" or values * bits <= 8 * most * size:
        return None
    return f"{image.width} x {image.height} pixels cannot be in {size} bytes"


def cut_short(image: Image.Image, data: bytes) -> bool:
    """Whether a PNG that was decoded ends in rows that are not in the file: Pillow leaves them black where what is
    there ends in order. Looked at only where the last row is black, and not in interlaced ones.
    """
    width, height = image.size
    last = image.crop((0, height - 1, width, height)) if image.format == "PNG" else None
    if last is None or image.info.get("interlace") or last.getbbox(alpha_only=False) is not None:
        return False
    depth, colours = data[24], data[25]
    wanted = height * (1 + (width * depth * CHANNELS.get(colours, 1) + 7) // 8)
    found, place, stream = 0, 8, zlib.decompressobj()
    while found < wanted and place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        rest = data[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        while rest and found < wanted:
            try:
                found += len(stream.decompress(rest, STRIP_PIXELS))
            except zlib.error:  # which Pillow forgives
                return True
            rest = stream.unconsumed_tail
        place += 12 + length
    return found < wanted


def _decode(image: ImageFile.ImageFile, name: str) -> None:
    try:
        image.load()
    except DAMAGE as error:
        raise UserError(f"{name} is damaged or cut off ({error}); export or download it again.") from error


def bytes_as_bytes(image: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """An image that was opened and not yet decoded; a BMP of a byte a pixel whose palette is black and white is mended.

    Pillow takes such a one for a bit a pixel, and decodes it into something else without a word.
    """
    if image.format == "BMP" and image.mode == "1" and image.fp is not None:
        here = image.fp.tell()
        image.fp.seek(14)
        head = image.fp.read(16)
        image.fp.seek(here)
        old = head[:4] == struct.pack("<I", 12)  # OS/2's header, whose sizes are shorter
        if struct.unpack_from("<H", head, 10 if old else 14)[0] == 8:
            image.tile = [
                tile._replace(args=("1;8", *tile.args[1:])) if isinstance(tile.args, tuple) else tile
                for tile in image.tile
            ]
    return image


def _too_large(name: str, size: str, limit: int) -> UserError:
    return UserError(f"{name} has {size}; the limit is {limit // 1_000_000} megapixels, so save a smaller copy of it.")


def _frame_notes(data: bytes, form: str) -> list[str]:
    """A note on frames after the first. They are looked for in a reader of their own, so that damage there costs none
    of the first one, and not counted for longer than that is worth.
    """
    if form == "MPO":  # the same picture for two eyes, or smaller ones of it
        return []
    frames, more = 1, ""
    try:
        with Image.open(io.BytesIO(data), formats=(form,)) as image:
            if form == "TIFF":  # whose pages are found one after the other
                while frames < MOST_FRAMES:
                    image.seek(frames)
                    frames += 1
                more = " or more"
            elif form != "GIF" or len(data) <= LARGE_ANIMATION:
                frames = getattr(image, "n_frames", 1)
            elif getattr(image, "is_animated", False):
                return ["Only the first of its frames is used."]
    except DAMAGE:
        pass  # behind the last frame, or damage there
    return [f"Only the first of its {frames}{more} frames is used."] if frames > 1 else []


def _upright_rgb(image: Image.Image, name: str, deep: bool, notes: list[str]) -> Picture:
    try:
        orientation = int(image.getexif().get(EXIF_ORIENTATION, 1))
    except DAMAGE:
        orientation = 1  # a broken EXIF block does not make a picture unreadable
    orientation = orientation if 1 <= orientation <= 8 else 1
    if orientation != 1:
        notes.append("It was turned upright, as its camera noted.")
    if deep and image.mode.startswith(("RGB", "CMYK")):
        notes.append("Its colours were scaled to 8 bit.")
    rgb = turn_upright(_to_rgb(image, notes), orientation)
    return Picture(rgb, name, orientation, tuple(notes))


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Undo an EXIF orientation (1 to 8); works on masks as on pictures."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        notes.append("Its grey values were scaled to 8 bit.")
        grey = _scaled_grey(image)
        image.close()  # no longer needed beside what follows
        return grey.convert("RGB")
    if mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        notes.append(f"It was converted from {mode} to RGB.")
        return image.convert("RGB")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgb, clear = Image.new("RGB", image.size), False
        for box in strips(image.size):
            rgba = image.crop(box).convert("RGBA")
            clear = clear or rgba.getchannel("A").getextrema() != (255, 255)
            rgb.paste(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"), box)
        if clear:
            notes.append("Its transparent parts were laid over white.")
        return rgb
    return image.convert("RGB")


def _scaled_grey(image: Image.Image) -> Image.Image:
    """By the nominal range of 8 or 16 bit, so that pictures stay comparable, or, if that does not hold the values, by
    their own. 32-bit integers that go no further than 255 are taken for 8-bit ones, stored wide.
    """
    grey = Image.new("L", image.size)
    boxes = strips(image.size)
    low, high = 0.0, 65535.0
    if image.mode in ("I", "F"):  # all others hold 16 bit
        found = [_finite_range(np.asarray(image.crop(box))) for box in boxes]
        low, high = min(pair[0] for pair in found), max(pair[1] for pair in found)
        if low > high:  # not one value is a number
            return grey
        if image.mode == "I" and low >= 0 and high <= 65535:
            wide = image.format != "PNG"  # Pillow's older releases gave 16-bit PNG this mode
            low, high = 0.0, 255.0 if wide and high <= 255 else 65535.0
    for box in boxes:
        values = np.asarray(image.crop(box))
        if values.dtype.itemsize == 2:
            scaled = (values.astype(np.uint32) + 128) // 257  # rounded v / 65535 * 255
        else:
            values = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
            scaled = np.clip((values - low) * (255.0 / (high - low) if high > low else 0.0) + 0.5, 0, 255)
        grey.paste(Image.fromarray(scaled.astype(np.uint8)), box)
    return grey


def _finite_range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (np.inf, -np.inf)


def strips(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes of whole rows that together are a picture of this (width, height): what is made of one strip after the
    other never takes much memory.
    """
    width, height = size
    rows = max(1, STRIP_PIXELS // max(1, width))
    return [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]
