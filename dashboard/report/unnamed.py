"""What nobody named, as galleries, and a name for one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.errors import UserError
from core.sat.fed_back import data_of, name_gallery, next_report
from core.sat.saved_report import Report
from core.sat.verdicts import LEAST_PICTURES
from core.segments.saved.store import Store
from dashboard.controls import problem
from dashboard.plots import percent
from dashboard.project.data_sets import DataSets
from dashboard.report.finished import Finished
from dashboard.report.pictures import figure, img
from dashboard.report.words import verdict_mark
from dashboard.words import plural, signed

if TYPE_CHECKING:
    from dashboard.report.tab import Widgets

NOTE = (
    "Where the first explainer's maps are strong and no segment lies, put together by what the model makes of it. "
    "Removed like a segment; pasted elsewhere once it has a name."
)


def unnamed_html(finished: Finished) -> str:
    """Galleries, the strongest first; nothing for a report that did not look."""
    entries = finished.manifest.get("unnamed")
    if entries is None or not len(finished.cells):
        return ""
    if not entries:
        none = "No recurring thing draws attention and lies outside of all named segments."
        return f'<div data-testid="unnamed"><h2>What nobody named</h2><p class="note">{none}</p></div>'
    parts = "".join(_gallery(finished, entry) for entry in entries)
    return f'<div data-testid="unnamed"><h2>What nobody named</h2><p class="note">{NOTE}</p>{parts}</div>'


def _gallery(finished: Finished, entry: dict[str, Any]) -> str:
    figures = [
        figure(img(finished, area["file"], area["image"]), f"<p>{percent(area['share'])}</p>")
        for area in entry["areas"]
    ]
    shown = "".join(f"<td>{one}</td>" for one in figures)
    told = f"{verdict_mark(entry['verdict'])}<div>{escape(signed(entry['sentence']))}</div>"
    few = " few" if entry["pictures"] < LEAST_PICTURES else ""
    return (
        f'<h3 class="{few.strip()}">Gallery {entry["number"]}: {escape(entry["target"])}</h3>'
        f'<ul class="told"><li>{told}</li></ul>'
        f'<div class="scroll" tabindex="-1"><table class="behind"><tbody><tr>'
        f"<th scope='row'>the area<small>part of the positive attribution</small></th>{shown}"
        "</tr></tbody></table></div>"
    )


def naming_row() -> tuple[gr.Row, gr.Dropdown, gr.Textbox, gr.Button, gr.HTML]:
    """A gallery, a name and a button in one row, and what comes of it; made where they are to stand."""
    bare: dict[str, Any] = {"show_label": False, "container": False}
    with gr.Row(visible=False, elem_classes="fields", elem_id="unnamed-fields") as row:
        gallery = gr.Dropdown([], label="Gallery", elem_id="unnamed-gallery", min_width=160, scale=2, **bare)
        name = gr.Textbox(
            label="Name", placeholder="what it shows", elem_id="unnamed-name", min_width=160, scale=3, **bare
        )
        button = gr.Button("Name it", size="sm", elem_id="unnamed-button", min_width=90, scale=0)
    return row, gallery, name, button, gr.HTML(elem_id="unnamed-said")


def naming_shows(w: Widgets, finished: Finished) -> dict[Any, Any]:
    """Updates for a report that was opened."""
    entries = finished.manifest.get("unnamed") or []
    choices = [(f"{entry['number']}: {entry['target']}", entry["number"]) for entry in entries]
    first = choices[0][1] if choices else None
    return {
        w.naming: gr.update(visible=bool(choices)), w.gallery: gr.update(choices=choices, value=first),
        w.new_name: "", w.named: "",
    }  # fmt: skip


def name_one(report: Report, number: Any, name: str | None, sets: DataSets) -> Iterator[str]:
    """The button was pressed: what there is to say. The name stands where the page keeps segments of these pictures, so
    that the Segments tab has it, and the next report made here tests it."""
    try:
        made = report.made_from
        source = sets.asked(made["data"])
        if made["segments"]:
            sets.allowed.check(made["segments"])
        yield '<span class="busy">Opening the pictures</span>'
        data = data_of(report)
        store = Store(sets.segments_folder(source), "the Report tab", data.source)
        with suppress(TypeError, ValueError):
            number = int(number)
        for step in name_gallery(report, number, name or "", data, store):
            yield f'<span class="busy">Naming, {step.done:,} of {step.total:,} pictures</span>'
        count = plural(report.areas(number)["image"].nunique(), "picture")
    except UserError as error:
        yield problem(error)
        return
    command = f"<code>{escape(next_report(report, store.folder))}</code>"
    yield (
        f'<p class="figures">{escape(str(name))} is named in {count}. Make a report again, above, to test it like any '
        f"other segment; or {command}</p>"
    )
