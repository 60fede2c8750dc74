"""The Explain tab: pictures, prediction, explainers side by side, and what the evidence lies on."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from core.overlays import OPACITY
from dashboard.controls import control, title
from dashboard.explain import labels, taking
from dashboard.explain.actions import Actions
from dashboard.explain.asked import MOST_SEED
from dashboard.explain.drawing import chooser, fold_word
from dashboard.explain.gallery import LOOK, OFFER, ORDERS, Gallery
from dashboard.page import Page
from dashboard.palette import FAMILY_TITLES, families, marker, ordered

PICK = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-id]');
  if (button) trigger(button.dataset.act, {id: button.dataset.id});
});
// events: 'pick' 'remove'
"""
# a part is clicked in the list or on the picture, and lit in both
# Every map lies over the same picture, which comes once.
LEND = """
const lend = () => {
  const picture = element.querySelector('img');
  document.documentElement.style.setProperty('--picture', picture ? `url("${picture.src}")` : 'none');
};
lend();
watch('value', lend);
"""
FADE = "(opacity) => { document.documentElement.style.setProperty('--opacity', opacity); return opacity; }"
# all the browser's own (static/maps.js)
TOOLS = """
<label>Hide below <input type="range" name="cut" min="0" max="100" value="0"><output>0</output></label>
<label title="or with Ctrl and the wheel over a map; drag to move">Zoom
<input type="range" name="zoom" min="0" max="4" step="0.05" value="0"><output>1.0x</output></label>
"""
SWITCH = """
element.addEventListener('click', (event) => {
  const part = event.target.closest('[data-act]');
  if (part) trigger(part.dataset.act, {id: part.dataset.id});
});
element.addEventListener('mouseover', (event) => {
  const part = event.target.closest('[data-act=part]')?.dataset.id;
  for (const one of element.querySelectorAll('[data-act=part]')) one.classList.toggle('lit', one.dataset.id === part);
});
// events: 'part' 'by'
"""

WHY = """
element.addEventListener('click', (event) => {
  const name = event.target.closest('[data-class]');
  if (name) trigger('why', {index: name.dataset.class});
});
// events: 'why'
"""


@dataclass
class Widgets:
    """The components that handlers read and write."""

    ready: gr.State  # True once the session's picture and controls are on the page
    upload: gr.File
    strip: gr.HTML
    prediction: gr.HTML
    label: gr.Dropdown  # what a dropped picture truly shows
    families: dict[str, gr.CheckboxGroup]  # the chosen explainers, family by family
    unfolded: gr.State  # True: every explainer is offered, not only the defaults and the chosen ones
    fold: gr.Button
    target: gr.Dropdown
    contrast: gr.Dropdown
    seed: gr.Number
    explain: gr.Button
    stop: gr.Button
    status: gr.HTML
    opacity: gr.Slider
    linked: gr.Checkbox
    scale_note: gr.HTML
    finding: gr.HTML
    picture: gr.HTML
    evidence: gr.HTML
    gallery_run: gr.Button
    order: gr.Dropdown  # of the rows
    gallery_note: gr.HTML
    gallery: gr.HTML  # all pictures in rows
    masks_area: gr.Row  # of what masks keep and leave out, where a map is a mask
    masks: gr.HTML
    sum_area: gr.Row  # of the trained explainer as a classifier, where there is one
    sum: gr.HTML
    taken: taking.Widgets
    columns: dict[str, gr.Column]
    panels: dict[str, gr.HTML]
    controls: dict[tuple[str, str], Any]  # by (explainer, parameter)

    def inputs(self) -> list[Any]:
        """What handlers get after the visitor's key, in this order."""
        fields = [self.unfolded, self.target, self.contrast, self.seed, self.linked]
        return [*fields, *self.families.values(), *self.controls.values()]


def build(page: Page) -> None:
    """Lay the tab out and wire it."""
    widgets = _layout()
    _wire(page, widgets, Actions(page, widgets))


def _layout() -> Widgets:
    known = ordered()
    ready = gr.State(False)
    with gr.Row(elem_classes="sheet"):
        with gr.Column(scale=3, min_width=260, elem_classes="area"):
            title("Pictures")
            upload = gr.File(
                file_count="multiple", label="Drop, paste or choose pictures", show_label=False, height=44,
                elem_id="upload", elem_classes="drop", interactive=True,
            )  # fmt: skip
            strip = gr.HTML(js_on_load=PICK, elem_id="strip")
        with gr.Column(scale=3, min_width=260, elem_classes="area"):
            title("Prediction")
            prediction = gr.HTML(js_on_load=WHY, elem_id="prediction")
            label = labels.layout()
        with gr.Column(scale=6, min_width=320, elem_classes="area run"):
            title("Explain it")
            # what is asked and the button come first: in five stops of the keyboard from the pictures
            with gr.Row(elem_classes="fields"):
                target = gr.Dropdown([], label="Why", elem_id="target", min_width=140, scale=4)
                contrast = gr.Dropdown([], label="and not", elem_id="contrast", min_width=140, scale=4)
                with gr.Row(elem_classes="buttons", scale=0):
                    explain = gr.Button(
                        "Explain", variant="primary", size="md", elem_id="explain", min_width=100, scale=0
                    )  # fmt: skip
                    stop = gr.Button("Stop", size="md", elem_id="stop", interactive=False, min_width=70, scale=0)
            with gr.Row(elem_classes="after"):
                status = gr.HTML(elem_id="status")
                seed = gr.Number(
                    0, label="Seed", elem_id="seed", min_width=130, scale=0, minimum=0, maximum=MOST_SEED, step=1
                )
            unfolded = gr.State(False)
            defaults = tuple(name for name, e in known.items() if e.default)
            anywhere = tuple(name for name, e in known.items() if not e.needs_weights)
            with gr.Column(elem_id="explainers"):
                groups = {
                    family: gr.CheckboxGroup(label=FAMILY_TITLES[family], elem_id=f"family-{family}", **properties)
                    for family, properties in chooser(anywhere, defaults, False).items()
                }
                with gr.Row(elem_classes="more"):
                    fold = gr.Button(fold_word(anywhere, defaults, False), elem_id="fold", size="sm", scale=0)
                    gr.HTML(_what_they_do(), elem_classes="help")
    with gr.Row(elem_classes="sheet"), gr.Column(elem_classes="area"):
        finding = gr.HTML(elem_id="finding")
        with gr.Row(elem_classes="toolbar"):
            opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity", elem_id="opacity", min_width=180, scale=0)
            linked = gr.Checkbox(True, label="One scale for all maps", elem_id="linked", min_width=180, scale=0)
            gr.HTML(TOOLS, elem_classes="tools")
            scale_note = gr.HTML(elem_classes="note", elem_id="scale-note")
        with gr.Row(elem_classes="maps"):
            with gr.Column(min_width=0, elem_classes="explainer"):
                picture = gr.HTML(elem_id="picture", js_on_load=LEND)
            columns, panels, controls = {}, {}, {}
            for name, explainer in known.items():
                with gr.Column(visible=explainer.default, min_width=0, elem_classes="explainer") as columns[name]:
                    panels[name] = gr.HTML()
                    specs = explainer.parameters.specs()
                    if specs:
                        with gr.Accordion("Parameters", open=False, elem_id=f"parameters-{name}"):
                            for spec in specs:
                                controls[name, spec.name] = control(name, spec)
            with gr.Column(min_width=0, elem_classes="explainer lies-on"):
                title("What the evidence lies on")
                evidence = gr.HTML(elem_id="evidence")
        taken = taking.layout()
    with gr.Row(elem_classes="sheet"), gr.Column(elem_classes="area"):
        title("All pictures")
        with gr.Row(elem_classes="gallery-bar"):
            gallery_run = gr.Button(LOOK, size="md", elem_id="gallery-run", min_width=120, scale=0)
            order = gr.Dropdown(
                list(ORDERS), value=ORDERS[0], label="Order", show_label=False, container=False,
                elem_id="gallery-order", min_width=150, scale=0, interactive=True,
            )  # fmt: skip
            gallery_note = gr.HTML(OFFER, elem_id="gallery-note", elem_classes="note")
        gallery = gr.HTML(js_on_load=PICK, elem_id="gallery")
    with gr.Row(visible=False, elem_classes="sheet") as masks_area, gr.Column(elem_classes="area"):
        title("What the masks keep")
        kept = gr.HTML(elem_id="masks")
    with gr.Row(visible=False, elem_classes="sheet") as sum_area, gr.Column(elem_classes="area"):
        title("A sum that predicts")
        summed = gr.HTML(js_on_load=SWITCH, elem_id="sum")
    return Widgets(
        ready, upload, strip, prediction, label, groups, unfolded, fold, target, contrast, seed, explain, stop, status,
        opacity, linked, scale_note, finding, picture, evidence, gallery_run, order, gallery_note, gallery,
        masks_area, kept, sum_area, summed, taken, columns, panels,
        controls,
    )  # fmt: skip


def _what_they_do() -> str:
    lines = "".join(
        f'<li><i class="mark {marker(name)}"></i><b>{escape(e.title)}</b> {escape(e.summary)}</li>'
        for members in families().values()
        for name, e in members.items()
    )
    return f"<details><summary>What each one does</summary><ul>{lines}</ul></details>"


def _wire(page: Page, w: Widgets, act: Actions) -> None:
    settings = [page.key, *w.inputs()]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    # no limit: the device is shared by the runner's own lock, chunk by chunk
    shared: dict[str, Any] = {**quiet, "concurrency_limit": None}
    everything = [
        w.strip, w.prediction, w.label, w.unfolded, w.fold, *w.families.values(), w.target, w.contrast, w.seed,
        w.explain, w.stop, w.status, w.linked, w.scale_note, w.finding, w.picture, w.evidence,
        w.masks_area, w.masks, w.sum_area, w.sum, page.explained, *w.columns.values(), *w.panels.values(),
    ]  # fmt: skip
    opening = page.opened.change(act.open, settings, [w.ready, *everything, *w.controls.values()], **shared)
    # what changed is shown at once, and answered after that: a new answer does not wait for the one before to end
    answer: dict[str, Any] = {"trigger_mode": "multiple", **shared}
    for changed in (
        page.model.change(act.model_changed, settings, everything, **shared),
        page.data.change(act.data_changed, settings, everything, **shared),
        w.upload.upload(act.upload, [w.upload, *settings], [w.upload, *everything], **shared),
        w.strip.pick(act.pick, settings, everything, **answer),
        w.gallery.pick(act.pick, settings, everything, **answer),
        w.strip.remove(act.remove, settings, everything, **shared),
        w.prediction.why(act.why, settings, everything, **answer),
        w.target.input(act.aim, settings, everything, trigger_mode="always_last", **shared),
        w.contrast.input(act.aim, settings, everything, trigger_mode="always_last", **shared),
    ):
        changed.then(act.answer, settings, everything, **answer)
    page.strip = w.strip
    rows = Gallery(page, w, act.draw, act.read)
    shown, ordering = [w.gallery, w.gallery_run, w.gallery_note], [w.order, *settings]
    w.gallery_run.click(rows.look, ordering, shown, **answer)
    w.label.input(act.label, [w.label, *settings], everything, **shared).then(rows.show, settings, shown, **shared)
    w.order.input(rows.sort, ordering, shown, **shared)
    opening.then(rows.show, settings, shown, **shared)
    page.model.change(rows.show, settings, shown, **shared)
    page.data.change(rows.show, settings, shown, **shared)
    for listen in (opening.then, page.model.change, page.data.change, page.tabs["Explain"].select):
        listen(rows.offer, ordering, [w.order], **shared)
    taking.wire(page, w.taken, settings, act.draw, act.read)
    w.sum.part(act.switch, settings, [w.sum_area, w.sum], **shared)
    w.sum.by(act.by, settings, [w.sum_area, w.sum], **shared)
    offered = [w.unfolded, w.fold, *w.families.values()]
    w.fold.click(act.fold, settings, offered, **shared)
    ticked = [one.input for one in (*w.families.values(), w.linked)]
    gr.on(ticked, act.redraw, settings, everything, trigger_mode="always_last", **shared)
    gr.on([w.seed.submit, w.seed.blur], act.redraw, settings, everything, **shared)
    # the browser has picture and map apart, so that nobody need be asked
    w.opacity.change(None, [w.opacity], None, js=FADE, **quiet)
    page.tabs["Explain"].select(act.offer, [w.ready, *settings], offered, **shared)
    # names may have been given meanwhile
    page.tabs["Explain"].select(act.look, [w.ready, *settings], everything, **shared)
    w.explain.click(act.explain, settings, everything, **shared)
    opening.then(act.first_run, settings, everything, **shared)
    w.stop.click(act.stop, [page.key], [w.stop], queue=False, **quiet)
    moved: dict[str, list[Any]] = {}
    for (name, _), field in w.controls.items():
        moved.setdefault(name, []).append(field.release if isinstance(field, gr.Slider) else field.input)
    for name, moves in moved.items():  # one event for all of them: a browser looks at each event for each component
        # not one after the other: the newest value replaces the run of the one before
        gr.on(moves, act.retouch(name), settings, everything, trigger_mode="multiple", **shared)
