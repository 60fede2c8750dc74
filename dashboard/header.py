"""The top line: what this is, which model is under study, and where it runs."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from core.errors import UserError
from dashboard.controls import problem
from dashboard.page import Page

# the key lives in the tab's own storage: it survives a reload, and two tabs do not share it
ENTER = """() => {
  let key = sessionStorage.getItem('satchel');
  if (!key) {
    key = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');
    sessionStorage.setItem('satchel', key);
  }
  return [key, document.body.classList.contains('dark') ? 'dark' : 'light'];
}"""


def build(page: Page, blocks: gr.Blocks) -> None:
    """Lay the header out and keep `page.key`, `page.dark`, `page.model` and `page.opened` up to date."""
    page.key, page.dark = gr.State(""), gr.State(False)
    page.model, page.opened = gr.State(""), gr.State(0)
    given_key, given_mode = gr.Textbox(visible=False), gr.Textbox(visible=False)
    with gr.Row(elem_classes="top"):
        gr.HTML("<h1>Satchel</h1><p>what an image classifier looks at, by name</p>", elem_classes="brand")
        with gr.Row(elem_classes="model", scale=0):
            note = gr.HTML(elem_id="model-note")
            spec = gr.Dropdown(
                page.classifiers.choices(), value=page.classifiers.start, allow_custom_value=True, label="Model",
                show_label=False, container=False, elem_id="model", min_width=300, interactive=True,
            )  # fmt: skip

    def enter(key: str, mode: str) -> tuple[Any, ...]:
        session = page.sessions.get(key)
        page.visits += 1
        return key, mode == "dark", page.visits, session.spec, _where(page, session.spec)

    def change(key: str, wanted: str) -> Iterator[dict[Any, Any]]:
        session = page.sessions.get(key)
        session.wanted = wanted
        if wanted == session.spec:
            yield {note: _where(page, session.spec)}
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
            yield {note: _where(page, session.spec), page.model: session.spec}

    quiet: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None}
    outputs = [page.key, page.dark, page.opened, spec, note]
    blocks.load(enter, [given_key, given_mode], outputs, js=ENTER, show_progress="hidden", **quiet)
    spec.change(change, [page.key, spec], [note, page.model], trigger_mode="multiple", show_progress="minimal", **quiet)


def _where(page: Page, spec: str) -> str:
    try:
        classifier = page.classifiers.get(spec).classifier
    except UserError as error:
        return problem(error)
    height, width = classifier.input_size
    return (
        f'<span title="{escape(classifier.fingerprint)}">{len(classifier.labels)} classes, {width} x {height}, '
        f"{classifier.device.type}</span>"
    )
