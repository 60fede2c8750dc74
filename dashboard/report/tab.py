"""The Report tab: the answer first, then the heat map, the ranked findings, and the pictures behind a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from dashboard.controls import folder_chooser
from dashboard.page import Page
from dashboard.report import make_panel
from dashboard.report.actions import HINT, Actions
from dashboard.report.grid import MEASURES
from dashboard.report.place import Place
from dashboard.report.unnamed import naming_row
from dashboard.report.views import state_html

# Marks the chosen cell wherever it stands, so that nothing is drawn again; brings its pictures into view if they are
# below the screen; arrow keys walk the heat map (one tab stop for all of it).
CHOOSE = """
const show = (id) => {
  document.querySelectorAll('#report [data-cell]').forEach((other) => {
    if (other.dataset.cell === id && !other.classList.contains('link')) other.setAttribute('aria-current', 'true');
    else other.removeAttribute('aria-current');
  });
  const top = document.querySelector('#cell-sheet')?.getBoundingClientRect().top ?? 0;
  const hidden = top + Math.min(420, innerHeight / 2) - innerHeight;
  if (hidden > 0) window.scrollBy({top: hidden, behavior: 'smooth'});
};
let sorted = null;
element.addEventListener('click', (event) => {
  const heading = event.target.closest('[data-sort]');
  if (heading) { sorted = heading.dataset.sort; trigger('sort', {column: sorted}); return; }
  const verdict = event.target.closest('[data-verdict]');
  if (verdict) {
    trigger('filter', {verdict: verdict.dataset.verdict});
    document.querySelector('#findings')?.scrollIntoView({behavior: 'smooth', block: 'nearest'});
    return;
  }
  const cell = event.target.closest('[data-cell]');
  if (cell) { show(cell.dataset.cell); trigger('choose', {cell: cell.dataset.cell}); }
});
element.addEventListener('keydown', (event) => {
  const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
  const from = event.target.closest('.grid td');
  if (!step || !from) return;
  // along a row and on into the next one; up and down to the nearest column: cells without a finding are passed over
  const cells = [...from.closest('tbody').querySelectorAll('td:has(button)')];
  const away = (cell) => Math.abs(cell.cellIndex - from.cellIndex);
  const row = (cell) => cell.parentElement.sectionRowIndex;
  let next = cells[cells.indexOf(from) + step[1]];
  if (step[0]) {
    const beyond = cells.filter((cell) => Math.sign(row(cell) - row(from)) === step[0]);
    const nearest = Math.min(...beyond.map((cell) => Math.abs(row(cell) - row(from))));
    next = beyond.filter((cell) => Math.abs(row(cell) - row(from)) === nearest).sort((a, b) => away(a) - away(b))[0];
  }
  const button = next?.querySelector('button');
  if (!button) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  button.tabIndex = 0;
  button.focus();
});
watch('value', () => {
  if (sorted) element.querySelector(`[data-sort="${sorted}"]`)?.focus();
  sorted = null;
});
// events: 'choose' 'sort' 'filter'
"""

# The file is made when it is asked for; the button that has it is pressed then.
FETCH = "() => setTimeout(() => document.querySelector('#{}').click(), 100)"

# Tells once that the cell has come into view.
SEEN = """
new IntersectionObserver((entries, observer) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  trigger('seen', {});
}).observe(element);
// events: 'seen'
"""


@dataclass
class Widgets:
    """The components that handlers read and write."""

    place: gr.State
    subject: gr.HTML  # says when the report is not about the model that is chosen
    chooser: gr.Dropdown
    message: gr.HTML
    downloads: gr.Row
    findings_file: gr.DownloadButton
    table_file: gr.DownloadButton
    answer: gr.HTML
    shown_area: gr.Column
    shown: gr.HTML
    rest: gr.Column
    facts: gr.HTML
    make_document: gr.Button
    document: gr.DownloadButton
    make_slide: gr.Button
    slide: gr.DownloadButton
    beyond: gr.HTML
    unnamed: gr.HTML
    naming: gr.Row
    gallery: gr.Dropdown
    new_name: gr.Textbox
    name_it: gr.Button
    named: gr.HTML
    other: gr.Dropdown
    difference: gr.HTML
    measure: gr.Radio
    explainer: gr.Dropdown
    grid: gr.HTML
    verdict: gr.Dropdown
    kind: gr.Dropdown
    target: gr.Dropdown
    text: gr.Textbox
    table: gr.HTML
    cell: gr.HTML
    effects: gr.Plot
    density: gr.Plot
    values: gr.Plot
    pasted: gr.HTML
    maps_of: gr.Radio
    pictures: gr.HTML
    notes: gr.HTML

    def all(self) -> list[Any]:
        return list(vars(self).values())


def build(page: Page) -> None:
    """Lay the tab out and wire it."""
    with gr.Column(elem_id="report"):
        making = make_panel.layout()
        widgets = _layout()
    actions = Actions(page, widgets)
    _wire(page, widgets, actions)
    make_panel.wire(page, making, actions.known)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    in_view = [page.key, widgets.place]
    for listen in (widgets.place.change, page.model.change, page.data.change, page.strip.change):
        listen(actions.address, in_view, page.address, **quiet, trigger_mode="always_last")
    making.made.change(actions.open_made, [making.made, *settings_of(page, widgets)], widgets.all(), **quiet)


def _layout() -> Widgets:
    bare: dict[str, Any] = {"show_label": False, "container": False}
    place = gr.State(Place())
    with gr.Row(elem_classes="reports"):
        chooser, message = folder_chooser("Report", "report", HINT)
        with gr.Row(visible=False, elem_classes="downloads", scale=0) as downloads:
            findings_file = gr.DownloadButton(
                "findings.json", size="sm", elem_id="findings-json", min_width=110, scale=0
            )
            table_file = gr.DownloadButton("table.csv", size="sm", elem_id="table-csv", min_width=100, scale=0)
            make_document = gr.Button("report.html", size="sm", elem_id="make-html", min_width=100, scale=0)
            document = gr.DownloadButton("report.html", elem_id="report-html", elem_classes="unseen")
            make_slide = gr.Button("PNG", size="sm", elem_id="make-png", min_width=60, scale=0)
            slide = gr.DownloadButton("PNG", elem_id="report-png", elem_classes="unseen")
    with gr.Row(elem_classes="sheet"):
        with gr.Column(scale=5, min_width=300, elem_classes="area"):
            subject = gr.HTML(elem_id="report-subject")
            answer = gr.HTML(state_html("Opening the report", "busy"), js_on_load=CHOOSE, elem_id="answer")
        with gr.Column(scale=7, min_width=300, elem_classes="area", visible=False) as shown_area:
            shown = gr.HTML(elem_id="shown")
    with gr.Column(visible=False, elem_classes="rest") as rest:
        with gr.Row(elem_classes="sheet facts-sheet"), gr.Column(elem_classes="area"):
            facts = gr.HTML(elem_id="report-facts")
        with gr.Row(elem_classes="sheet"):
            with gr.Column(scale=5, min_width=300, elem_classes="area"):
                gr.HTML("<h2>Classes and segments</h2>", elem_classes="title")
                with gr.Row(elem_classes="fields look"):
                    measure = gr.Radio(
                        list(MEASURES), value=MEASURES[0][1], label="Show", elem_id="measure", scale=5, **bare
                    )
                    explainer = gr.Dropdown(
                        [], label="Explainer", elem_id="report-explainer", min_width=200, scale=3, **bare
                    )
                grid = gr.HTML(js_on_load=CHOOSE, elem_id="grid")
            with gr.Column(scale=7, min_width=300, elem_classes="area"):
                gr.HTML("<h2>Findings</h2>", elem_classes="title")
                with gr.Row(elem_classes="fields"):
                    verdict = gr.Dropdown([], label="Verdict", elem_id="filter-verdict", min_width=110, **bare)
                    kind = gr.Dropdown([], label="Kind", elem_id="filter-kind", min_width=110, **bare)
                    target = gr.Dropdown([], label="Class", elem_id="filter-class", min_width=110, **bare)
                    text = gr.Textbox(
                        label="Name", placeholder="part of a name", elem_id="filter-text", min_width=110, **bare
                    )
                table = gr.HTML(js_on_load=CHOOSE, elem_id="findings")
        with gr.Row(elem_classes="sheet", elem_id="cell-sheet"):
            with gr.Column(scale=4, min_width=300, elem_classes="area"):
                cell = gr.HTML(js_on_load=SEEN, elem_id="cell")
                # hidden until there is something to draw: what draws is over a megabyte of the browser's
                effects = gr.Plot(visible=False, elem_id="effects", elem_classes="chart", **bare)
                density = gr.Plot(visible=False, elem_id="density", elem_classes="chart", **bare)
                values = gr.Plot(visible=False, elem_id="values", elem_classes="chart", **bare)
            with gr.Column(scale=8, min_width=300, elem_classes="area"):
                pasted = gr.HTML(elem_id="pictures-pasted")
                with gr.Row(elem_classes="maps-by"):
                    gr.HTML("Maps by", elem_id="maps-word")
                    maps_of = gr.Radio([], label="Maps by", elem_id="maps-of", **bare)
                pictures = gr.HTML(elem_id="pictures-behind")
        with gr.Row(elem_classes="sheet"), gr.Column(elem_classes="area"):
            beyond = gr.HTML(elem_id="report-beyond")
            unnamed = gr.HTML(elem_id="report-unnamed")
            naming = naming_row()
        with gr.Row(elem_classes="sheet"), gr.Column(elem_classes="area"):
            with gr.Row(elem_classes="reports"):
                other, _ = folder_chooser("Compare with", "compare", "Another model, or before and after a repair.")
            difference = gr.HTML(elem_id="report-difference")
        with gr.Row(elem_classes="sheet"), gr.Column(elem_classes="area"):
            notes = gr.HTML(elem_id="report-notes")
    return Widgets(
        place, subject, chooser, message, downloads, findings_file, table_file, answer, shown_area, shown, rest, facts,
        make_document, document, make_slide, slide, beyond, unnamed, *naming, other, difference, measure, explainer,
        grid, verdict, kind, target, text, table, cell, effects, density, values, pasted, maps_of, pictures, notes,
    )  # fmt: skip


def settings_of(page: Page, w: Widgets) -> list[Any]:
    """What every handler is told."""
    return [
        page.key, page.dark, w.place, w.measure, w.explainer, w.maps_of, w.verdict, w.kind, w.target, w.text,
    ]  # fmt: skip


def _wire(page: Page, w: Widgets, act: Actions) -> None:
    settings = settings_of(page, w)
    shared: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    latest: dict[str, Any] = {**shared, "trigger_mode": "always_last"}
    everything = w.all()
    page.opened.change(act.open_first, settings, everything, **shared)
    page.model.change(act.model_changed, settings, everything, **latest)
    w.chooser.input(act.open, [w.chooser, *settings], everything, **latest)
    overview, behind = (
        [w.grid, w.table, w.message],
        [w.place, w.cell, w.effects, w.density, w.values, w.pasted, w.pictures, w.message],
    )
    for source in (w.answer, w.grid, w.table):
        source.choose(act.choose, settings, behind, **latest)
        source.sort(act.sort, settings, [w.place, w.table, w.message], **latest)
    for asked, make, file in (
        (w.make_document, act.document, w.document),
        (w.make_slide, act.slide, w.slide),
    ):
        fetch = FETCH.format(file.elem_id)
        asked.click(make, settings, [file, w.message], **shared).success(None, None, None, js=fetch, **shared)
    w.name_it.click(act.name_unnamed, [w.gallery, w.new_name, *settings], [w.named], **shared)
    w.other.input(act.compare, [w.other, *settings], [w.difference], **latest)
    w.cell.seen(act.look, settings, behind, **latest)
    w.answer.filter(act.only, settings, [w.verdict, w.kind, w.target, w.text, w.table, w.message], **latest)
    w.measure.input(act.draw_again, settings, overview, **latest)
    w.explainer.input(act.draw_again, settings, overview, **latest)
    # not `change`: it would fire when a report is opened, before the other controls have their new values
    for listen in (w.verdict.input, w.kind.input, w.target.input, w.text.input, w.text.submit, w.text.blur):
        listen(act.list_again, settings, [w.table, w.message], **latest)
    w.maps_of.input(act.maps_again, settings, [w.pictures, w.values, w.message], **latest)
