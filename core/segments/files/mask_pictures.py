"""Masks that are pictures: one number a pixel."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from core.errors import UserError
from core.images import DAMAGE, MAX_BYTES, MAX_PIXELS, PICTURE_SUFFIXES, bytes_as_bytes, cut_short, missing_pixels
from core.paths import existing_file
from core.runtime.whole_files import whole_file
from core.segments.files.details import FIELD
from core.segments.files.opened import without_suffix
from core.segments.files.values import Colours, numbers_of
from core.segments.segments import Segments

SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
FORMATS = ("PNG", "TIFF", "BMP")


@dataclass(frozen=True)
class MaskPicture:
    """A mask picture as it was read.

    Attributes:
        values: [h, w] integers, upright.
        notes: what was noticed, one sentence each.
        details: what `write_mask_picture` put beside the pixels; None if there is nothing.
    """

    values: np.ndarray
    notes: tuple[str, ...] = ()
    details: Any = None


def read_label_map(path: Path, colours: Colours | None = None) -> np.ndarray:
    """[h, w] integers, by the rule of `core.segments.files.values`; a 1-bit picture reads as 0 and 255.

    Args:
        colours: what the colours of an RGB picture stand for; a colour without an entry reads as -1.

    Raises:
        UserError: missing, damaged, or not one whole number a pixel.
    """
    return read_mask(path, colours).values


def read_mask(path: Path, colours: Colours | None = None) -> MaskPicture:
    """As `read_label_map`, with what was noticed.

    Raises:
        UserError: as there.
    """
    existing_file(path, "mask", "check the manifest")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"is larger than {MAX_BYTES >> 20} MB; save it as an 8-bit PNG")
        # from memory: Pillow scrambles a turned TIFF that it maps from a file
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(
                    f"has {image.width}x{image.height} pixels; the limit is {MAX_PIXELS // 1_000_000} megapixels"
                )
            if missing := missing_pixels(image, len(data)):
                raise UserError(f"is damaged ({missing}); export it again")
            values, notes = numbers_of(bytes_as_bytes(image), colours)
            if cut_short(image, data):
                raise UserError("is cut off (its last rows are missing); export it again")
            riding = image.info.get(FIELD)
    except UserError as error:
        raise UserError(f"The mask {path} {error}.") from error
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise UserError(f"The mask {path} cannot be read ({error}); save it as an 8-bit PNG.") from error
    return MaskPicture(values, notes, None if riding is None else _parsed(riding, path))


def write_mask_picture(path: Path, values: np.ndarray, details: Any = None) -> None:
    """A PNG, whole or not at all.

    Args:
        values: [h, w] uint8 or uint16.
        details: anything JSON can hold; it is kept in a text field of the PNG.

    Raises:
        UserError: the file cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    if details is not None:
        info.add_itxt(FIELD, json.dumps(details, allow_nan=False))
    with whole_file(path) as part:
        Image.fromarray(values).save(part, format="PNG", pnginfo=info)


def placed(pictures: Iterable[tuple[str, Segments]]) -> Iterator[tuple[str, PurePosixPath, Segments]]:
    """For each picture where its mask lies, under the picture's own relative path with .png, and its segments without
    empty ones.

    Raises:
        UserError: the path would lead out of the folder, or is that of another picture too.
    """
    seen: dict[PurePosixPath, str] = {}
    for picture, segments in pictures:
        relative = without_suffix(picture)
        if relative.is_absolute() or ".." in relative.parts or not relative.name or "\0" in picture:
            raise UserError(f"The picture {picture!r} has no path inside a folder; rename it.")
        relative = relative.with_name(f"{relative.name}.png")
        if seen.setdefault(relative, picture) != picture:
            raise UserError(
                f"{picture} and {seen[relative]} would share the mask {relative}; rename one, or write COCO JSON."
            )
        yield picture, relative, Segments(segments.size, tuple(item for item in segments if item.mask.area))


def mask_pictures(folder: Path) -> dict[str, Path]:
    """The mask pictures of a folder by their relative path without suffix, sorted; hidden files are passed over.

    Raises:
        UserError: two differ in their suffix only.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in found:
                raise UserError(f"{found[key]} and {path} are both the mask of {key}; remove one.")
            found[key] = path
    return found


def passed_over(folder: Path) -> tuple[str, ...]:
    """A note on pictures among the masks that are of no form that masks are read in."""
    others = [s for s in PICTURE_SUFFIXES if s not in SUFFIXES]
    found = Counter(path.suffix.lower() for path in folder.rglob("*") if path.suffix.lower() in others)
    told = ", ".join(f"{count} {suffix}" for suffix, count in sorted(found.items()))
    return (f"Files beside the masks are not read as masks, which are PNG, TIFF or BMP ({told}).",) if found else ()


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"The mask {path} has damaged {FIELD!r} details; save it without them.") from error
