"""A finished report as the page needs it: one cell a (target, segment), checked once when it is opened."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import UserError
from core.paths import assets_dir, existing_folder, user_path
from core.runtime.collecting import collector_paused
from core.runtime.recent import Recent
from core.sat.effects import CONTEXT
from core.sat.interventions import LARGE
from core.sat.saved_report import AGAIN, Report, open_report
from core.sat.statistics import Interval
from core.sat.verdicts import is_shortcut
from dashboard.allowed import Allowed
from dashboard.temporary import offered
from dashboard.words import signed

KEPT_REPORTS = 4
Key = tuple[int, str]  # target's index, segment


@dataclass(frozen=True)
class Cell:
    """All that is known of one target and one segment.

    Attributes:
        target, label: the class by index and by name.
        necessity, sufficiency: None where there was no test. fills: necessity under each fill. joint: removed when the
            other context was gone already, None where there is none. together: the same for single things that were
            gone, where that says more than the segment does alone.
        density: by explainer, with its interval; 1 means no more attribution than its size.
        share: by explainer, median part of the absolute attribution.
        swapped: too large to be removed, so contexts were swapped between pictures instead.
        carriers: pictures (or donors) with a strong effect, by test.
        rank: place in the report's own order, strongest first.
    """

    target: int
    label: str
    segment: str
    kind: str
    verdict: str
    shortcut: bool
    sentence: str
    pictures: int
    presence: float
    coverage: float
    pairs: int
    p: float | None
    q: float | None
    necessity: Interval | None
    sufficiency: Interval | None
    fills: Mapping[str, Interval]
    joint: Interval | None
    together: Mapping[str, Interval]
    density: Mapping[str, Interval]
    share: Mapping[str, float | None]
    swapped: bool
    carriers: Mapping[str, Sequence[str]]
    rank: int

    @property
    def key(self) -> Key:
        return self.target, self.segment

    @property
    def id(self) -> str:
        """As it stands in the page's HTML."""
        return f"{self.target}/{self.segment}"


@dataclass(frozen=True)
class Finished:
    """An opened report."""

    report: Report
    cells: Mapping[Key, Cell]  # strongest first

    @property
    def manifest(self) -> dict[str, Any]:
        return self.report.manifest

    @property
    def labels(self) -> list[str]:
        return self.report.manifest["labels"]

    @cached_property
    def explainers(self) -> dict[str, str]:
        """Titles by label, in the report's order: the first one leads."""
        return {entry["label"]: entry["title"] for entry in self.manifest["explainers"]}

    @cached_property
    def truths(self) -> dict[str, str]:
        """What pictures show, by id; those without a label are left out."""
        known = zip(self.report.pictures["image"], self.report.pictures["label"])
        return {image: label for image, label in known if isinstance(label, str) and label}

    @cached_property
    def mistaken(self) -> frozenset[str]:
        """Ids of the pictures on which the model's answer is wrong."""
        pictures = self.report.pictures
        return frozenset(pictures["image"][pictures["correct"].notna() & (pictures["correct"] == False)])  # noqa: E712

    def find(self, cell_id: str | None) -> Cell | None:
        """A cell by what the page calls it."""
        target, _, segment = (cell_id or "").partition("/")
        return self.cells.get((int(target), segment)) if target.isdecimal() else None

    def findings_file(self) -> Path:
        """A copy of the findings as JSON, where the page may hand files out from.

        Raises:
            UserError: it cannot be written.
        """
        text = json.dumps(self.report.findings, indent=1, ensure_ascii=False)
        return offered("findings.json", text.encode())

    def table_file(self) -> Path:
        """The same of the table, as CSV."""
        table = self.report.table
        named = table.assign(target=[self.labels[t] for t in table["target"]])
        return offered("table.csv", named.to_csv(index=False).encode())


class Reports:
    """Opened reports, shared by all visitors."""

    def __init__(self, allowed: Allowed | None = None) -> None:
        """
        Args:
            allowed: where reports may lie; without it only those that come with Satchel can be opened.
        """
        self.allowed = allowed or Allowed()
        self._kept: Recent[tuple[str, int], Finished] = Recent(KEPT_REPORTS)

    def get(self, path: str | Path) -> Finished:
        """Open a report, or find it; one that was made again since is read again.

        Raises:
            UserError: there is none, it is half written, or damaged.
        """
        text = str(path).strip()
        if not text:
            raise UserError("No folder was named; type the folder that `satchel report` wrote.")
        self.allowed.check(text)
        folder = existing_folder(user_path(text), "report folder", "make one with `satchel report`")
        manifest = folder / "manifest.json"
        key = (str(folder), manifest.stat().st_mtime_ns if manifest.is_file() else 0)
        return self._kept.get_or_make(key, lambda: open_finished(folder))


def shipped_reports() -> dict[str, Path]:
    """The finished reports that come with Satchel, by name."""
    found = sorted(path.parent for path in (assets_dir() / "reports").glob("*/manifest.json"))
    return {path.name: path for path in found}


def open_finished(folder: Path) -> Finished:
    """Open a report and join its findings to its table.

    Raises:
        UserError: it does not open, or what it holds is not what a report holds.
    """
    with collector_paused():  # a report of a thousand classes holds millions of numbers
        return _opened(folder)


def _opened(folder: Path) -> Finished:
    report = open_report(folder)
    known = set(zip(report.pictures["image"], report.pictures["target"])) if len(report.pictures) else set()
    for image, entry in report.examples["pictures"].items():
        if (image, entry["target"]) not in known:
            raise UserError(
                f"The report in {folder} is damaged (its example {image} is none of its pictures); {AGAIN}."
            )
    return Finished(report, {cell.key: cell for cell in _cells(report)})


def _cells(report: Report) -> Iterable[Cell]:
    labels: list[str] = report.manifest["labels"]
    for rank, ((target, segment), entries) in enumerate(report.by_cell.items()):
        first = entries[0]
        yield Cell(
            target=target,
            label=labels[target],
            segment=segment,
            kind=first["kind"],
            verdict=first["verdict"],
            shortcut=is_shortcut(first),
            sentence=signed(first["sentence"]),
            pictures=max(e["pictures"] for e in entries),
            presence=first["presence"],
            coverage=first["coverage"],
            pairs=first["pairs"],
            p=first["p"],
            q=first["q"],
            necessity=_interval(first, "necessity"),
            sufficiency=_interval(first, "sufficiency"),
            fills={name: interval_of(bounds) for name, bounds in first["fills"].items()},
            joint=interval_of(first["joint"]) if first["joint"] else None,
            together=_telling(first, report.manifest["delta"]),
            density={e["explainer"]: i for e in entries if (i := _interval(e, "density")) is not None},
            share={e["explainer"]: e["share"] for e in entries},
            swapped=first["coverage"] > LARGE,
            carriers=first.get("carriers", {}),
            rank=rank,
        )


def _telling(entry: dict[str, Any], delta: float) -> dict[str, Interval]:
    found = {name: interval_of(bounds) for name, bounds in entry["together"].items() if name != CONTEXT}
    return {name: size for name, size in found.items() if size.low > delta + max(0.0, entry["necessity"] or 0.0)}


def interval_of(bounds: Sequence[float | None], count: int = 0) -> Interval:
    """From estimate, low and high as a report keeps them."""
    return Interval(*map(_number, bounds), count)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _interval(entry: dict[str, Any], name: str) -> Interval | None:
    if entry[name] is None:
        return None
    return Interval(*(_number(entry[f"{name}{suffix}"]) for suffix in ("", "_low", "_high")), entry["pictures"])


def counted_effects(finished: Finished, cell: Cell) -> pd.DataFrame:
    """The effect records that count for a cell: removals and transplants, or swaps where it is large."""
    records = finished.report.effects(cell.target, cell.segment)
    if records.empty:
        return records
    return records[(records["fill"] == "context swap") == cell.swapped]


def accuracy_interval(finished: Finished) -> tuple[float, float, float] | None:
    """Part of the labelled pictures that the model gets right, with Wilson's 95 % interval; None without labels."""
    known = finished.report.pictures["correct"].dropna().astype(float)
    n = len(known)
    if n == 0:
        return None
    part, z = float(known.mean()), 1.96
    centre = (part + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(part * (1 - part) / n + z * z / (4 * n * n))
    return part, max(0.0, centre - half), min(1.0, centre + half)
