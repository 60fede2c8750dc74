"""Handlers of the Report tab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.classifier import Classifier
from core.errors import UserError
from dashboard.address import written
from dashboard.controls import problem
from dashboard.page import Page
from dashboard.report.at_hand import at_hand, shipped
from dashboard.report.beyond import beyond_html
from dashboard.report.difference import difference_html
from dashboard.report.document import document
from dashboard.report.finished import Cell, Finished
from dashboard.report.grid import MEASURES, grid_html, heat_map
from dashboard.report.pictures import exhibits_html, pasted_html, pictures_html
from dashboard.report.place import Place, Settings
from dashboard.report.plots import density_figure, effects_figure, values_figure
from dashboard.report.slide import slide
from dashboard.report.table import ANY, Filters, Sort, filter_choices, listed, table_html
from dashboard.report.unnamed import name_one, naming_shows, unnamed_html
from dashboard.report.views import answer_html, cell_html, facts_html, notes_html, state_html
from dashboard.report.words import strongest_shortcut
from dashboard.subject import SHIPPED, is_about, stranger_html
from dashboard.temporary import download, offered

if TYPE_CHECKING:
    from dashboard.report.tab import Widgets

NO_REPORT = "There is no report yet. Make one above, or type the folder of one."
HINT = "Choose one, or type the folder of a report on this machine."
Updates = dict[Any, Any]


class Actions:
    """What happens on each event; every answer is a dictionary of components."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w = page, widgets
        self.reports = page.reports

    # -- events

    def open_first(self, *values: Any) -> Updates:
        """A page was opened: the report given on the command line, else that of the model, else the demo's."""
        settings, given = self._settings(values), self.page.report
        along, choices = shipped(), self._choices(settings)
        own, link = self._about_chosen(settings), self._linked(settings)
        usual = given or own or along.get(SHIPPED) or next(iter(along.values()), None)
        first = link or usual
        if first is None:
            return {self.w.chooser: gr.update(choices=choices), **self._empty(NO_REPORT)}
        updates: Updates = {}
        for more in self._open(str(first), replace(settings, place=replace(settings.place, first=str(usual or "")))):
            updates |= more
        # at once: what a generator yields last is sent twice
        updates[self.w.chooser] = gr.update(choices=choices, value=str(first))
        updates[self.w.other] = {**gr.update(choices=choices), **updates.get(self.w.other, {})}
        return updates

    def _linked(self, settings: Settings) -> Path | None:
        """The report of the address that was followed, if it opens."""
        link = self.page.sessions.get(settings.key).link
        with suppress(UserError):
            named = {Path(path).name: path for _, path in self._choices(settings)}
            return self.reports.get(named.get(link[0], link[0])).report.path if link else None
        return None

    def address(self, key: str, place: Place | None) -> str:
        """What is in view, for the address."""
        return written(self.page, self.page.sessions.get(key), place or Place(), shipped().values())

    def model_changed(self, *values: Any) -> Iterator[Updates]:
        """Another model was chosen: its own report, if there is one; else the one in view says that it is not, or goes
        where it is only the demo's, of which somebody with a model of their own has no use."""
        settings = self._settings(values)
        finished, own = self._finished(settings), self._about_chosen(settings)
        stranger = finished is None or bool(self._subject(finished, settings))
        if own is not None and own != settings.place.path and stranger:
            yield {self.w.chooser: gr.update(value=own)}
            yield from self._open(own, settings)
        elif finished is None or own is not None or not self._demo_goes(settings):
            yield {self.w.subject: self._subject(finished, settings) if finished else ""}
        else:
            name = self.page.classifiers.title(self.page.sessions.get(settings.key).spec)
            yield {
                self.w.chooser: gr.update(value=None), self.w.place: Place(),
                **self._empty(f"There is no report about {name} yet. Make one above."),
            }  # fmt: skip

    def _demo_goes(self, settings: Settings) -> bool:
        """Whether a report that comes along is in view, and a model that does not is chosen."""
        along = settings.place.path in map(str, shipped().values())
        return along and not self.page.sessions.get(settings.key).spec.startswith("demo:")

    def open_made(self, made: str, *values: Any) -> Iterator[Updates]:
        """A report was finished on the page."""
        settings = self._settings(values)
        choices = self._choices(settings)
        yield {self.w.chooser: gr.update(choices=choices, value=made), self.w.other: gr.update(choices=choices)}
        yield from self._open(made, settings)

    def known(self, key: str) -> bool:
        """Whether there is a report about a visitor's model."""
        return self._about_chosen(Settings(key, False, Place(), None, "", "", Filters())) is not None

    def _choices(self, settings: Settings) -> list[tuple[str, str]]:
        return at_hand(self.page, self.page.sessions.get(settings.key))

    def open(self, wanted: str | None, *values: Any) -> Iterator[Updates]:
        """Another report was chosen or typed; if it does not open, the one in view stays."""
        settings = self._settings(values)
        if not (wanted or "").strip() or wanted == settings.place.path:
            yield {self.w.message: HINT}
            return
        yield {self.w.message: f'<span class="busy">Opening {escape(Path(str(wanted)).name)}</span>'}
        yield from self._open(str(wanted), settings)

    def document(self, *values: Any) -> Iterator[Updates]:
        """The report as one file was asked for."""
        yield from self._made(values, self.w.document, "report.html", lambda finished: document(finished).encode())

    def slide(self, *values: Any) -> Iterator[Updates]:
        """The report as one picture was asked for."""
        yield from self._made(values, self.w.slide, "report.png", slide)

    def _made(
        self, values: tuple[Any, ...], button: gr.DownloadButton, name: str, make: Callable[[Finished], bytes]
    ) -> Iterator[Updates]:
        """A file of the report in view, put behind a button."""
        finished = self._finished(self._settings(values))
        if finished is None:
            raise gr.Error("The report in view is gone; open it again.", duration=None, print_exception=False)
        yield {self.w.message: f'<span class="busy">Making {name}</span>'}
        try:
            file = offered(name, make(finished))
        except UserError as error:
            yield {self.w.message: HINT}
            raise gr.Error(escape(str(error)), duration=None, print_exception=False) from error
        yield {button: gr.update(value=str(file)), self.w.message: HINT}

    def compare(self, wanted: str | None, *values: Any) -> Iterator[Updates]:
        """Another report was chosen, or typed, to compare the one in view with."""
        settings = self._settings(values)
        if not (wanted or "").strip():
            yield {self.w.difference: ""}
            return
        yield {self.w.difference: state_html(f"Comparing with {Path(str(wanted)).name}", "busy")}
        try:
            first, second = (self.reports.get(path) for path in (settings.place.path, str(wanted)))
            told = difference_html(first.report, second.report)
        except UserError as error:
            yield {self.w.difference: problem(error)}
            return
        yield {self.w.difference: told}

    def name_unnamed(self, number: Any, name: str | None, *values: Any) -> Iterator[Updates]:
        """A gallery of what nobody named was given a name."""
        finished = self._finished(self._settings(values))
        if finished is None:
            yield {self.w.named: HINT}
            return
        for said in name_one(finished.report, number, name, self.page.data_sets):
            yield {self.w.named: said}

    def choose(self, event: gr.EventData, *values: Any) -> Updates:
        """A cell was chosen, in the heat map, the table or the headline."""
        settings = self._settings(values)
        finished = self._finished(settings)
        cell = finished.find(str(event.cell)) if finished else None
        if finished is None or cell is None:
            return {self.w.message: "That cell is not in this report; open the report again."}
        place = replace(settings.place, cell=cell.id)
        try:
            shown = self._cell(finished, cell, settings)
        except UserError as error:  # a shard is damaged, which is read only now
            return {self.w.message: problem(error)}
        return {self.w.place: place, self.w.message: HINT, **shown}

    def look(self, *values: Any) -> Updates:
        """The cell came into view: the charts and pictures behind it."""
        settings = self._settings(values)
        finished = self._finished(settings)
        cell = finished.find(settings.place.cell) if finished else None
        if finished is None or cell is None:
            return {self.w.message: gr.skip()}
        try:
            return {self.w.place: replace(settings.place, seen=True), **self._behind(finished, cell, settings)}
        except UserError as error:  # a shard is damaged, which is read only now
            return {self.w.message: problem(error)}

    def sort(self, event: gr.EventData, *values: Any) -> Updates:
        """A heading of the table was pressed."""
        settings = self._settings(values)
        place = replace(settings.place, sort=settings.place.sort.toggled(str(event.column)))
        return {self.w.place: place, **self.list_again(*values, place=place)}

    def draw_again(self, *values: Any) -> Updates:
        """The heat map shows something else."""
        settings = self._settings(values)
        finished = self._finished(settings)
        return self._overview(finished, settings) if finished else {self.w.message: HINT}

    def list_again(self, *values: Any, place: Place | None = None) -> Updates:
        """The filters changed."""
        settings = self._settings(values)
        settings = replace(settings, place=place or settings.place)
        finished = self._finished(settings)
        return {self.w.table: self._table(finished, settings)} if finished else {self.w.message: HINT}

    def only(self, event: gr.EventData, *values: Any) -> Updates:
        """A count of verdicts was pressed: those in the table."""
        settings = replace(self._settings(values), filters=Filters(verdict=str(event.verdict)))
        finished = self._finished(settings)
        if finished is None:
            return {self.w.message: HINT}
        w = self.w
        every = {w.kind: ANY, w.target: ANY, w.text: ""}
        return {w.verdict: str(event.verdict), **every, w.table: self._table(finished, settings)}

    def maps_again(self, *values: Any) -> Updates:
        """The maps of another explainer."""
        settings = self._settings(values)
        finished = self._finished(settings)
        cell = finished.find(settings.place.cell) if finished else None
        if finished is None or cell is None:
            return {self.w.message: HINT}
        try:
            shown = self._values(finished, cell, settings)
            return {self.w.pictures: pictures_html(finished, cell, settings.maps_of), **shown}
        except UserError as error:
            return {self.w.message: problem(error)}

    # -- reading

    @staticmethod
    def _settings(values: tuple[Any, ...]) -> Settings:
        key, dark, place, measure, explainer, maps_of, verdict, kind, target, text = values
        filters = Filters(verdict or ANY, kind or ANY, ANY if target is None else target, text or "")
        return Settings(key, bool(dark), place or Place(), measure, explainer or "", maps_of or "", filters)

    def _finished(self, settings: Settings) -> Finished | None:
        """The report in view; None if there is none or it is gone."""
        try:
            return self.reports.get(settings.place.path) if settings.place.path else None
        except UserError:
            return None

    def _about_chosen(self, settings: Settings) -> str | None:
        """The report that is about the visitor's model, of those that were opened here or come along."""
        classifier = self._chosen(settings)
        if classifier is None:
            return None
        paths = (*settings.place.opened, *(path for _, path in self._choices(settings)))
        return next((path for path, _ in self.reports.of_model(paths, classifier.fingerprint)), None)

    def _chosen(self, settings: Settings) -> Classifier | None:
        """The visitor's model; None where it cannot be had, which the header says."""
        with suppress(UserError):
            return self.page.classifiers.get(self.page.sessions.get(settings.key).spec).classifier
        return None

    # -- drawing

    def _subject(self, finished: Finished, settings: Settings) -> str:
        """Says so where a report is not about the visitor's model; else nothing."""
        classifier = self._chosen(settings)
        if classifier is None or is_about(finished.manifest, classifier):
            return ""
        spec, own = self.page.sessions.get(settings.key).spec, self._about_chosen(settings)
        spec = self.page.classifiers.title(spec)
        remedy = "make one, above."
        return stranger_html("report", finished.manifest, spec, Path(own).name if own else "", remedy)

    def _open(self, path: str, settings: Settings) -> Iterator[Updates]:
        """The answer and the tables first, then what stands behind the cell, which takes a browser longest."""
        try:
            finished = self.reports.get(path)
            updates = self._all(path, finished, settings)
        except UserError as error:
            said = problem(error)
            if settings.place.path:  # the report in view stays
                yield {self.w.message: f"{said} Still showing {escape(Path(settings.place.path).name)}."}
            else:
                yield {self.w.message: HINT, **self._empty(str(error), "problem")}
            return
        yield updates
        place: Place = updates[self.w.place]
        cell = finished.find(place.cell)
        if cell is not None and place.seen:
            try:
                yield self._behind(finished, cell, settings)
            except UserError as error:  # a shard is damaged, which is read only now
                yield {self.w.message: problem(error)}

    def _all(self, path: str, finished: Finished, settings: Settings) -> Updates:
        """All but the charts."""
        session = self.page.sessions.get(settings.key)
        link, session.link = session.link, None
        cell = finished.find(link[1]) if link else None
        usual = strongest_shortcut(finished) or next(iter(finished.cells.values()), None)
        cell = cell or usual
        opened = tuple(dict.fromkeys((path, *settings.place.opened)))
        before, usual_cell = settings.place, usual.id if usual else None
        place = Place(path, cell.id if cell else None, Sort(), opened, before.seen, before.first, usual_cell)
        titles = [(title, name) for name, title in finished.explainers.items()]
        lead = titles[0][1]
        measure = MEASURES[0][1] if finished.manifest["checked"] else MEASURES[2][1]
        settings = Settings(settings.key, settings.dark, place, measure, lead, lead, Filters())
        verdicts, kinds, targets = filter_choices(finished)
        shown = exhibits_html(finished)
        w = self.w
        return {
            w.message: HINT, w.place: place, w.subject: self._subject(finished, settings),
            w.answer: answer_html(finished), w.facts: facts_html(finished), w.beyond: beyond_html(finished),
            w.unnamed: unnamed_html(finished), **naming_shows(w, finished),
            w.other: gr.update(value=None), w.difference: "",
            w.shown: shown, w.shown_area: gr.update(visible=bool(shown)),
            w.rest: gr.update(visible=True), w.downloads: gr.update(visible=True),
            w.findings_file: download(finished.findings_file), w.table_file: download(finished.table_file),
            w.measure: gr.update(value=measure),
            w.explainer: gr.update(choices=titles, value=lead), w.maps_of: gr.update(choices=titles, value=lead),
            w.verdict: gr.update(choices=verdicts, value=ANY), w.kind: gr.update(choices=kinds, value=ANY),
            w.target: gr.update(choices=targets, value=ANY), w.text: "",
            w.notes: notes_html(finished), **self._overview(finished, settings),
            **({w.cell: cell_html(finished, cell)} if cell else self._no_cell()),
        }  # fmt: skip

    def _overview(self, finished: Finished, settings: Settings) -> Updates:
        grid = heat_map(finished, settings.measure, settings.explainer)
        chosen = finished.find(settings.place.cell)
        return {
            self.w.grid: grid_html(grid, settings.measure, settings.explainer, chosen),
            self.w.table: self._table(finished, settings),
        }

    @staticmethod
    def _table(finished: Finished, settings: Settings) -> str:
        cells = listed(finished, settings.filters, settings.place.sort, settings.explainer)
        chosen = finished.find(settings.place.cell)
        filtered = settings.filters != Filters()
        return table_html(finished, cells, settings.place.sort, settings.explainer, chosen, filtered)

    def _cell(self, finished: Finished, cell: Cell, settings: Settings) -> Updates:
        behind = self._behind(finished, cell, settings) if settings.place.seen else {}
        return {self.w.cell: cell_html(finished, cell), **behind}

    def _behind(self, finished: Finished, cell: Cell, settings: Settings) -> Updates:
        """Charts and pictures."""
        effects = effects_figure(finished, cell, settings.dark)
        density = density_figure(finished, cell, settings.dark)
        return {
            self.w.pasted: pasted_html(finished, cell),
            self.w.pictures: pictures_html(finished, cell, settings.maps_of),
            **self._values(finished, cell, settings),
            self.w.effects: gr.update(value=effects, visible=effects is not None),
            self.w.density: gr.update(value=density, visible=density is not None),
        }

    def _values(self, finished: Finished, cell: Cell, settings: Settings) -> Updates:
        values = values_figure(finished, cell, settings.maps_of or next(iter(finished.explainers)), settings.dark)
        return {self.w.values: gr.update(value=values, visible=values is not None)}

    def _no_cell(self) -> Updates:
        hidden = gr.update(visible=False)
        return {
            self.w.cell: state_html("This report has no pairs of class and segment."), self.w.pictures: "",
            self.w.pasted: "", self.w.effects: hidden, self.w.density: hidden, self.w.values: hidden,
        }  # fmt: skip

    def _empty(self, why: str, kind: str = "empty") -> Updates:
        """No report: one panel that says what to do, and nothing else."""
        hidden = gr.update(visible=False)
        return {
            self.w.answer: state_html(why, kind), self.w.subject: "", self.w.shown_area: hidden, self.w.rest: hidden,
            self.w.downloads: hidden,
        }  # fmt: skip
