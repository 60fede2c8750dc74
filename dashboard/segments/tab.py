"""The Segments tab: cut a picture into masks, name them, let the names spread, and answer for the unsure ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.segments.registry import Segmenter, segmenters
from core.segments.sam.checkpoints import COMPACT, PUBLISHED
from dashboard.controls import control, title
from dashboard.page import Page
from dashboard.segments.actions import FORMS, OWN, PAGE, WHOLE, Actions
from dashboard.segments.jobs import SPEC, WORDS, Jobs
from dashboard.theme import STATIC

PICK = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (button) trigger('act', {...button.dataset});
});
element.addEventListener('keydown', (event) => {
  const name = event.target.matches('input[data-key]') && event.key === 'Enter' ? event.target.value.trim() : '';
  if (name) trigger('act', {...event.target.dataset, do: 'answer', how: 'correct', name});
});
// events: 'act'
"""
DESK = """
window.satchelSegments(element, trigger);
// events: 'act'
"""


@dataclass
class JobLine:
    """Beside the buttons that start something long: how it goes, and an end to it."""

    stop: gr.Button
    status: gr.HTML


@dataclass
class Widgets:
    """The components that handlers read and write."""

    on: gr.Radio
    progress: gr.HTML
    strip: gr.HTML
    picture: gr.HTML
    masks: gr.HTML
    state: gr.HTML
    desk: gr.HTML
    sam: gr.Dropdown
    cutter: gr.Radio
    whole: gr.Radio
    cut: gr.Button
    propose: gr.Button
    review: gr.Button
    cutting: JobLine
    naming: JobLine
    questions: gr.HTML
    form: gr.Dropdown
    export: gr.Button
    file: gr.DownloadButton
    export_status: gr.HTML
    boxes: dict[str, gr.Column]
    controls: dict[tuple[str, str], Any]  # by (segmenter, parameter, SPEC or WORDS)

    def shown(self) -> list[Any]:
        """What may change with any event."""
        lines = (part for line in (self.cutting, self.naming) for part in (line.stop, line.status))
        return [self.on, self.progress, self.strip, self.picture, self.masks, self.state, self.questions, *lines]


def build(page: Page) -> None:
    """Lay the tab out and wire it."""
    with gr.Column(elem_id="segments"):
        widgets = _layout(page)
    _wire(page, widgets)


def _layout(page: Page) -> Widgets:
    bare: dict[str, Any] = {"show_label": False, "container": False}
    with gr.Row(elem_classes="sheet"):
        with gr.Column(scale=2, min_width=230, elem_classes="area"):
            title("Pictures")
            on = gr.Radio(
                [OWN, PAGE], value=OWN if page.given else PAGE, visible=page.given is not None,
                elem_id="segments-on", **bare,
            )  # fmt: skip
            progress = gr.HTML(elem_id="segments-progress")
            strip = gr.HTML(js_on_load=PICK, elem_id="segments-strip")
            title("Take them along")
            with gr.Row(elem_classes="buttons"):
                form = gr.Dropdown(
                    list(FORMS), value=next(iter(FORMS)), label="Form", elem_id="segments-form", min_width=120, **bare
                )
                export = gr.Button("Export", size="md", elem_id="segments-export", min_width=80, scale=0)
            file = gr.DownloadButton("Download", visible=False, size="md", elem_id="segments-file")
            export_status = gr.HTML(elem_id="segments-export-status", elem_classes="job-status")
        with gr.Column(scale=9, min_width=320, elem_classes="area"):
            desk = gr.HTML(
                html_template=(STATIC / "desk.html").read_text(encoding="utf-8"),
                js_on_load=DESK,
                elem_id="segments-desk",
            )
            picture = gr.HTML(elem_id="segments-picture", elem_classes="holder")
            masks = gr.HTML(elem_id="segments-masks", elem_classes="holder")
            state = gr.HTML(elem_id="segments-state", elem_classes="holder")
    with gr.Row(elem_classes="sheet"):
        with gr.Column(scale=5, min_width=300, elem_classes="area"):
            title("Cut automatically")
            known = segmenters()
            first = next(iter(known))
            with gr.Row(elem_classes="fields"):
                cutter = gr.Radio(
                    [(one.title, name) for name, one in known.items()],
                    value=first,
                    label="Segmenter",
                    elem_id="segments-cutter",
                    **bare,
                )
            sam = gr.Dropdown(
                [("compact: small, made for the demo", COMPACT)]
                + [(f"{name}: {one.gigabytes} GB, downloaded once", name) for name, one in PUBLISHED.items()],
                value=COMPACT, allow_custom_value=True, label="SAM", elem_id="segments-sam", interactive=True,
                info="for clicks too; where the small one is unsure, regions by colour and edges stand in",
            )  # fmt: skip
            boxes, controls = {}, {}
            for name, segmenter in known.items():
                with gr.Column(visible=name == first, min_width=0, elem_classes="explainer") as boxes[name]:
                    _controls(name, segmenter, controls)
            with gr.Row(elem_classes="buttons"):
                whole = gr.Radio(list(WHOLE), value=WHOLE[0], label="Cut", elem_id="segments-whole", **bare)
                cut = gr.Button("Cut", variant="primary", size="md", elem_id="segments-cut", min_width=90, scale=0)
                cutting = _job_line("cutting")
        with gr.Column(scale=7, min_width=300, elem_classes="area"):
            title("Let names spread")
            gr.HTML(
                "<p>Name the masks of a few pictures; then names are proposed for all others, and you answer for the "
                "least certain ones.</p>",
                elem_classes="note",
            )
            with gr.Row(elem_classes="buttons"):
                propose = gr.Button("Propose names", size="md", elem_id="segments-propose", min_width=130, scale=0)
                review = gr.Button("Review", size="md", elem_id="segments-review", min_width=90, scale=0)
                naming = _job_line("naming")
            questions = gr.HTML(js_on_load=PICK, elem_id="segments-questions")
    return Widgets(
        on, progress, strip, picture, masks, state, desk, sam, cutter, whole, cut, propose, review,
        cutting, naming, questions, form, export, file, export_status, boxes, controls,
    )  # fmt: skip


def _job_line(name: str) -> JobLine:
    stop = gr.Button("Stop", size="md", elem_id=f"{name}-stop", interactive=False, min_width=70, scale=0)
    return JobLine(stop, gr.HTML(elem_id=f"{name}-status", elem_classes="job-status"))


def _controls(name: str, segmenter: Segmenter, controls: dict[tuple[str, str], Any]) -> None:
    """What one segmenter can be told: which model, what to look for, and its parameters."""
    named = [spec for spec in segmenter.specs if not set(spec) & set("@/") and spec != "DIR"]
    if segmenter.family == "concepts":
        controls[name, WORDS] = gr.Textbox(label="Words", placeholder="beak, watermark, sky", elem_id=f"{name}-words")
    if segmenter.specs and name != "sam":
        controls[name, SPEC] = gr.Dropdown(
            named or [segmenter.spec], value=segmenter.spec or named[0], allow_custom_value=True, label="Model",
            info=f"or {' or '.join(spec for spec in segmenter.specs if spec not in named)}", interactive=True,
            elem_id=f"{name}-model",
        )  # fmt: skip
    with gr.Accordion("Parameters", open=False, elem_id=f"parameters-{name}"):
        for spec in segmenter.parameters.specs():
            controls[name, spec.name] = control(name, spec)


def _wire(page: Page, w: Widgets) -> None:
    act, jobs = Actions(page, w), Jobs(page, w)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    shared: dict[str, Any] = {**quiet, "concurrency_limit": None}
    every: dict[str, Any] = {**shared, "trigger_mode": "multiple"}  # no click is lost; they wait for one another
    page.opened.change(act.enter, [page.key], w.shown(), **shared)
    page.data.change(act.enter, [page.key], w.shown(), **shared)
    # pictures may have been added meanwhile
    page.tabs["Segments"].select(act.refresh, [page.key, w.on], w.shown(), **shared)
    w.on.input(act.open, [page.key, w.on], w.shown(), **shared)
    for component in (w.desk, w.strip, w.questions):
        component.act(act.act, [page.key, w.on, w.sam], w.shown(), **every)
    w.cutter.input(act.choose_cutter, [w.cutter], list(w.boxes.values()), **shared)
    loading: dict[str, Any] = {**shared, "show_progress": "minimal", "trigger_mode": "always_last"}
    sliders = [field for (owner, _), field in w.controls.items() if owner == "sam"]
    w.sam.change(jobs.load, [w.sam], [w.cutting.status, *sliders], **loading)
    settings = [page.key, w.on, w.sam, w.cutter, w.whole, *w.controls.values()]
    w.cut.click(jobs.cut, settings, w.shown(), **shared)
    w.propose.click(jobs.propose, [page.key, w.on], w.shown(), **shared)
    w.review.click(jobs.review, [page.key, w.on], w.shown(), **shared)
    for line in (w.cutting, w.naming):
        line.stop.click(jobs.stop(line), [page.key, w.on], [line.stop, line.status], queue=False, **quiet)
    w.export.click(act.export, [page.key, w.on, w.form], [w.file, w.export_status], **shared)
