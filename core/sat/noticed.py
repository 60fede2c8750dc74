"""What was noticed about the model, the data set, its masks and its pictures, as a report tells it on its first page.

A note is one sentence that says what was done, and in brackets at its end of how much or of what: "Boxes without a mask
were filled (2)." Over many pictures such notes become one: "Boxes without a mask were filled: 5 in 3 pictures, first
in a.png."
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.data import Dataset
from core.sat.batch import LoadedPicture

NOTE = re.compile(r"(?P<what>.*?)(?: \((?P<more>.*)\))?\.?", re.DOTALL)
AMOUNT = re.compile(r"(?P<count>\d[\d,]*)(?: (?P<unit>[a-z]+)(?: of .*)?)?", re.DOTALL)
#: Different sentences that a report tells; of names that no mask holds.
TOLD, NAMES = 100, 8


@dataclass
class _Kind:
    """One thing that was noticed: in which pictures, and of how much, where every note says so."""

    first: str
    more: str
    pictures: set[str] = field(default_factory=set)
    count: int = 0
    unit: str = ""
    counted: bool = True

    def add(self, picture: str, more: str) -> None:
        self.pictures.add(picture)
        amount = AMOUNT.fullmatch(more)
        self.counted = self.counted and amount is not None
        if amount:
            self.count += int(amount["count"].replace(",", ""))
            self.unit = amount["unit"] or ""

    def __str__(self) -> str:
        several = f"{len(self.pictures):,} pictures, first in " if len(self.pictures) > 1 else ""
        amount = f"{self.count:,} {self.unit}".strip() + " in " if self.counted else ""
        such = f" ({self.more})" if self.more and not (self.counted and " of " not in self.more) else ""
        return f"{amount}{several}{self.first}{such}"


def noticed_in(batch: Iterable[LoadedPicture]) -> list[dict[str, Any]]:
    """One record a note of the pictures and their masks: image, note."""
    return [{"image": entry.item.id, "note": note} for entry in batch for note in entry.notes]


def summed(notes: Iterable[tuple[str, str]]) -> list[str]:
    """One sentence a kind of note, in the order in which they came up.

    Args:
        notes: (picture, note) each.
    """
    kinds: dict[str, _Kind] = {}
    for picture, note in notes:
        parts = NOTE.fullmatch(note.strip())
        what, more = (parts["what"], parts["more"] or "") if parts else (note, "")
        kinds.setdefault(what, _Kind(picture, more)).add(picture, more)
    told = [f"{what}: {kind}." for what, kind in kinds.items()]
    more = [f"And {len(told) - TOLD:,} other kinds of notes."] if len(told) > TOLD else []
    return told[:TOLD] + more


def noticed(
    model: Sequence[str], data: Dataset, records: Iterable[dict[str, Any]], seen: Iterable[str] | None
) -> list[str]:
    """All that a report tells, one sentence each.

    Args:
        model: the classifier's notes.
        records: of `noticed_in`, of all pictures.
        seen: the names that masks were found to have; None if that is not known.
    """
    over_pictures = summed((record["image"], record["note"]) for record in records)
    return list(dict.fromkeys((*model, *data.notes, *over_pictures, *_missing(data, seen))))


def _missing(data: Dataset, seen: Iterable[str] | None) -> list[str]:
    known = set(seen or ())
    lacking = [] if seen is None else [name for name in data.names if name not in known]
    if not lacking:
        return []
    told = ", ".join(lacking[:NAMES]) + (f" and {len(lacking) - NAMES:,} more" if len(lacking) > NAMES else "")
    return [f"Named by the files of the masks, and in no mask that the model sees: {told}."]
