"""Quiet drawings in HTML and SVG: they follow the page's colours, light or dark, and its width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np

from core.attribution import Attribution
from core.classifier import Prediction
from core.explainer import get_explainer
from core.sat.rows import MIN_MODEL_PIXELS, shares_from_masks
from core.segments import Segments
from dashboard.palette import marker
from dashboard.pictures import View
from dashboard.segment_colours import chip
from dashboard.words import wrong_mark

ROWS_SHOWN = 8
Z95 = 1.96


def percent(share: float) -> str:
    """Short: 41 %, 4.1 %, <0.1 %."""
    if share == 0:
        return "0 %"
    if share < 0.001:
        return "<0.1 %"
    return f"{share * 100:.1f} %" if share < 0.0995 else f"{share * 100:.0f} %"


def probability(value: float) -> str:
    """Two figures that never pretend certainty."""
    if value > 0.995:
        return ">0.99"
    return f"{value:.2f}" if value >= 0.01 else "<0.01"


def prediction_bars(predictions: Sequence[Prediction], target: int | None = None, truth: str | None = None) -> str:
    """The likeliest classes as bars; the one explained is marked, and pressing another asks why that one.

    Args:
        truth: what the picture shows, where the likeliest class is not that.
    """
    rows = []
    for p in predictions:
        chosen = " chosen" if p.index == target else ""
        rows.append(
            f'<li class="bar{chosen}"><button type="button" tabindex="-1" class="name" data-class="{p.index}" '
            f'title="Why {escape(p.label)}?">{escape(p.label)}</button>'
            f'<span class="number">{probability(p.probability)}</span>'
            f'<span class="track"><span style="width:{max(p.probability, 0.002) * 100:.1f}%"></span></span></li>'
        )
    said = f"<p>{wrong_mark(truth)}</p>" if truth is not None else ""
    return f'{said}<ul class="bars" data-testid="predictions">{"".join(rows)}</ul>'


@dataclass(frozen=True)
class Mark:
    """One explainer's evidence on one segment: parts of the whole in [0, 1], `error` of the share or None.

    `partial`: of a map that is not finished.
    """

    explainer: str
    share: float
    error: float | None
    partial: bool = False


@dataclass(frozen=True)
class Row:
    """One segment across explainers; `index` among the picture's segments."""

    name: str
    kind: str
    coverage: float
    marks: tuple[Mark, ...]
    index: int = 0

    @property
    def median(self) -> float:
        return float(np.median([mark.share for mark in self.marks]))

    @property
    def density(self) -> float:
        return self.median / self.coverage


def evidence_rows(maps: Mapping[str, Attribution], view: View) -> list[Row]:
    """What the evidence lies on, most first; flat and broken maps have none and are left out."""
    segments = view.segments
    marks: list[list[Mark]] = [[] for _ in range(len(segments))]
    for name, attribution in maps.items():
        shares = shares_from_masks(attribution.values, view.masks) if attribution.condition == "fine" else None
        for i, share in enumerate(shares or ()):
            marks[i].append(Mark(name, share, share_error(attribution, share), attribution.partial))
    rows = [
        Row(title, kind, coverage, tuple(found), i)
        for i, (title, kind, coverage, found) in enumerate(zip(segments.titles, segments.kinds, view.coverage, marks))
        if found and coverage * view.masks[0].numel() >= MIN_MODEL_PIXELS
    ]
    return sorted(rows, key=lambda row: -row.median)


def share_error(attribution: Attribution, share: float) -> float | None:
    """Bound on the standard error of a share.

    Errors of neighbouring pixels come from the same samples, so they may all err together: at worst the segment by its
    part of the map's error one way and the rest the other way. With r the map's mean error over its mean absolute
    value and the error spread like the map, that is 2 r s (1 - s).
    """
    relative = attribution.relative_error
    return None if relative is None else 2 * relative * share * (1 - share)


def evidence_plot(rows: Sequence[Row], segments: Segments, colours: Mapping[str, int] | None = None) -> str:
    """One row a segment, one mark an explainer, a tick at what its size alone would give.

    Args:
        colours: of the segments' names.
    """
    if not rows:
        return ""
    top = _round_up(max([mark.share for row in rows for mark in row.marks] + [row.coverage for row in rows]))
    shown, rest = rows[:ROWS_SHOWN], rows[ROWS_SHOWN:]
    chips = {row.index: chip(colours, segments.items[row.index].name) for row in rows} if colours else {}
    body = "".join(_evidence_row(row, top, chips.get(row.index, "")) for row in shown)
    if rest:
        more = "".join(_evidence_row(row, top, chips.get(row.index, "")) for row in rest)
        body += f"<details><summary>{len(rest)} more</summary>{more}</details>"
    names = {mark.explainer: mark.partial for row in rows for mark in row.marks}
    legend = "".join(
        f'<span><i class="mark {marker(name)}{_hatched(partial)}"></i>{escape(get_explainer(name).title)}'
        f"{', unfinished' if partial else ''}</span>"
        for name, partial in names.items()
    )
    unnamed = "" if segments.named else (
        '<p class="note">These regions were cut by colour, texture and edges and have no names: point at one here, in '
        "the picture or in a map, and it shows in all of them. The Segments tab gives names.</p>"
    )  # fmt: skip
    axis = "".join(
        f'<span style="left:{fraction * 100:.0f}%">{percent(top * fraction)}</span>' for fraction in (0, 0.5, 1)
    )
    return (
        f'<div class="evidence" data-testid="evidence"><div class="legend">{legend}'
        '<span><i class="tick"></i>what its size alone would give</span></div>'
        f'<div class="erow head"><span></span><span class="axis">{axis}</span>'
        '<span class="number">share</span><span class="number" title="median share over the part of the '
        'picture it covers; 1 means no more than its size">density</span></div>'
        f"{body}{unnamed}</div>"
    )


def _evidence_row(row: Row, top: float, colour: str) -> str:
    marks = []
    for lane, mark in enumerate(row.marks):
        look = f"{marker(mark.explainer)}{_hatched(mark.partial)}"
        height = f"top:{(lane + 1) / (len(row.marks) + 1) * 100:.0f}%"
        title = f"{get_explainer(mark.explainer).title}: {percent(mark.share)}{' so far' if mark.partial else ''}"
        if mark.error is not None:
            low, high = max(0.0, mark.share - Z95 * mark.error), min(1.0, mark.share + Z95 * mark.error)
            title += f", at the widest {percent(low)} to {percent(high)}"
            marks.append(
                f'<i class="whisker {look}" style="{height};left:{low / top * 100:.2f}%;'
                f'width:{(min(high, top) - low) / top * 100:.2f}%"></i>'
            )
        marks.append(
            f'<i class="mark {look}" style="{height};left:{mark.share / top * 100:.2f}%" title="{escape(title)}"></i>'
        )
    tick = f'<i class="tick" style="left:{row.coverage / top * 100:.2f}%" title="covers {percent(row.coverage)}"></i>'
    kind = ' <em title="not part of the object">context</em>' if row.kind == "context" else ""
    return (
        f'<div class="erow" data-segment="{row.index}"><span class="name">{colour}{escape(row.name)}{kind}</span>'
        f'<span class="track">{tick}{"".join(marks)}</span>'
        f'<span class="number">{percent(row.median)}</span><span class="number">{row.density:.1f}x</span></div>'
    )


def _hatched(partial: bool) -> str:
    """What comes of a map that is not finished looks unfinished."""
    return " partial" if partial else ""


def _round_up(value: float) -> float:
    for step in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8):
        if value <= step:
            return step
    return 1.0


def segment_outlines(
    segments: Segments, box: tuple[int, int, int, int], rows: Sequence[Row] = (), found: Row | None = None
) -> str:
    """An SVG over the picture: each segment lights up and tells its name and shares under the pointer.

    The one that the sentence above the maps names is outlined.
    """
    height, width = segments.size
    said = {row.name: f": {percent(row.median)} of the evidence, {row.density:.1f}x its size" for row in rows}
    paths = []
    for i, (title, segment) in enumerate(zip(segments.titles, segments)):
        piece = np.ascontiguousarray(segment.mask.crop(), np.uint8)
        corner = segment.mask.box[:2]
        contours, _ = cv2.findContours(piece, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_KCOS, offset=corner)
        outline = "".join("M" + "L".join(f"{x} {y}" for x, y in c[:, 0]) + "Z" for c in contours if len(c) > 2)
        if outline:
            outlined = ' class="found"' if found is not None and title == found.name else ""
            told = escape(title + said.get(title, ""))
            paths.append(
                f'<path{outlined} data-segment="{i}" data-name="{escape(title)}" d="{outline}"><title>{told}</title>'
                "</path>"
            )
    top, left, bottom, right = box
    frame = ""
    if box != (0, 0, height, width):
        frame = f'<rect class="seen" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>'
    return f'<svg class="segments" viewBox="0 0 {width} {height}" fill-rule="evenodd">{"".join(paths)}{frame}</svg>'
