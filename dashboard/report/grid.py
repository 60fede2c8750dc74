"""The heat map of targets against segments: a grid of buttons, so that keyboard and screen reader reach every cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from core.sat.saved_report import KINDS
from core.sat.verdicts import LEAST_PICTURES
from dashboard.report.finished import Cell, Finished
from dashboard.report.words import interval, verdict_mark
from dashboard.segment_colours import chip
from dashboard.words import number

Measure = Literal["sufficiency", "necessity", "density"]
MEASURES: tuple[tuple[str, Measure], ...] = (
    ("Pasting it adds", "sufficiency"),
    ("Removing it takes", "necessity"),
    ("Attention for its size", "density"),
)
EXPLAIN_MEASURE = {
    "sufficiency": "Log-odds of the class gained where the segment is pasted on other pictures, beyond what pasting "
    "something else does (sufficiency).",
    "necessity": "Log-odds of the class lost where the segment is removed, beyond what removing something else does; "
    "the weaker of the fills (necessity).",
    "density": "Part of the attribution on the segment over the part of the picture it covers (density): 1x is no "
    "more than its size.",
}
MOST_ROWS = 40
TOP_DENSITY = 8.0  # where its colours end, up and down


@dataclass(frozen=True)
class Field:
    """One field of the heat map.

    Attributes:
        shade: -1 to 1, coloured blue to red with a neutral zero; None where nothing was measured.
        text: the number; enough: whether there are pictures enough to judge.
    """

    cell: Cell
    shade: float | None
    text: str
    enough: bool


@dataclass(frozen=True)
class Grid:
    """The heat map as numbers: `fields[row][column]` is None where no picture of the class shows the segment."""

    rows: list[tuple[int, str]]  # targets, strongest finding first
    columns: list[tuple[str, str]]  # (segment, kind): context first
    fields: list[list[Field | None]]
    top: float  # what the strongest colour stands for
    left_out: int  # rows beyond MOST_ROWS
    colours: Mapping[str, int]  # of segments


def heat_map(finished: Finished, measure: Measure, explainer: str) -> Grid:
    """Lay the cells out; the colour scale spans the cells that have pictures enough."""
    cells = finished.cells
    rows = list(dict.fromkeys(cell.target for cell in cells.values()))
    kinds = {cell.segment: cell.kind for cell in cells.values()}
    columns = sorted(kinds, key=lambda name: (kinds[name] == "object", KINDS.index(kinds[name])))
    values = {key: _value(cell, measure, explainer) for key, cell in cells.items()}
    if measure == "density":
        top = TOP_DENSITY
    else:
        judged = [abs(v) for k, v in values.items() if v is not None and cells[k].pictures >= LEAST_PICTURES]
        top = max([*judged, 2 * finished.manifest["delta"]])
    fields = [
        [_field(cells.get((target, name)), values.get((target, name)), measure, top) for name in columns]
        for target in rows[:MOST_ROWS]
    ]
    return Grid(
        [(target, finished.labels[target]) for target in rows[:MOST_ROWS]],
        [(name, kinds[name]) for name in columns], fields, top, max(0, len(rows) - MOST_ROWS), finished.colours,
    )  # fmt: skip


def _value(cell: Cell, measure: Measure, explainer: str) -> float | None:
    found = cell.density.get(explainer) if measure == "density" else getattr(cell, measure)
    return None if found is None or math.isnan(found.estimate) else found.estimate


def _field(cell: Cell | None, value: float | None, measure: Measure, top: float) -> Field | None:
    if cell is None:
        return None
    enough = cell.pictures >= LEAST_PICTURES
    if value is None:
        return Field(cell, None, "–", enough)
    if measure == "density":
        # a doubling is as far from 1 as a halving; next to nothing ends where the colours do
        shade = math.log2(max(value, 1e-9)) / math.log2(top)
        return Field(cell, max(-1.0, min(1.0, shade)), _times(value), enough)
    return Field(cell, max(-1.0, min(1.0, value / top)), number(value), enough)


def _times(value: float) -> str:
    return f"{value:.0f}x" if value >= 9.95 else f"{value:.1f}x"


def grid_html(grid: Grid, measure: Measure, explainer: str, chosen: Cell | None) -> str:
    """The heat map; its buttons carry `data-cell`."""
    if not grid.rows:
        return '<p class="note">This report has no classes with segments.</p>'
    focus = chosen.id if chosen else None
    ids = [f.cell.id for line in grid.fields for f in line if f]
    if focus not in ids:
        focus = ids[0]
    splits = {i for i in range(1, len(grid.columns)) if grid.columns[i][1] != grid.columns[i - 1][1]}
    head = "".join(
        f'<th scope="col" class="{"split" if i in splits else ""}" title="{escape(name)}">'
        f"<span>{escape(name)}</span>{chip(grid.colours, name)}</th>"
        for i, (name, _) in enumerate(grid.columns)
    )
    body = "".join(
        f'<tr><th scope="row" title="{escape(label)}">{escape(label)}</th>'
        + "".join(
            f'<td class="{"split" if i in splits else ""}">{_button(field, measure, explainer, chosen, focus)}</td>'
            for i, field in enumerate(line)
        )
        + "</tr>"
        for (_, label), line in zip(grid.rows, grid.fields)
    )
    more = (
        f'<p class="note">{grid.left_out:,} more classes are not drawn; the table lists them all.</p>'
        if grid.left_out
        else ""
    )
    return (
        f'<div class="scroll" tabindex="-1"><table class="grid" data-testid="grid">'
        f"<thead>{_kinds(grid.columns)}<tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"{_legend(grid.top, measure)}<p class='note'>{EXPLAIN_MEASURE[measure]}</p>{more}"
    )


def _kinds(columns: Sequence[tuple[str, str]]) -> str:
    words = {"context": "context", "object": "object", "unset": "not set"}
    spans = "".join(
        f'<th colspan="{count}" scope="colgroup">{words[kind]}</th>'
        for kind in dict.fromkeys(kind for _, kind in columns)
        if (count := sum(k == kind for _, k in columns))
    )
    return f'<tr class="kinds"><td></td>{spans}</tr>'


def _button(field: Field | None, measure: Measure, explainer: str, chosen: Cell | None, focus: str | None) -> str:
    if field is None:
        return '<span class="absent" title="no picture of this class shows it"></span>'
    cell = field.cell
    classes, style = ["field"], ""
    if not field.enough:
        classes.append("few")
    elif field.shade is not None:
        classes.append("up" if field.shade >= 0 else "down")
        classes += ["strong"] if abs(field.shade) > 0.55 else []
        style = f' style="--t:{abs(field.shade) * 100:.0f}%"'
    shown = cell.density.get(explainer) if measure == "density" else getattr(cell, measure)
    said = f"{cell.label}, {cell.segment}: {interval(shown)}, {cell.verdict}, {cell.pictures} pictures"
    mark = verdict_mark(cell.verdict, cell.shortcut) if cell.verdict in ("confirmed", "suspected") else ""
    current = ' aria-current="true"' if chosen and chosen.key == cell.key else ""
    return (
        f'<button class="{" ".join(classes)}"{style} data-cell="{escape(cell.id)}"{current} '
        f'tabindex="{0 if cell.id == focus else -1}" aria-label="{escape(said)}" title="{escape(said)}">'
        f"{field.text}{mark}</button>"
    )


def _legend(top: float, measure: Measure) -> str:
    if measure == "density":
        ends = (f"1/{top:.0f}x", "1x, its size", f"{top:.0f}x and more")
    else:
        ends = (f"{number(-top)} log-odds", "0", f"{number(top)} log-odds")
    labels = "".join(f"<span>{text}</span>" for text in ends)
    return (
        f'<div class="grid-legend"><div class="ramp"><i></i><p>{labels}</p></div>'
        '<p><span class="swatch few"></span>under 20 pictures</p><p><span class="swatch none">–</span>no test</p>'
        f"<p>{verdict_mark('confirmed', True, 'confirmed shortcut')}</p>"
        f"<p>{verdict_mark('confirmed', False, 'confirmed, not context')}</p>"
        f"<p>{verdict_mark('suspected', False, 'suspected')}</p></div>"
    )
