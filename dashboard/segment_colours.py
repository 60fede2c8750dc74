"""The colour of a segment's name on every tab and in reports: given once for a data set, kept beside its segments."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from core.errors import UserError
from core.segments.colours import coloured
from core.segments.files import holds_store
from core.segments.saved.store import Store


class SegmentColours:
    """By the folder where a data set's segments are kept. Shared by all visitors; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Path | str, dict[str, int]] = {}

    def of(self, place: Path | str, names: Iterable[str]) -> Mapping[str, int]:
        """Name -> number of its colour, at least for these names.

        Args:
            place: the folder; a text for data of which none is kept, whose colours hold as long as the page.
        """
        with self._lock:
            known = self._known.get(place, {})
            new = [name for name in dict.fromkeys(names) if name and name not in known]
            if new:
                known = self._known[place] = _learned(place, known, new)
            return known


def _learned(place: Path | str, known: Mapping[str, int], new: Iterable[str]) -> dict[str, int]:
    if isinstance(place, Path):
        with suppress(UserError):  # masks of another form lie there, or it cannot be written
            return Store(place).learn_colours(new)
    return coloured(new, known)


def kept(place: Path, names: Iterable[str]) -> Mapping[str, int]:
    """As a page of this machine gave them, where one did; no colour is given for good."""
    if place.is_dir() and holds_store(place):
        with suppress(UserError):
            return coloured(names, Store(place).colours)
    return coloured(names)


def chip(colours: Mapping[str, int], name: str) -> str:
    """A small field of a name's colour, as HTML; "" for what has none."""
    return f'<i class="chip g-{colours[name]}"></i>' if name in colours else ""
