"""The top line: what this is, which model and which data are under study, and where the model runs."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from core.errors import UserError
from dashboard.address import follow
from dashboard.controls import problem
from dashboard.page import Page
from dashboard.project import panel
from dashboard.project.choosing import data_note, model_note, move_to
from dashboard.project.data_sets import mine

# the key lives in the tab's own storage: it survives a reload, and two tabs do not share it
ENTER = """() => {
  let key = sessionStorage.getItem('satchel');
  if (!key) {
    key = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');
    sessionStorage.setItem('satchel', key);
  }
  const back = sessionStorage.getItem('satchel-back');
  sessionStorage.removeItem('satchel-back');
  const again = !back && performance.getEntriesByType('navigation')[0]?.type === 'reload';
  return [key, document.body.classList.contains('dark') ? 'dark' : 'light', location.search, again ? 'again' : ''];
}"""


def build(page: Page, blocks: gr.Blocks) -> None:
    """Lay the header out and keep `page.key`, `page.dark`, `page.model`, `page.data` and `page.opened` up to date."""
    page.key, page.dark = gr.State(""), gr.State(False)
    page.model, page.data, page.opened = gr.State(""), gr.State(""), gr.State(0)
    given = [gr.Textbox(visible=False) for _ in range(4)]  # key, mode, address, whether it is the same page again
    chooser: dict[str, Any] = {
        "allow_custom_value": True, "show_label": False, "container": False, "interactive": True,
    }  # fmt: skip
    with gr.Row(elem_classes="top"):
        page.address = gr.HTML(elem_id="address", elem_classes="unseen")
        page.explained = gr.HTML(elem_id="address-explain", elem_classes="unseen")
        gr.HTML("<h1>Satchel</h1><p>what an image classifier looks at, by name</p>", elem_classes="brand")
        with gr.Row(elem_classes="subjects", scale=0):
            with gr.Column(elem_classes="subject", min_width=220, elem_id="model-box"):
                spec = gr.Dropdown(
                    page.classifiers.choices(), value=page.classifiers.start, label="Model", elem_id="model", **chooser
                )
                note = gr.HTML(elem_id="model-note")
            with gr.Column(elem_classes="subject", min_width=180, elem_id="data-box"):
                source = gr.Dropdown(
                    page.data_sets.choices(), value=page.data_sets.start, label="Data", elem_id="data", **chooser
                )
                told = gr.HTML(elem_id="data-note")

    def enter(key: str, mode: str, search: str, again: str) -> tuple[Any, ...]:
        session = page.sessions.get(key)
        page.visits += 1
        for sentence in follow(page, session, search, bool(again)):
            gr.Warning(escape(sentence), title="Part of the link cannot be followed")
        session.entered = True
        choices = page.data_sets.choices(mine(session))
        return (
            key, mode == "dark", page.visits, gr.update(value=session.spec, choices=page.classifiers.choices()),
            model_note(page, session.spec), gr.update(value=session.data, choices=choices),
            data_note(page, session.data),
        )  # fmt: skip

    def change(key: str, wanted: str) -> Iterator[dict[Any, Any]]:
        session = page.sessions.get(key)
        session.wanted = wanted
        if wanted == session.spec:
            yield {note: model_note(page, session.spec)}
            return
        yield {note: f'<span class="busy">Loading {escape(wanted or "")}</span>'}
        bar, failed = gr.Progress(), None
        try:
            page.classifiers.get(wanted, lambda fraction, text: bar(fraction, desc=text))
        except UserError as error:
            failed = error
        if session.wanted != wanted:  # another one was named meanwhile
            yield {note: gr.skip()}
        elif failed is not None:
            yield {note: problem(f"{failed} Still using {session.spec}.")}
        else:
            session.spec = wanted.strip()
            yield {note: model_note(page, session.spec), page.model: session.spec}

    def take(key: str, wanted: str) -> Iterator[dict[Any, Any]]:
        session = page.sessions.get(key)
        if wanted == session.data:
            yield {told: data_note(page, session.data)}
            return
        yield {told: '<span class="busy">Opening</span>'}
        try:
            move_to(page, session, wanted)
        except UserError as error:
            yield {told: problem(f"{error} Still using {page.data_sets.title(session.data)}.")}
        else:
            yield {told: data_note(page, session.data), page.data: session.data}

    quiet: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None}
    outputs = [page.key, page.dark, page.opened, spec, note, source, told]
    blocks.load(enter, given, outputs, js=ENTER, show_progress="hidden", **quiet)
    changing: dict[str, Any] = {"trigger_mode": "multiple", "show_progress": "minimal", **quiet}
    spec.change(change, [page.key, spec], [note, page.model], **changing)
    source.change(take, [page.key, source], [told, page.data], **changing)
    panel.build(page, spec, source)
