"""Encoded pictures for tests, and what must come of those that are none."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.images import Picture, read_picture

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def smooth(size: tuple[int, int] = (48, 32)) -> Image.Image:
    y, x = np.mgrid[: size[1], : size[0]]
    values = np.stack([x * 255 // size[0], y * 255 // size[1], (x + y) * 255 // sum(size)], -1)
    return Image.fromarray(values.astype(np.uint8))


def pixel(picture: Picture, x: int, y: int) -> tuple[int, ...]:
    return tuple(int(v) for v in picture.array()[y, x])


def refused(source, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        read_picture(source)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def png(width: int, height: int, colour_type: int, depth: int, rows: bytes) -> bytes:
    """A PNG by hand, for what Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    compressed = zlib.compress(rows, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", compressed) + chunk(b"IEND", b"")
