"""What files of other tools have no place for: it rides along in an extra field that they pass over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import UserError
from core.segments.files.opened import MALFORMED
from core.segments.mask import Mask
from core.segments.segments import Segment, default_kind

FIELD = "satchel"
RIDING = ("kind", "score", "source", "naming", "confidence")


def plain(mask: Mask, name: str, kind: str | None = None) -> Segment:
    """A segment as it comes from a file that says nothing but its name, or its name and kind."""
    return Segment(mask, name, kind or default_kind(name), naming="file" if name else "")


def details_of(segment: Segment, usual: Segment) -> dict[str, Any]:
    """What of a segment differs from what a file says without details."""
    return {key: getattr(segment, key) for key in RIDING if getattr(segment, key) != getattr(usual, key)}


def with_details(segment: Segment, details: Any, where: str) -> Segment:
    """The segment with what rode along; fields that are not known are passed over.

    Raises:
        UserError: the details cannot be what was written; `where` says which file they are in.
    """
    if not isinstance(details, Mapping):
        raise UserError(f"{where} has {FIELD!r} details of an unknown form; remove them or write the file again.")
    values = {key: getattr(segment, key) for key in RIDING}
    values.update((key, details[key]) for key in RIDING if key in details)
    if not segment.name:  # it was taken away since
        values.update(naming="", confidence=None)
    try:
        return Segment(segment.mask, segment.name, **values)
    except MALFORMED as error:
        raise UserError(f"{where} has {FIELD!r} details that make no sense ({error}); write the file again.") from error
