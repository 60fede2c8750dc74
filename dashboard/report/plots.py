"""Interval charts of one cell: every test and every explainer with its interval, and the single pictures behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.sat.effects import CONTEXT
from core.sat.statistics import Interval
from core.sat.tables import by_picture
from dashboard.palette import COLOURS, look
from dashboard.report.finished import Cell, Finished, counted_effects
from dashboard.report.words import interval
from dashboard.theme import ACCENT, INK, LINE, QUIET

SYMBOLS = {"circle": "circle", "square": "square", "diamond": "diamond", "triangle": "triangle-up"}
ROW = 46
DIGITS = 2
MOST_DOTS = 120
BOX, MOST_BOXES = 38, 24


def effect_rows(finished: Finished, cell: Cell) -> list[tuple[str, Interval, np.ndarray]]:
    """(what was done, its mean with interval, effect on each picture), sufficiency first."""
    records = counted_effects(finished, cell)
    rows = []

    def effects(test: str, column: str = "test", value: str | None = None) -> np.ndarray:
        if records.empty:
            return np.empty(0)
        part = records[(records["test"] == test) & (records[column] == (value or test))]
        return part["effect"].dropna().to_numpy(float)

    if cell.sufficiency is not None:
        rows.append(("swapped in" if cell.swapped else "pasted elsewhere", cell.sufficiency, effects("sufficiency")))
    for fill, found in cell.fills.items():
        name = "swapped out" if fill == "context swap" else f"removed, {fill}"
        rows.append((name, found, effects("necessity", "fill", fill)))
    if cell.joint is not None:
        # one other segment stands for all of the context
        several = records.empty or bool((records["beside"] == CONTEXT).any())
        dots = effects("joint", "beside", CONTEXT) if several else effects("joint")
        rows.append(("removed, other context gone", cell.joint, dots))
    for beside, found in cell.together.items():
        rows.append((f"removed, {beside} gone", found, effects("joint", "beside", beside)))
    return rows


def effects_figure(finished: Finished, cell: Cell, dark: bool) -> go.Figure | None:
    """One row a test: a faint dot a picture, the mean with its interval, lines at zero and at delta."""
    rows = effect_rows(finished, cell)
    if not rows:
        return None
    figure = _frame([(name, found, INK[dark]) for name, found, _ in rows], dark)
    for y, (name, found, dots) in enumerate(rows):
        some = dots[np.linspace(0, len(dots) - 1, min(len(dots), MOST_DOTS)).astype(int)] if len(dots) else dots
        jitter = (np.arange(len(some)) * 0.618 % 1 - 0.5) * 0.5  # spread evenly, the same at every drawing
        figure.add_scatter(
            x=some, y=y + 0.1 + jitter * 0.6, mode="markers", hovertemplate="%{x:.2f}<extra>one picture</extra>",
            marker={"size": 5, "color": QUIET[dark], "opacity": 0.4},
        )  # fmt: skip
        _whisker(figure, y, found, INK[dark], "diamond", name)
    delta = finished.manifest["delta"]
    spread = np.concatenate([np.array([0.0, delta]), *(dots for *_, dots in rows), _bounds(r[1] for r in rows)])
    low, high = _padded(spread)
    side = ("left", "center", "right")[min(2, int(3 * (delta - low) / (high - low)))]  # so that the words fit in
    figure.add_vline(x=0, line={"width": 1, "color": QUIET[dark]})
    figure.add_vline(
        x=delta, line={"width": 1, "dash": "dash", "color": ACCENT[dark]}, annotation_text=f"matters from {delta:.2g}",
        annotation_position="top", annotation_font={"color": ACCENT[dark], "size": 11}, annotation_xanchor=side,
    )  # fmt: skip
    figure.update_xaxes(range=[low, high], title_text=f"log-odds of {_plain(cell.label)}")
    return figure


def density_figure(finished: Finished, cell: Cell, dark: bool) -> go.Figure | None:
    """One row an explainer: attribution for the segment's size, with its interval; 1 is no more than its size."""
    known = {name: found for name, found in cell.density.items() if not math.isnan(found.estimate)}
    rows = [name for name in finished.explainers if name in known] + [n for n in known if n not in finished.explainers]
    if not rows:
        return None
    titles = {name: finished.explainers.get(name, name) for name in rows}
    colours = {name: COLOURS[look(name)[0]][dark] for name in rows}
    figure = _frame([(titles[name], known[name], colours[name]) for name in rows], dark)
    for y, name in enumerate(rows):
        _whisker(figure, y, known[name], colours[name], SYMBOLS[look(name)[1]], titles[name])
    figure.add_vline(
        x=1, line={"width": 1, "color": QUIET[dark]}, annotation_text="its size", annotation_position="top",
        annotation_font={"color": QUIET[dark], "size": 11},
    )  # fmt: skip
    figure.update_xaxes(
        range=_padded(np.concatenate([np.array([0.0, 1.2]), _bounds(known.values())])),
        title_text="attention for its size (density)",
    )
    return figure


def values_figure(finished: Finished, cell: Cell, explainer: str, dark: bool) -> go.Figure | None:
    """One box a segment of the class: what an explainer gives to it, a value a picture (the paper's; the map's own
    mean is 1)."""
    rows = finished.report.rows(cell.target)
    rows = by_picture(rows[rows["explainer"] == explainer]) if len(rows) else rows
    rows = rows.dropna(subset=["scaled_mean"]) if len(rows) else rows
    if not len(rows):
        return None
    by_name = {str(name): part["scaled_mean"].to_numpy(float) for name, part in rows.groupby("segment")}
    ranked = sorted(by_name, key=lambda name: -float(np.median(by_name[name])))[:MOST_BOXES]
    parts = {name: by_name[name] for name in ranked}
    marked = ACCENT[dark]
    named = [
        (f"{name} ({len(values)})", Interval(float(np.median(values)), *np.quantile(values, [0.25, 0.75]), len(values)),
         marked if name == cell.segment else INK[dark])
        for name, values in parts.items()
    ]  # fmt: skip
    figure = _frame(named, dark)
    figure.update_layout(height=86 + BOX * len(named))
    for y, ((_, _, colour), values) in enumerate(zip(named, parts.values())):
        figure.add_box(
            x=values, y0=y, orientation="h", width=0.5, line={"color": colour, "width": 1.5}, boxpoints=False,
            fillcolor="rgba(0,0,0,0)", hoverinfo="skip",
        )  # fmt: skip
    figure.add_vline(x=0, line={"width": 1, "color": QUIET[dark]})
    spread = np.concatenate([np.quantile(values, [0.01, 0.99]) for values in parts.values()])
    figure.update_xaxes(
        range=_padded(spread), title_text="attribution in the segment, the map's mean is 1; median [quartiles]"
    )
    return figure


def _whisker(figure: go.Figure, y: int, found: Interval, colour: str, symbol: str, name: str) -> None:
    if not math.isnan(found.low):
        figure.add_scatter(
            x=[found.low, found.high], y=[y, y], mode="lines", line={"width": 2, "color": colour}, hoverinfo="skip"
        )
    figure.add_scatter(
        x=[found.estimate], y=[y], mode="markers", marker={"size": 11, "color": colour, "symbol": symbol},
        hovertemplate=f"{_plain(name)}: {interval(found, DIGITS)}<extra></extra>",
    )  # fmt: skip


def _frame(rows: list[tuple[str, Interval, str]], dark: bool) -> go.Figure:
    """An empty chart with one row a name and its numbers, in their colour, first on top."""
    figure = go.Figure()
    font: dict[str, Any] = {"family": "IBM Plex Sans, system-ui, sans-serif", "size": 12.5, "color": INK[dark]}
    figure.update_layout(
        template="none", height=86 + ROW * len(rows), margin={"l": 8, "r": 8, "t": 26, "b": 44}, showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font=font, dragmode=False, hovermode="closest",
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(rows))), range=[len(rows) - 0.45, -0.55],
        ticktext=[f"{_plain(name)}<br>{_coloured(interval(found, DIGITS), colour)}" for name, found, colour in rows],
        showgrid=False, zeroline=False, automargin=True, fixedrange=True,
    )  # fmt: skip
    figure.update_xaxes(
        gridcolor=LINE[dark], zeroline=False, fixedrange=True, title_font={"size": 12, "color": QUIET[dark]},
        tickfont={"color": QUIET[dark]}, nticks=7,
    )  # fmt: skip
    return figure


def _coloured(text: str, colour: str) -> str:
    return f"<span style='color:{colour};font-size:11.5px'>{text}</span>"


def _bounds(intervals: Iterable[Interval]) -> np.ndarray:
    values = [v for found in intervals for v in (found.estimate, found.low, found.high)]
    return np.array([v for v in values if math.isfinite(v)])


def _padded(values: np.ndarray) -> list[float]:
    low, high = float(values.min()), float(values.max())
    pad = 0.06 * (high - low) or 0.5
    return [low - pad, high + pad]


def _plain(text: str) -> str:
    """Plotly reads some HTML in texts; names are only names."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
