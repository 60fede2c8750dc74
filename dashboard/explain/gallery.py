"""All pictures at once, one row each: what the model says, and the maps side by side, small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from html import escape
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.attribution import Attribution
from core.classifier import Prediction
from core.errors import UserError
from core.explainer import get_explainer
from core.overlays import display_size, layer, scale_of, shrunk
from dashboard.controls import problem
from dashboard.explain.by_finding import Finding, finding
from dashboard.explain.costs import about
from dashboard.explain.drawing import Drawing, Settings, Updates
from dashboard.overlays import webp
from dashboard.page import Page
from dashboard.palette import marker
from dashboard.pictures import Source, View
from dashboard.plots import probability
from dashboard.runs import ResultKey, Run
from dashboard.sessions import Session
from dashboard.words import plural, wrong_mark

if TYPE_CHECKING:
    from dashboard.explain.tab import Widgets

SIDE = 144  # of a small map
FRAME_SECONDS = 1.5  # between two drawings: all of it is sent every time
ORDERS = ("as given", "wrong first", "unsure first")
BY_FINDING = "by a finding"  # offered besides where a report about model and data has one
LOOK, STOP = "Look at all", "Stop"
OFFER = "Every picture in a row, with what the model says and the chosen maps."


@dataclass
class Entry:
    """One picture: what the model says of it, what it shows where that is something else, its small maps."""

    source: Source
    says: Prediction | None = None
    instead: str | None = None
    failed: str = ""
    maps: dict[str, str] = field(default_factory=dict)  # by explainer, HTML


@dataclass
class Rows:
    """What one visitor looks at.

    Attributes:
        spec: the model. names: explainers. order: one of ORDERS, or BY_FINDING. entries: as the pictures are given.
        finding: what a report found of model and data.
        running: rows are being made; stopped: no more of them are wanted.
    """

    spec: str
    names: tuple[str, ...]
    order: str
    entries: list[Entry] = field(default_factory=list)
    running: bool = True
    stopped: bool = False
    finding: Finding | None = None

    def sorted(self) -> list[Entry]:
        """Wrong answers first, the surest of them first; or the least sure answers first; or those on which a finding's
        segment does most, and last those on which nothing was measured; else as given."""

        def chance(entry: Entry) -> float:
            return entry.says.probability if entry.says else 1.0

        if self.order == "wrong first":
            return sorted(self.entries, key=lambda e: (e.instead is None, -chance(e) if e.instead else 0.0))
        if self.order == BY_FINDING and self.finding is not None:
            on = self.finding.on
            return sorted(self.entries, key=lambda e: -measured[1] if (measured := on(e.source)) else inf)
        return sorted(self.entries, key=chance) if self.order == "unsure first" else list(self.entries)


class Gallery:
    """Handlers of the area below the maps."""

    def __init__(self, page: Page, widgets: Widgets, draw: Drawing, read: Callable[..., tuple[Session, Settings]]):
        self.page, self.w, self.draw, self.read = page, widgets, draw, read

    def look(self, order: str, *values: Any) -> Iterator[Updates]:
        """Ask the model about every picture, then make the chosen maps of each; pressed again, stop."""
        session, settings = self.read(values, remember=False)
        if session.gallery is not None and session.gallery.running:
            session.gallery.stopped = True
            yield {self.w.gallery_note: "Stopping"}
            return
        settings = replace(self.draw.usable(session, settings), target=None, contrast=None)
        rows = session.gallery = Rows(session.spec, settings.chosen, order, finding=finding(self.page, session))
        yield {self.w.gallery_run: STOP, self.w.gallery_note: "Asking the model about every picture"}
        try:
            yield from self._rows(session, settings, rows)
        except UserError as error:
            yield {self.w.gallery_note: problem(error)}
        finally:
            rows.running = False
        if session.gallery is rows:
            yield self.shown(session)

    def sort(self, order: str, *values: Any) -> Updates:
        """Another order."""
        session, _ = self.read(values, remember=False)
        if session.gallery is not None:
            session.gallery.order = order
        return self.shown(session)

    def shown(self, session: Session) -> Updates:
        """As it is now."""
        rows = session.gallery
        if rows is None or rows.spec != session.spec:
            return {self.w.gallery: "", self.w.gallery_run: LOOK, self.w.gallery_note: OFFER}
        update: Updates = {self.w.gallery: gallery_html(rows), self.w.gallery_run: STOP if rows.running else LOOK}
        return update if rows.running else update | {self.w.gallery_note: said(rows)}

    def show(self, *values: Any) -> Updates:
        """The page was opened, or another model chosen."""
        return self.shown(self.read(values, remember=False)[0])

    def offer(self, order: str, *values: Any) -> Updates:
        """The orders there are: a report may have been made meanwhile, or another model or data set been chosen."""
        session, _ = self.read(values, remember=False)
        found = finding(self.page, session)
        by_finding = [(f"by a finding: {found.name}", BY_FINDING)] if found is not None else []
        rows, kept = session.gallery, order in ORDERS or bool(by_finding)
        if rows is not None:
            rows.finding, rows.order = found, rows.order if kept else ORDERS[0]
        choices = [*((name, name) for name in ORDERS), *by_finding]
        return {self.w.order: gr.update(choices=choices, value=order if kept else ORDERS[0])}

    def _rows(self, session: Session, settings: Settings, rows: Rows) -> Iterator[Updates]:
        loaded, due = self.page.classifiers.get(rows.spec), 0.0
        missing: list[tuple[Entry, list[ResultKey], float]] = []

        def over() -> bool:
            return rows.stopped or session.spec != rows.spec or session.gallery is not rows

        for source in self.page.sources(session).values():
            if over():
                return
            entry = Entry(source)
            rows.entries.append(entry)
            try:
                view = self.page.pictures.view(source, loaded, self.page.device)
            except UserError as error:
                entry.failed = str(error)
                continue
            entry.says, entry.instead = view.predictions[0], view.instead
            keys = self._draw(session, settings, entry, view)
            missing.append((entry, keys, self.draw.costs.seconds(keys, view.seconds)))
            if monotonic() >= due:
                yield {self.w.gallery: gallery_html(rows)}
                due = monotonic() + FRAME_SECONDS
        for done, (entry, keys, _) in enumerate(missing):
            if keys and not over():
                left = sum(seconds for _, _, seconds in missing[done:])
                yield {
                    self.w.gallery: gallery_html(rows),
                    self.w.gallery_note: f"{done} of {plural(len(missing), 'picture')} explained, {about(left)} to go",
                }
                view = self.page.pictures.view(entry.source, loaded, self.page.device)
                run = Run({key.choice.explainer: key for key in keys})
                with closing(self.page.runner.stream(loaded, view.image, run)) as steps:  # ty: ignore[invalid-argument-type]
                    for changed in steps:
                        self.draw.learn(run.keys, changed, view)
                        if over():
                            run.stop()
                self._draw(session, settings, entry, view, run.failed)

    def _draw(
        self, session: Session, settings: Settings, entry: Entry, view: View, failed: dict[str, str] | None = None
    ) -> list[ResultKey]:
        """Draw the maps that are there; returns the keys of the others."""
        missing = []
        for name in settings.chosen:
            try:
                key = self.draw.key(session, settings, view, name)
            except UserError as error:
                entry.maps[name] = f'<span class="note">{escape(str(error))}</span>'
                continue
            made = self.page.runner.results.get(key)
            if made is None or made.partial:
                missing.append(key)
                entry.maps[name] = f'<span class="note">{escape((failed or {}).get(name, ""))}</span>'
            else:
                entry.maps[name] = _small(view, made, settings.linked)
        return missing


def said(rows: Rows) -> str:
    """What came of it."""
    known = [entry for entry in rows.entries if entry.says is not None]
    wrong = sum(entry.instead is not None for entry in known)
    words = plural(len(known), "picture")
    told = f"{words}, {wrong} known to be answered wrong." if wrong else f"{words}."
    if rows.order == BY_FINDING and rows.finding is not None:
        told += f" {escape(rows.finding.said([entry.source for entry in rows.entries]))}"
    return told


def gallery_html(rows: Rows) -> str:
    """A table, one row a picture."""
    heads = "".join(
        f'<th scope="col"><i class="mark {marker(name)}"></i>{escape(get_explainer(name).title)}</th>'
        for name in rows.names
    )
    by = rows.finding if rows.order == BY_FINDING else None
    body = "".join(_row(entry, rows.names, by) for entry in rows.sorted())
    return (
        '<div class="rows" tabindex="0" role="region" aria-label="All pictures"><table data-testid="gallery"><thead>'
        f'<tr><th scope="col">picture</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _row(entry: Entry, names: Sequence[str], by: Finding | None) -> str:
    source, name = entry.source, escape(entry.source.name)
    if entry.says is None:
        told = problem(entry.failed) if entry.failed else ""
    else:
        told = f"<b>{escape(entry.says.label)}</b> {probability(entry.says.probability)}"
        told += f"<br>{wrong_mark(entry.instead)}" if entry.instead is not None else ""
    measured = by.told(source) if by is not None else ""
    told += f"<br>{measured}" if measured else ""
    cells = "".join(f"<td>{entry.maps.get(explainer, '')}</td>" for explainer in names)
    height, width = source.size
    return (
        f'<tr data-id="{source.id}" style="--own:url({source.thumbnail});--shape:{width}/{height}"><th scope="row">'
        f'<button data-act="pick" data-id="{source.id}" tabindex="-1" title="{name}"><i class="small"></i></button>'
        f'<p><span class="name">{name}</span><br>{told}</p></th>{cells}</tr>'
    )


def _small(view: View, made: Attribution, linked: bool) -> str:
    scale = scale_of(made, linked)
    if scale is None:
        return '<span class="note">no evidence</span>'
    size = display_size(view.shown.shape[:2], SIDE)
    drawn = webp(layer(made, shrunk(view.geometry, size), scale))
    return f'<i class="small"><img alt="" src="{drawn}"></i>'
