"""The ranked findings as a table: filtered and sorted on the server, rows chosen by the cell they name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from core.sat.saved_report import KINDS
from core.sat.statistics import Interval
from core.sat.verdicts import VERDICTS
from dashboard.plots import percent
from dashboard.report.finished import Cell, Finished
from dashboard.report.words import KIND_WORDS, interval, verdict_mark
from dashboard.segment_colours import chip

ANY = "any"
MOST_ROWS = 200


@dataclass(frozen=True)
class Filters:
    """What to list; ANY (or an empty text) takes everything."""

    verdict: str = ANY
    kind: str = ANY
    target: int | str = ANY
    text: str = ""

    def keeps(self, cell: Cell) -> bool:
        words = self.text.lower().split()
        return (
            self.verdict in (ANY, cell.verdict)
            and self.kind in (ANY, cell.kind)
            and self.target in (ANY, cell.target)
            and all(word in f"{cell.label} {cell.segment}".lower() for word in words)
        )


@dataclass(frozen=True)
class Sort:
    """A column and a direction; "rank" is the report's own order."""

    column: str = "rank"
    descending: bool = False

    def toggled(self, column: str) -> Sort:
        """The same column turns round, then goes back to the report's order; another one starts at its useful end."""
        if column not in COLUMNS:
            return self
        useful = COLUMNS[column].descending
        if column != self.column:
            return Sort(column, useful)
        return Sort(column, not useful) if self.descending == useful else Sort()


@dataclass(frozen=True)
class Column:
    """A column: its heading, what it sorts by, and whether large comes first."""

    title: str
    help: str
    value: Callable[[Cell, str], float | str | None]
    descending: bool
    numeric: bool = True


def _estimate(found: Interval | None) -> float | None:
    return None if found is None or math.isnan(found.estimate) else found.estimate


COLUMNS: dict[str, Column] = {
    "verdict": Column("Verdict", "what the tests say", lambda c, _: VERDICTS.index(c.verdict), False, False),
    "target": Column("Class", "what the model says", lambda c, _: c.label.lower(), False, False),
    "segment": Column("Segment", "what it may lean on", lambda c, _: c.segment.lower(), False, False),
    "sufficiency": Column(
        "Pasting adds", "sufficiency: log-odds gained where it is pasted on other pictures, with its interval",
        lambda c, _: _estimate(c.sufficiency), True,
    ),
    "necessity": Column(
        "Removing takes", "necessity: log-odds lost where it is removed, under the weaker fill, with its interval",
        lambda c, _: _estimate(c.necessity), True,
    ),
    "share": Column("Share", "median part of the attribution on it", lambda c, e: c.share.get(e), True),
    "density": Column(
        "Density", "share over the part of the picture it covers, 1 = no more than its size, with its 95 % interval",
        lambda c, e: _estimate(c.density.get(e)), True,
    ),
    "pictures": Column("Pictures", "pictures taken for the class that show it", lambda c, _: c.pictures, True),
}  # fmt: skip


def listed(finished: Finished, filters: Filters, sort: Sort, explainer: str) -> list[Cell]:
    """The cells to show, in order; what was not measured comes last either way."""
    kept = [cell for cell in finished.cells.values() if filters.keeps(cell)]
    if sort.column == "rank":
        return kept
    values = [(COLUMNS[sort.column].value(cell, explainer), cell) for cell in kept]
    known = sorted((v for v in values if v[0] is not None), key=_first, reverse=sort.descending)
    return [cell for _, cell in known] + [cell for value, cell in values if value is None]


def _first(pair: tuple[Any, Cell]) -> Any:
    return pair[0]


def table_html(
    finished: Finished, cells: Sequence[Cell], sort: Sort, explainer: str, chosen: Cell | None, filtered: bool
) -> str:
    """The table; its rows carry `data-cell`, its headings `data-sort`."""
    if not cells:
        text = "Nothing fits these filters." if filtered else "This report has no findings."
        return f'<p class="note" data-testid="findings">{text}</p>'
    head = "".join(_heading(name, column, sort) for name, column in COLUMNS.items())
    body = "".join(_row(cell, explainer, chosen, chip(finished.colours, cell.segment)) for cell in cells[:MOST_ROWS])
    total = len(finished.cells)
    note = f"{len(cells):,} of {total:,}" if filtered else f"{total:,}"
    more = f"; the first {MOST_ROWS} are shown, filter to see others" if len(cells) > MOST_ROWS else ""
    title = escape(finished.explainers.get(explainer, explainer))
    return (
        f'<div class="scroll tall" tabindex="-1"><table class="findings" data-testid="findings">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f'<p class="note">{note} pairs of class and segment{more}. Share and density: {title}.</p>'
    )


def _heading(name: str, column: Column, sort: Sort) -> str:
    order = ("descending" if sort.descending else "ascending") if sort.column == name else "none"
    arrow = {"ascending": "&#9650;", "descending": "&#9660;", "none": ""}[order]
    kind = "" if not column.numeric else ' class="numeric"'
    return (
        f'<th scope="col"{kind} aria-sort="{order}"><button data-sort="{name}" title="{escape(column.help)}">'
        f"{column.title}<i>{arrow}</i></button></th>"
    )


def _row(cell: Cell, explainer: str, chosen: Cell | None, colour: str) -> str:
    current = ' aria-current="true"' if chosen and chosen.key == cell.key else ""
    few = ' class="few"' if cell.verdict == "too few" else ""
    kind = "" if cell.kind == "object" else f' <em title="{KIND_WORDS[cell.kind]}">{_short(cell.kind)}</em>'
    share = cell.share.get(explainer)
    numbers = (
        interval(cell.sufficiency),
        interval(cell.necessity),
        "–" if share is None else percent(share),
        interval(cell.density.get(explainer)),
        f"{cell.pictures:,}",
    )
    return (
        f'<tr data-cell="{escape(cell.id)}"{current}{few}>'
        f'<td><button class="choose" aria-label="Show {escape(cell.segment)} for {escape(cell.label)}">'
        f"{verdict_mark(cell.verdict, cell.shortcut, cell.verdict)}</button></td>"
        f"<td>{escape(cell.label)}</td><td>{colour}{escape(cell.segment)}{kind}</td>"
        + "".join(f'<td class="numeric">{text}</td>' for text in numbers)
        + "</tr>"
    )


def _short(kind: str) -> str:
    return "context" if kind == "context" else "kind not set"


def filter_choices(
    finished: Finished,
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, int | str]]]:
    """Choices of verdict, kind and class that occur in this report, each with "any" first."""
    cells = list(finished.cells.values())
    verdicts = [(v, v) for v in VERDICTS if any(c.verdict == v for c in cells)]
    kinds = [(k if k != "unset" else "kind not set", k) for k in KINDS if any(c.kind == k for c in cells)]
    targets = sorted({(c.label, c.target) for c in cells})
    return [("any verdict", ANY), *verdicts], [("any kind", ANY), *kinds], [("any class", ANY), *targets]
