"""What a report found that can be repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import UserError
from core.sat.pairs import ABSENCE
from core.sat.saved_report import Place, Report

Kind = Literal["segment", "property"]


@dataclass(frozen=True)
class Fault:
    """Something that a class leans on and should not.

    Attributes:
        name: of a segment, or of a property of the whole picture. target: the class. sentence: of the finding.
    """

    kind: Kind
    name: str
    target: str
    sentence: str

    @property
    def key(self) -> tuple[str, str]:
        """(class, name)."""
        return self.target, self.name


def faults(report: Report) -> list[Fault]:
    """What is confirmed of anything but objects, in the report's order; an absence cannot be given to a picture."""
    found: dict[tuple[str, str], Fault] = {}
    for number, place in enumerate(report.places):
        if _is_fault(place) and (place.target, place.segment) not in found:
            sentence = report.findings[number]["sentence"]
            found[place.target, place.segment] = Fault("segment", place.segment, place.target, sentence)
    whole = [Fault("property", entry["property"], entry["target"], entry["sentence"]) for entry in _properties(report)]
    return [*found.values(), *whole]


def fault_numbers(report: Report) -> dict[tuple[str, str], int]:
    """By (class, name), the number by which `chosen_fault` calls each; of two alike, the first."""
    segments = dict.fromkeys((place.target, place.segment) for place in report.places if _is_fault(place))
    keys = [*segments, *((entry["target"], entry["property"]) for entry in _properties(report))]
    numbers: dict[tuple[str, str], int] = {}
    for number, key in enumerate(keys, 1):
        numbers.setdefault(key, number)
    return numbers


def _is_fault(place: Place) -> bool:
    return place.verdict == "confirmed" and place.kind != "object"


def _properties(report: Report) -> list[dict[str, Any]]:
    return [
        entry
        for entry in report.manifest["whole"]
        if entry["verdict"] == "confirmed" and not entry["property"].startswith(ABSENCE)
    ]


def chosen_fault(report: Report, number: int) -> Fault:
    """The one of that number, counted from 1.

    Raises:
        UserError: there is none.
    """
    known = faults(report)
    if not known:
        raise UserError(f"The report in {report.path} confirms reliance on nothing but objects; nothing is to repair.")
    if not 1 <= number <= len(known):
        raise UserError(
            f"There is no finding {number} to repair in {report.path}, which has {len(known)}; "
            f"list them with: satchel repair {report.path}"
        )
    return known[number - 1]


def listed(found: Sequence[Fault]) -> list[str]:
    """ "1  The watermark ...", a line each."""
    return [f"{number}  {fault.sentence}" for number, fault in enumerate(found, 1)]
