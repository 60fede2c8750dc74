"""Sound bytes and documents, damaged."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from typing import Any

import numpy as np

from .harness import Case

#: What may stand where something else belongs.
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -(2**40), 1e308, -1e308, float("nan"), float("inf"), 0.5, "", " ",
    "0", "-1", "nan", "1e999", "x" * 3000, "\x00", "\ud800", "é", "../../x", "a\nb", [], {}, [[]], [None], [1], ["a"],
    [[1, 2], [3]], {"a": 1}, {"size": [8]}, {"counts": "x"}, [[0, 0, 1, 1, float("nan"), 2]], [1e300] * 8, [-5] * 6,
)  # fmt: skip
EDGES = (0, 1, 2, 7, 255, 256, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def damaged(case: Case, data: bytes, other: bytes = b"") -> bytes:
    """Bits flipped, cut off, pieces lost, doubled or from another file, numbers in the head changed."""
    for _ in range(case.pick((1, 1, 1, 2, 4))):
        data = case.pick((_flipped, _cut, _without, _doubled, _blank, _edited, _spliced, _rechecked))(case, data, other)
    return data


def _flipped(case: Case, data: bytes, _: bytes) -> bytes:
    out = np.frombuffer(data, np.uint8).copy()
    if len(out):
        places = case.rng.integers(0, len(out), case.pick((1, 1, 2, 8, 32)))
        out[places] ^= (1 << case.rng.integers(0, 8, len(places))).astype(np.uint8)
    return out.tobytes()


def _cut(case: Case, data: bytes, _: bytes) -> bytes:
    return data[: case.number(0, len(data))]


def _piece(case: Case, data: bytes) -> tuple[int, int]:
    start = case.number(0, len(data))
    return start, min(len(data), start + case.pick((1, 2, 4, 16, 64, 400)))


def _without(case: Case, data: bytes, _: bytes) -> bytes:
    start, stop = _piece(case, data)
    return data[:start] + data[stop:]


def _doubled(case: Case, data: bytes, _: bytes) -> bytes:
    start, stop = _piece(case, data)
    return data[:stop] + data[start:]


def _blank(case: Case, data: bytes, _: bytes) -> bytes:
    start, stop = _piece(case, data)
    return data[:start] + bytes([case.pick((0, 255, 32))]) * (stop - start) + data[stop:]


def _spliced(case: Case, data: bytes, other: bytes) -> bytes:
    start, stop = _piece(case, other or data)
    place = case.number(0, len(data))
    return data[:place] + (other or data)[start:stop] + data[place:]


def _edited(case: Case, data: bytes, _: bytes) -> bytes:
    """A number of 2 or 4 bytes among the first, where sizes and counts stand."""
    width, order = case.pick(((2, "<H"), (2, ">H"), (4, "<I"), (4, ">I")))
    place = case.number(0, max(0, min(len(data), 160) - width))
    value = case.pick(EDGES) & ((1 << 8 * width) - 1)
    return data[:place] + struct.pack(order, value) + data[place + width :]


def _rechecked(case: Case, data: bytes, other: bytes) -> bytes:
    """A PNG chunk changed, its checksum made right again; bits flipped elsewhere."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return _flipped(case, data, other)
    chunks, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    if not chunks:
        return data
    which = case.number(0, len(chunks) - 1)
    name, body = chunks[which]
    chunks[which] = (name, case.pick((_flipped, _cut, _edited, _blank))(case, body, b""))
    if case.chance(0.2):
        chunks.insert(case.number(0, len(chunks)), case.pick(chunks))
    return data[:8] + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def damaged_document(case: Case, document: Any, within: Any = None) -> str:
    """A document as JSON, some values of it replaced, taken out, doubled or nested without end.

    Args:
        within: the part of the document that is changed; all of it may be if None.
    """
    for _ in range(case.pick((1, 1, 1, 2, 3))):
        holder, key = _somewhere(case, document if within is None else within)
        if holder is None:
            continue
        how = case.pick(("value", "value", "value", "gone", "double", "rename"))
        if how == "value":
            holder[key] = copy.deepcopy(case.pick(ODD_VALUES))
        elif how == "gone":
            del holder[key]
        elif how == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif isinstance(holder, dict):
            holder[case.pick(("", "id", "x", "size", "é"))] = holder.pop(key)
    text = json.dumps(document)
    if case.chance(0.03):
        deep = case.pick((50, 2_000, 100_000))
        text = text.replace("1", "[" * deep + "]" * deep, 1)
    return text


def _somewhere(case: Case, value: Any) -> tuple[Any, Any]:
    """A holder in a document and a key in it, at any depth; (None, None) where there is nothing."""
    holder, key = None, None
    while isinstance(value, dict | list) and value:
        holder = value
        key = case.pick(list(value)) if isinstance(value, dict) else case.number(0, len(value) - 1)
        if holder is not None and case.chance(0.25):
            break
        value = holder[key]
    return holder, key
