"""Masks over pictures that are stored turned: cameras write a tag instead of turning the pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image, TiffImagePlugin

from core.images import DAMAGE, EXIF_ORIENTATION, FORMATS
from core.segments.files.values import TURNED
from core.segments.segments import Segments

WITH_PICTURE = "The mask lay over the pixels as they are stored, and was turned upright with its picture."
AS_UPRIGHT = "The picture is stored turned, and its mask was taken as upright."
FILES = "files"


def upright(segments: Segments, picture: Path) -> Segments:
    """The segments over the upright picture, where its size tells that they lie over the stored pixels.

    Where the sizes fit either way, masks are taken as upright, with a note. Those that were turned by a tag of their
    own stay, and so do those that were cut over the upright picture by Satchel.

    Args:
        picture: its file; one that cannot be read is nothing to this.
    """
    turn, size = stored(picture)
    if turn == 1 or not len(segments) or TURNED in segments.notes:
        return segments
    if turn >= 5 and segments.size == size and size[0] != size[1]:
        items = tuple(replace(item, mask=item.mask.turned(turn)) for item in segments)
        return replace(segments, size=size[::-1], items=items, notes=(*segments.notes, WITH_PICTURE))
    # of an upright size: only a picture on its side, which is not square, proves that it is
    if (turn >= 5 and size[0] != size[1]) or not any(item.source == FILES for item in segments):
        return segments
    return replace(segments, notes=(*segments.notes, AS_UPRIGHT))


def stored(picture: Path) -> tuple[int, tuple[int, int]]:
    """The EXIF orientation (1 to 8) of a picture file, and its (height, width) as it is stored, by its header."""
    if not picture.is_file():
        return 1, (0, 0)
    try:
        with Image.open(picture, formats=FORMATS) as image:
            # a PNG would be decoded as a whole in search of a tag behind its pixels
            early = image.format != "PNG" or "exif" in image.info
            turn = image.getexif().get(EXIF_ORIENTATION, 1) if early else 1
            width, height = image.size
            if isinstance(image, TiffImagePlugin.TiffImageFile):  # whose size is the upright picture's already
                width, height = image.tag_v2[256], image.tag_v2[257]
            return turn if turn in range(2, 9) else 1, (height, width)
    except (*DAMAGE, Image.DecompressionBombError):
        return 1, (0, 0)
