"""A finished report as the page needs it: one cell a (target, segment), checked once when it is opened."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import UserError
from core.paths import assets_dir, existing_folder, user_path
from core.repair.faults import fault_numbers
from core.runtime.collecting import collector_paused
from core.runtime.json_files import read_json
from core.runtime.recent import Recent
from core.sat.effects import CONTEXT
from core.sat.interventions import LARGE
from core.sat.saved_report import AGAIN, Report, open_report
from core.sat.statistics import Interval
from core.sat.verdicts import is_shortcut
from core.segments.colours import coloured
from dashboard.allowed import Allowed
from dashboard.temporary import offered, offered_copy
from dashboard.words import signed

KEPT_REPORTS = 4
KEPT_CELLS = 16
CARRYING = ("suspected", "inconclusive", "cleared")  # verdicts beside which single pictures are named
LISTED = 64  # reports of which is remembered what they are about
FILES = ("manifest.json", "findings.json", "examples.json")
Key = tuple[int, str]  # target's index, segment
Colours = Callable[[str, Iterable[str]], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
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
        carriers: pictures (or donors) with a strong effect, by test; of a verdict that leaves it open, or is "cleared".
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
    colours: Mapping[str, int] = field(default_factory=dict)  # of segments, by name

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

    def truth(self, image: str) -> str | None:
        """What a picture shows, by its id; None where it has no label."""
        answers = self.report.answers
        labels = answers["label"][answers["image"] == image] if len(answers) else ()
        return next((label for label in labels if isinstance(label, str) and label), None)

    @cached_property
    def mistaken(self) -> frozenset[str]:
        """Ids of the pictures on which the model's answer is wrong."""
        answers = self.report.answers
        return frozenset(answers["image"][answers["correct"].notna() & (answers["correct"] == False)])  # noqa: E712

    @cached_property
    def repairs(self) -> dict[tuple[str, str], int]:
        """By class and segment, the number by which `satchel repair` calls what it can repair."""
        return fault_numbers(self.report)

    @cached_property
    def looked_into(self) -> Recent[Key, Any]:
        """What was read of the cells that were looked at last."""
        return Recent(KEPT_CELLS)

    def find(self, cell_id: str | None) -> Cell | None:
        """A cell by what the page calls it."""
        target, _, segment = (cell_id or "").partition("/")
        return self.cells.get((int(target), segment)) if target.isdecimal() else None

    def findings_file(self) -> Path:
        """A copy of the findings as JSON, where the page may hand files out from.

        Raises:
            UserError: it cannot be written.
        """
        return offered_copy("findings.json", self.report.path / "findings.json")

    def table_file(self) -> Path:
        """The same of the table, as CSV."""
        table = self.report.table
        named = table.assign(target=[self.labels[t] for t in table["target"]])
        return offered("table.csv", named.to_csv(index=False).encode())


class Reports:
    """Opened reports, shared by all visitors."""

    def __init__(self, allowed: Allowed | None = None, colours: Colours | None = None) -> None:
        """
        Args:
            allowed: where reports may lie; without it only those that come with Satchel can be opened.
            colours: as of `open_finished`.
        """
        self.colours = colours
        self.allowed = allowed or Allowed()
        self._kept: Recent[tuple[str, tuple[int, ...]], Finished] = Recent(KEPT_REPORTS)
        self._about: Recent[tuple[str, tuple[int, ...]], Any] = Recent(LISTED)

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
        return self._kept.get_or_make((str(folder), _state(folder)), lambda: open_finished(folder, self.colours))

    def fingerprint(self, path: str | Path) -> Any:
        """Of the model that a report is about, as its manifest says; None where none can be read. The report itself is
        not opened."""
        folder = user_path(path)

        def read() -> Any:
            try:
                return read_json(folder / FILES[0])["fingerprint"]
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                return None

        return self._about.get_or_make((str(folder), _state(folder)), read)

    def of_model(self, paths: Iterable[str], fingerprint: str) -> Iterator[tuple[str, Finished]]:
        """Those of some folders that are about that model, and open; the others are not opened."""
        for path in paths:
            with suppress(UserError):
                if self.fingerprint(path) == fingerprint:
                    yield path, self.get(path)


def _state(folder: Path) -> tuple[int, ...]:
    """Another one once the report was made again."""
    return tuple((folder / name).stat().st_mtime_ns if (folder / name).is_file() else 0 for name in FILES)


def shipped_reports() -> dict[str, Path]:
    """The finished reports that come with Satchel, by name."""
    found = sorted(path.parent for path in (assets_dir() / "reports").glob("*/manifest.json"))
    return {path.name: path for path in found}


def open_finished(folder: Path, colours: Colours | None = None) -> Finished:
    """Open a report and join its findings to its table.

    Args:
        colours: (source of its data, names of segments) -> the numbers of their colours; without it those that the
            names have among themselves.

    Raises:
        UserError: it does not open, or what it holds is not what a report holds.
    """
    with collector_paused():  # a report of a thousand classes holds millions of numbers
        return _opened(folder, colours or (lambda _, names: coloured(names)))


def _opened(folder: Path, colours: Colours) -> Finished:
    joined = _Joined()
    report = open_report(folder, joined.add)
    if joined.unplaced:
        joined = _Joined()
        for (target, _), entries in report.by_cell.items():
            for entry in entries:
                joined.add(report.manifest, {**entry, "target_index": target})
    kept = report.examples["pictures"]
    known = report.answers
    if len(known):
        known = known[known["image"].isin(list(kept))]
    shown = set(zip(known["image"], known["target"])) if len(known) else set()
    for image, entry in kept.items():
        if (image, entry["target"]) not in shown:
            raise UserError(
                f"The report in {folder} is damaged (its example {image} is none of its pictures); {AGAIN}."
            )
    names = sorted({cell.segment for cell in joined.cells.values()})
    return Finished(report, joined.cells, colours(report.made_from["data"], names))


class _Joined:
    """Findings joined to cells as they are read: the first of a cell tells all that other explainers share.

    Attributes:
        cells: in their order.
        unplaced: whether there are older findings, which do not say the index of their class.
    """

    def __init__(self) -> None:
        self.cells: dict[Key, Cell] = {}
        self.unplaced = False
        self._by_explainer: dict[Key, tuple[dict[str, Interval], dict[str, float | None]]] = {}

    def add(self, manifest: dict[str, Any], entry: dict[str, Any]) -> None:
        if "target_index" not in entry:
            self.unplaced = True
            return
        key = entry["target_index"], sys.intern(entry["segment"])  # a word is held once
        density, share = self._by_explainer.setdefault(key, ({}, {}))
        known = self.cells.get(key)
        if known is None:
            self.cells[key] = _cell(entry, manifest["delta"], key, len(self.cells), density, share)
        elif entry["pictures"] > known.pictures:
            self.cells[key] = replace(known, pictures=entry["pictures"])
        explainer = sys.intern(entry["explainer"])
        share[explainer] = entry["share"]
        if (found := _interval(entry, "density")) is not None:
            density[explainer] = found


def _cell(
    entry: dict[str, Any],
    delta: float,
    key: Key,
    rank: int,
    density: dict[str, Interval],
    share: dict[str, float | None],
) -> Cell:
    return Cell(
        target=key[0],
        label=sys.intern(entry["target"]),
        segment=key[1],
        kind=sys.intern(entry["kind"]),
        verdict=sys.intern(entry["verdict"]),
        shortcut=is_shortcut(entry),
        sentence=signed(entry["sentence"]),
        pictures=entry["pictures"],
        presence=entry["presence"],
        coverage=entry["coverage"],
        pairs=entry["pairs"],
        p=entry["p"],
        q=entry["q"],
        necessity=_interval(entry, "necessity"),
        sufficiency=_interval(entry, "sufficiency"),
        fills={sys.intern(name): interval_of(bounds) for name, bounds in entry["fills"].items()},
        joint=interval_of(entry["joint"]) if entry["joint"] else None,
        together=_telling(entry, delta),
        density=density,
        share=share,
        swapped=entry["coverage"] > LARGE,
        carriers=_carriers(entry) if entry["verdict"] in CARRYING else {},
        rank=rank,
    )


def _carriers(entry: dict[str, Any]) -> dict[str, list[str]]:
    return {test: list(map(sys.intern, images)) for test, images in entry.get("carriers", {}).items() if images}


def _telling(entry: dict[str, Any], delta: float) -> dict[str, Interval]:
    least = delta + max(0.0, entry["necessity"] or 0.0)
    found = {name: interval_of(bounds) for name, bounds in entry["together"].items() if name != CONTEXT}
    return {name: size for name, size in found.items() if size.low > least}


def interval_of(bounds: Sequence[float | None], count: int = 0) -> Interval:
    """From estimate, low and high as a report keeps them."""
    estimate, low, high = bounds
    return Interval(_number(estimate), _number(low), _number(high), count)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _interval(entry: dict[str, Any], name: str) -> Interval | None:
    if entry[name] is None:
        return None
    return interval_of((entry[name], entry[f"{name}_low"], entry[f"{name}_high"]), entry["pictures"])


def counted_effects(finished: Finished, cell: Cell) -> pd.DataFrame:
    """The effect records that count for a cell: removals and transplants, or swaps where it is large."""
    records = finished.report.effects(cell.target, cell.segment)
    if records.empty:
        return records
    return records[(records["fill"] == "context swap") == cell.swapped]


def accuracy_interval(finished: Finished) -> tuple[float, float, float] | None:
    """Part of the labelled pictures that the model gets right, with Wilson's 95 % interval; None without labels."""
    known = finished.report.answers["correct"].dropna().astype(float)
    n = len(known)
    if n == 0:
        return None
    part, z = float(known.mean()), 1.96
    centre = (part + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(part * (1 - part) / n + z * z / (4 * n * n))
    return part, max(0.0, centre - half), min(1.0, centre + half)
