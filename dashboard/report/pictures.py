"""The pictures behind a cell: as they are, their maps, without the segment, and with it pasted elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import torch

from core.attribution import Attribution
from core.errors import UserError
from core.images import read_picture
from core.overlays import Scale, overlay, scale_of
from core.parameters import Parameters
from core.preprocessing import Geometry
from core.runtime.recent import Recent
from core.sat.examples import decode_map
from core.sat.sentences import in_words
from core.sat.statistics import Interval
from dashboard.overlays import jpeg, legend
from dashboard.plots import probability
from dashboard.report.finished import Cell, Finished
from dashboard.report.words import strongest_shortcut
from dashboard.words import number, wrong_mark

_DRAWN: Recent[tuple[str, str, str], str] = Recent(600)  # of about 10 kB each

Record = dict[str, Any]


@dataclass(frozen=True)
class Behind:
    """What a report holds of one cell.

    Attributes:
        images: ids of example pictures that show the segment, surest first.
        removals: by (image, fill). pastes: transplants, or context swaps, of either test.
    """

    images: list[str]
    removals: dict[tuple[str, str], Record]
    pastes: list[Record]

    @property
    def fills(self) -> list[str]:
        return list(dict.fromkeys(fill for _, fill in self.removals))


def behind(finished: Finished, cell: Cell) -> Behind:
    """Choose the pictures of a cell."""
    return finished.looked_into.get_or_make(cell.key, lambda: _behind(finished, cell))


def _behind(finished: Finished, cell: Cell) -> Behind:
    report = finished.report
    removals, pastes = (report.tried(what, *cell.key) for what in ("removals", "pastes"))
    pastes.sort(key=lambda r: (r["test"] != "sufficiency", -r["effect"]))
    shows = set(report.rows(cell.target, cell.segment)["image"])
    pictures = report.examples["pictures"]
    images = [i for i, entry in pictures.items() if entry["target"] == cell.target and i in shows]
    return Behind(images, {(r["image"], r["fill"]): r for r in removals}, pastes)


def exhibits(finished: Finished) -> tuple[Cell, Record | None, Record | None] | None:
    """The strongest shortcut with its clearest removal and its clearest paste; None where nothing is confirmed."""
    cell = strongest_shortcut(finished)
    return None if cell is None else (cell, *clearest(finished, cell))


def clearest(finished: Finished, cell: Cell) -> tuple[Record | None, Record | None]:
    """Of a cell, the removal that takes most of the class's probability, and the paste that gives most; None where the
    report keeps none."""
    found = behind(finished, cell)
    removal = max((r for r in found.removals.values() if r["image"] in found.images), key=_drop, default=None)
    paste = max((r for r in found.pastes if r["test"] == "sufficiency"), key=lambda r: -_drop(r), default=None)
    return removal, paste


def _drop(record: Record) -> float:
    return record["before_probability"] - record["after_probability"]


# -- drawing


def exhibits_html(finished: Finished) -> str:
    """Beside the headline: with and without the segment, and another picture before and after it was pasted."""
    chosen = exhibits(finished)
    if chosen is None:
        return ""
    cell, removal, paste = chosen
    segment, label = escape(cell.segment), escape(cell.label)
    pairs = []
    if removal is not None:
        source = finished.report.examples["pictures"][removal["image"]]["file"]
        pairs.append(
            _pair(
                finished, f"Take the {segment} away", source, removal, label, f"without the {segment}"
            )
        )  # fmt: skip
    if paste is not None:
        title = f"Give another picture its {segment}" if cell.swapped else f"Paste the {segment} on another picture"
        pairs.append(
            _pair(
                finished, title, paste["picture"], paste, label, f"with the {segment}"
            )
        )  # fmt: skip
    if not pairs:
        return '<p class="note">This report keeps no pictures of it.</p>'
    return (
        f'<div class="exhibits" data-testid="exhibits">{"".join(pairs)}</div>'
        '<p class="note">The clearest of the pictures kept in the report; the mean over all is in the sentence.</p>'
    )


def _pair(finished: Finished, title: str, first: str, record: Record, label: str, word: str) -> str:
    before = f"<p>as it is</p>{_meter(label, record['before_probability'])}{_wrong(finished, record['image'])}"
    after = f"<p>{word}</p>{_meter(label, record['after_probability'])}{_wrong_after(finished, record)}"
    return (
        f'<div class="pair"><h3>{title}</h3><div>{figure(img(finished, first, "as it is"), before)}'
        f"{figure(img(finished, record['file'], word), after)}</div></div>"
    )


def pasted_html(finished: Finished, cell: Cell) -> str:
    """Other pictures before and after they were given the segment."""
    found = behind(finished, cell)
    segment, label = escape(cell.segment), escape(cell.label)
    if not found.pastes:
        why = "no picture was given it" if finished.manifest["checked"] else "this report was made without tests"
        return f'<h3>Pasted elsewhere</h3><p class="note">No pictures: {why}.</p>'
    titles = {
        "sufficiency": f"Pictures of other classes given its {segment}" if cell.swapped else "Pasted on other pictures",
        "necessity": f"Its own {segment} swapped for that of another class",
    }
    parts = []
    for test, title in titles.items():
        shown = [r for r in found.pastes if r["test"] == test]
        if not shown:
            continue
        pairs = "".join(
            '<div class="pair"><div>'
            + figure(
                img(finished, r["picture"], "before"),
                f"<p>before</p>{_meter(label, r['before_probability'])}{_wrong(finished, r['image'])}",
            )
            + figure(
                img(finished, r["file"], "after"),
                f"<p>{_effect(r)}</p>{_meter(label, r['after_probability'])}{_wrong_after(finished, r)}",
            )
            + "</div></div>"
            for r in shown
        )
        parts.append(f'<h3>{title}</h3><div class="exhibits small">{pairs}</div>')
    if cell.swapped:
        what = "it is given the context of a third class (or, for its own context, of its own class)"
    else:
        what = f"it is given the same place of a picture without {segment}"
    note = f'<p class="note">What it adds or takes beyond its placebo, where {what} instead.</p>'
    return f'<div data-testid="pasted">{"".join(parts)}{note}</div>'


def _effect(record: Record) -> str:
    """What a removal or a paste did beyond its placebo."""
    up, down = ("takes", "adds") if record["test"] == "necessity" else ("adds", "takes")
    effect = record["effect"]
    verb, size, _ = in_words(Interval(effect, effect, effect, 1), up, down)
    said = f"{verb} {number(size.estimate)} log-odds"
    placebo = f"the change, minus that of the placebo, which gives {probability(record['placebo_probability'])}"
    return f'<span title="{escape(placebo)}">{said}</span>'


def pictures_html(finished: Finished, cell: Cell, explainer: str) -> str:
    """Pictures that show the segment, a column each: as they are, their maps, and without it under each fill."""
    found = behind(finished, cell)
    segment, label = escape(cell.segment), escape(cell.label)
    title = f"<h3>Pictures taken for {label} that show the {segment}</h3>"
    if not found.images:
        return f'{title}<p class="note">None of the pictures kept in the report shows it.</p>'
    lines = [_line("as it is", [_as_it_is(finished, cell, image) for image in found.images])]
    lines.append(_maps(finished, found.images, explainer))
    for fill in found.fills:
        figures = []
        for image in found.images:
            record = found.removals.get((image, fill))
            if record is None:
                figures.append('<span class="missing">not tested: no place for a placebo</span>')
                continue
            note = f"<p>{_effect(record)}</p>{_meter(label, record['after_probability'])}"
            figures.append(figure(img(finished, record["file"], f"without {segment}"), note))
        lines.append(_line(f"without it<small>filled: {escape(fill)}</small>", figures))
    note = '<p class="note">What it takes or adds beyond its placebo, where the same shape is filled elsewhere.</p>'
    if cell.swapped:
        note = (
            '<p class="note">It covers more than a quarter of the picture: removing it would leave nothing '
            "natural, so contexts are swapped between pictures instead.</p>"
        )
    elif not found.removals:
        why = "no place for a placebo" if finished.manifest["checked"] else "this report was made without tests"
        note = f'<p class="note">It was not removed from these: {why}.</p>'
    table = f'<table class="behind" data-testid="behind"><tbody>{"".join(lines)}</tbody></table>'
    return f'{title}<div class="scroll" tabindex="-1">{table}</div>{note}'


def _line(name: str, figures: Sequence[str]) -> str:
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{figure}</td>" for figure in figures)}</tr>'


def _as_it_is(finished: Finished, cell: Cell, image: str) -> str:
    known = finished.report.answers
    probability = known[(known["image"] == image) & (known["target"] == cell.target)].iloc[0]["probability"]
    shown = img(finished, finished.report.examples["pictures"][image]["file"], image)
    said = _wrong(finished, image) or "<p>as it is</p>"
    return figure(shown, f'<div title="{escape(image)}">{said}</div>{_meter(escape(cell.label), probability)}')


def _wrong(finished: Finished, image: str) -> str:
    """That the model's answer on a picture is wrong; "" where it is right, or nobody knows."""
    return f"<p>{wrong_mark(finished.truth(image) or '')}</p>" if image in finished.mistaken else ""


def _wrong_after(finished: Finished, record: Record) -> str:
    """The same of a changed picture, where its answer is sure to be the class of the record."""
    label = finished.labels[record["target"]]
    sure = finished.manifest.get("output") == "softmax" and record["after_probability"] > 0.5
    truth = finished.truth(record["image"]) if sure else None
    return f"<p>{wrong_mark(truth)}</p>" if truth and truth.lower() != label.lower() else ""


def _maps(finished: Finished, images: Sequence[str], explainer: str) -> str:
    entries = [finished.report.examples["pictures"][image] for image in images]
    maps = [attribution_of(finished, entry, explainer) for entry in entries]
    figures, ramp = [], ""
    for entry, attribution in zip(entries, maps):
        if attribution is None:
            figures.append('<span class="missing">map missing</span>')
        elif attribution.condition != "fine":
            figures.append('<span class="missing">no evidence: the map is flat</span>')
        else:
            own = scale_of(attribution, linked=True)
            ramp = legend(attribution.signed, own)
            figures.append(figure(_overlay(finished, entry["file"], attribution, own), ""))
    title = escape(finished.explainers.get(explainer, explainer))
    return _line(f"map<small>{title}</small>{ramp}", figures)


def attribution_of(finished: Finished, entry: Record, explainer: str) -> Attribution | None:
    """The stored map; None where the report does not hold it."""
    stored = entry["maps"].get(explainer)
    if stored is None:
        return None
    try:
        values = torch.from_numpy(decode_map(finished.report.example(stored["file"]), stored["scale"]))
    except UserError:
        return None
    return Attribution(
        values, None, False, stored["signed"], entry["target"], None, explainer, Parameters(), 0, 0, 0, 0.0,
        unit=stored.get("unit", "intensity"),
    )  # fmt: skip


def array(finished: Finished, file: str) -> np.ndarray | None:
    """uint8 [H, W, 3]: a picture that the report keeps; None where it is missing."""
    try:
        return read_picture(finished.report.example(file)).array()
    except UserError:
        return None


def img(finished: Finished, file: str, alt: str) -> str:
    """<img>, or a box that says that the file is missing."""
    key = (str(finished.report.path), str(finished.manifest.get("created")), file)

    def draw() -> str:
        shown = array(finished, file)
        return "" if shown is None else jpeg(shown)

    found = _DRAWN.get_or_make(key, draw)
    return f'<img alt="{escape(alt)}" src="{found}">' if found else '<span class="missing">picture missing</span>'


def _overlay(finished: Finished, file: str, attribution: Attribution, scale: Scale | None) -> str:
    shown = overlaid(finished, file, attribution, scale)
    if shown is None:
        return '<span class="missing">picture missing</span>'
    return f'<img alt="map" src="{jpeg(shown)}">'


def overlaid(finished: Finished, file: str, attribution: Attribution, scale: Scale | None) -> np.ndarray | None:
    """uint8 [H, W, 3]: a picture under its map; None where the picture is missing, or of another size."""
    shown = array(finished, file)
    if shown is None or shown.shape[:2] != attribution.values.shape:
        return None
    size = (shown.shape[0], shown.shape[1])
    return overlay(shown, attribution, Geometry(size, size, 1.0, 1.0, 0.0, 0.0), scale)


def figure(image: str, caption: str) -> str:
    caption = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure class="map shot"><div class="canvas">{image}</div>{caption}</figure>'


def _meter(label: str, value: float) -> str:
    """A class with its probability as a bar."""
    return (
        f'<p class="meter"><span>{label}</span><b>{probability(value)}</b>'
        f'<i style="--p:{max(0.5, min(100.0, value * 100)):.1f}%"></i></p>'
    )
