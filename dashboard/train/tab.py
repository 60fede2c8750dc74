"""The Train tab: an explainer that learns beside the model, watched while it does, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.learning import OPTIONS
from dashboard.controls import control, title
from dashboard.page import Page
from dashboard.train.actions import Actions
from dashboard.train.cards import TITLES

MAIN = {
    "salvage": ("epochs", "surrogate_epochs", "grid", "subsets", "sampler"),
    "masking": ("objective", "regime", "epochs", "examples_per_class"),
}
OWNERS = {"salvage": "train", "masking": "train-masking"}  # before the names of controls
USUAL = 400  # pictures
EVERY = 1.0  # seconds between two looks at what runs


@dataclass
class Widgets:
    """The components that handlers read and write."""

    timer: gr.Timer
    seen: gr.State  # which state of the training is on the page
    answer: gr.HTML
    kind: gr.Radio
    data: gr.Dropdown
    count: gr.Number
    options: dict[str, dict[str, Any]]  # by kind, by name
    groups: dict[str, gr.Column]
    start: gr.Button
    stop: gr.Button
    anew: gr.Button
    status: gr.HTML
    course: gr.Column
    progress: gr.HTML
    surrogate: gr.Plot
    explainer: gr.Plot
    balance: gr.Plot
    notes: gr.HTML
    trained: gr.Column
    cards: gr.HTML

    def inputs(self) -> list[Any]:
        """What is asked for, in this order."""
        own = [control for controls in self.options.values() for control in controls.values()]
        return [self.kind, self.data, self.count, *own]

    def all(self) -> list[Any]:
        alone = [one for name, one in vars(self).items() if name not in ("options", "groups")]
        return [*alone, *self.groups.values()]


def build(page: Page) -> None:
    """Lay the tab out and wire it."""
    with gr.Column(elem_id="train"):
        widgets = _layout(page)
    _wire(page, widgets, Actions(page, widgets))


def _layout(page: Page) -> Widgets:
    bare: dict[str, Any] = {"show_label": False, "container": False}
    timer, seen = gr.Timer(EVERY, active=False), gr.State("")
    options: dict[str, dict[str, Any]] = {}
    groups: dict[str, gr.Column] = {}
    with gr.Row(elem_classes="sheet"):
        with gr.Column(scale=5, min_width=300, elem_classes="area"):
            answer = gr.HTML(elem_id="train-answer")
        with gr.Column(scale=7, min_width=300, elem_classes="area settings"):
            title("Learn from")
            with gr.Row(elem_classes="fields"):
                data = gr.Dropdown(
                    page.data_sets.choices(), value=page.data_sets.start, allow_custom_value=True, label="Data set",
                    info="Labels are not needed", elem_id="train-data", scale=3, min_width=200, interactive=True,
                )  # fmt: skip
                count = gr.Number(
                    USUAL, label="Pictures", info="At most", minimum=2, step=1, elem_id="train-count", scale=1,
                    min_width=100, interactive=True,
                )  # fmt: skip
            kind = gr.Radio(
                [(TITLES[name], name) for name in OPTIONS], value=next(iter(OPTIONS)), label="Explainer",
                info="Salvage: what each part adds to each class. Masking: what the model needs to keep its answer",
                elem_id="train-kind", interactive=True,
            )  # fmt: skip
            for name in OPTIONS:
                with gr.Column(visible=name == kind.value, elem_classes="settings") as groups[name]:
                    options[name] = _options(name)
            with gr.Row(elem_classes="buttons"):
                start = gr.Button("Train", variant="primary", elem_id="train-start", min_width=120, scale=0)
                stop = gr.Button("Stop", elem_id="train-stop", interactive=False, min_width=80, scale=0)
                anew = gr.Button("Begin anew", elem_id="train-anew", visible=False, min_width=150, scale=0)
                status = gr.HTML(elem_id="train-status")
    with gr.Column(visible=False, elem_classes="rest") as course:  # noqa: SIM117
        with gr.Row(elem_classes="sheet"), gr.Column(elem_classes="area"):
            progress = gr.HTML(elem_id="train-progress")
            with gr.Row(elem_classes="curves"):
                surrogate = gr.Plot(elem_id="train-surrogate", elem_classes="chart", **bare)
                explainer = gr.Plot(elem_id="train-explainer", elem_classes="chart", **bare)
                balance = gr.Plot(elem_id="train-balance", elem_classes="chart", **bare)
            notes = gr.HTML(elem_id="train-notes")
    with gr.Column(visible=False, elem_classes="rest") as trained:  # noqa: SIM117
        with gr.Row(elem_classes="sheet"), gr.Column(elem_classes="area"):
            cards = gr.HTML(elem_id="train-cards")
    return Widgets(
        timer, seen, answer, kind, data, count, options, groups, start, stop, anew, status, course, progress, surrogate,
        explainer, balance, notes, trained, cards,
    )  # fmt: skip


def _options(kind: str) -> dict[str, Any]:
    """The controls of one kind, in the order of its options; the usual ones first, the others folded away."""
    specs, owner = {spec.name: spec for spec in OPTIONS[kind].specs()}, OWNERS[kind]
    made: dict[str, Any] = {}
    if "players" in specs:
        spec = specs["players"]
        made["players"] = gr.Radio(
            list(spec.choices or ()), value=spec.default, label="Players", info=spec.help, elem_id=f"{owner}-players",
            interactive=True,
        )  # fmt: skip
    with gr.Row(elem_classes="fields sliders"):
        for name in MAIN[kind]:
            made[name] = control(owner, specs[name])
    with gr.Accordion("All options", open=False, elem_id=f"{owner}-more"), gr.Row(elem_classes="fields sliders"):
        for name in specs:
            if name not in made:
                made[name] = control(owner, specs[name])
    return {name: made[name] for name in specs}


def _wire(page: Page, w: Widgets, act: Actions) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    shared: dict[str, Any] = {**quiet, "concurrency_limit": None}
    visitor = [page.key, page.dark]
    page.opened.change(act.open, visitor, [*w.all(), *w.inputs()[3:]], **shared)
    w.kind.input(act.choose, w.kind, list(w.groups.values()), queue=False, **quiet)
    page.model.change(act.look, visitor, w.all(), **shared)
    page.opened.change(act.offer, page.key, w.data, **shared)
    page.data.change(act.offer, page.key, w.data, **shared)
    page.tabs["Train"].select(act.look, visitor, w.all(), **shared)
    w.timer.tick(act.tick, [*visitor, w.seen], w.all(), **shared)
    w.start.click(act.start, [*visitor, *w.inputs()], w.all(), **shared)
    w.anew.click(act.anew, [*visitor, *w.inputs()], w.all(), **shared)
    w.stop.click(act.stop, None, [w.stop, w.status], queue=False, **quiet)
