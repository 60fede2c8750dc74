"""What is kept of one picture's segments, and how it is written: COCO's compressed runs in JSON."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import UserError
from core.segments.files.opened import MALFORMED
from core.segments.files.rle_text import from_text, to_text
from core.segments.mask import Mask
from core.segments.segments import Segment, Segments, default_kind

FORMAT = 1
# of a segment, besides its mask; the kind goes with the name
KEPT = ("name", "score", "source", "naming", "confidence")
TYPES = {
    "picture": str, "version": int, "action": str, "by": str, "at": str, "before": int | None, "made_by": dict,
    "size": list, "segments": list,
}  # fmt: skip
BY_PEOPLE = ("typed", "accepted")


@dataclass(frozen=True)
class Record:
    """One version of one picture's segments.

    Attributes:
        picture: its id in the data set.
        version: counts up from 1 with everything that is saved.
        nameless: keys (`mask_key`) of masks that are to stay without a name.
        made_by: which bulk work was done on it last: "segmenter" or "namer" -> its signature.
        action, by, at: what was done, by whom, when (UTC, ISO 8601).
        before: the version that undo goes back to, if any; again: those that redo brings back, the next one last.
    """

    picture: str
    version: int
    segments: Segments
    nameless: frozenset[str] = frozenset()
    made_by: Mapping[str, str] = field(default_factory=dict)
    action: str = ""
    by: str = ""
    at: str = ""
    before: int | None = None
    again: tuple[int, ...] = ()

    @property
    def summary(self) -> dict[str, Any]:
        """What a list of many pictures shows of it."""
        names = Counter(segment.name for segment in self.segments if segment.name)
        return {
            "masks": len(self.segments),
            "proposed": sum(segment.naming == "proposed" for segment in self.segments),
            "nameless": sum(mask_key(s.mask) in self.nameless for s in self.segments) if self.nameless else 0,
            "names": dict(names),
            "made_by": dict(self.made_by),
        }

    def with_kinds(self, kinds: Mapping[str, str]) -> Record:
        """The same with the kinds that names have in the whole data set."""
        items = tuple(replace(item, kind=_kind(item, kinds)) for item in self.segments)
        return replace(self, segments=replace(self.segments, items=items))


def mask_key(mask: Mask) -> str:
    """Equal masks have equal keys, wherever they stand."""
    return hashlib.blake2b(f"{mask.size}".encode() + mask.counts.tobytes(), digest_size=12).hexdigest()


def write_record(record: Record) -> bytes:
    """As UTF-8 JSON. Kinds are left out: they belong to the names of the whole data set."""
    values = {
        "format": FORMAT,
        **{key: getattr(record, key) for key in ("picture", "version", "action", "by", "at", "before", "again")},
        "nameless": sorted(record.nameless),
        "made_by": dict(record.made_by),
        **segments_to_json(record.segments),
    }
    return json.dumps(values, allow_nan=False).encode()


def read_record(data: bytes) -> Record:
    """The record that `write_record` wrote.

    Raises:
        UserError: damaged, or of a newer Satchel.
    """
    try:
        values = json.loads(data)
        if values["format"] > FORMAT:
            raise UserError("These segments were saved by a newer Satchel; update this one to open them.")
        checked(values, TYPES)
        return Record(
            **{key: values[key] for key in ("picture", "version", "action", "by", "at", "before", "made_by")},
            segments=segments_from_json(values),
            nameless=frozenset(checked_list(values["nameless"], str)),
            again=tuple(checked_list(values["again"], int)),
        )
    except UserError:
        raise
    except (*MALFORMED, RecursionError) as error:
        raise UserError(f"A saved picture's segments are damaged ({error or type(error).__name__}).") from error


def checked(values: Any, types: Mapping[str, Any]) -> None:
    """Fields of what was read from JSON.

    Raises:
        KeyError, TypeError: one is missing, or of another type.
    """
    for key, kind in types.items():
        if not isinstance(values[key], kind) or isinstance(values[key], bool):
            raise TypeError(f"{key!r} cannot be {values[key]!r}"[:200])


def checked_list(values: Any, kind: type) -> list[Any]:
    """A list of one kind of values, as it was read from JSON.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise TypeError(f"{str(values)[:100]!r} is no list of {kind.__name__}")
    return values


def segments_to_json(segments: Segments) -> dict[str, Any]:
    """{"size": [h, w], "segments": [...]}, plain values."""
    return {
        "size": list(segments.size),
        "segments": [
            {
                "segmentation": {"size": list(segments.size), "counts": to_text(segment.mask)},
                **{key: getattr(segment, key) for key in KEPT},
            }
            for segment in segments
        ],
    }


def segments_from_json(values: Mapping[str, Any]) -> Segments:
    """The way back; kinds are those that names have by default."""
    height, width = checked_list(values["size"], int)
    size = (height, width)
    items = []
    for entry in values["segments"]:
        known = {key: entry[key] for key in KEPT}
        if entry["segmentation"]["size"] != values["size"]:
            raise ValueError("a mask is of another size than its picture")
        mask = from_text(entry["segmentation"]["counts"], size)
        items.append(Segment(mask, kind=default_kind(known["name"]), **known))
    return Segments(size, tuple(items))


def _kind(segment: Segment, kinds: Mapping[str, str]) -> str:
    return kinds.get(segment.name, default_kind(segment.name))
