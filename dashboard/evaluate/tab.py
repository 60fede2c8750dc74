"""The Evaluate tab: which explainer to trust on these pictures; a finished evaluation, or one run here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from core.metrics.metric import metrics
from dashboard.controls import folder_chooser, title
from dashboard.evaluate.actions import EXAMPLES, HINT, UPLOADS, Actions
from dashboard.page import Page


@dataclass
class Widgets:
    """The components that handlers read and write."""

    chooser: gr.Dropdown
    message: gr.HTML
    subject: gr.HTML  # says when the evaluation is not about the model that is chosen
    answer: gr.HTML
    pictures: gr.Radio
    explainers: gr.CheckboxGroup
    more_explainers: gr.Textbox
    metrics: gr.CheckboxGroup
    more_metrics: gr.Textbox
    start: gr.Button
    stop: gr.Button
    status: gr.HTML
    rest: gr.Column
    board: gr.HTML
    table: gr.DownloadButton
    scatter: gr.HTML
    sanity: gr.HTML
    warnings: gr.HTML

    def all(self) -> list[Any]:
        return list(vars(self).values())


def build(page: Page) -> None:
    """Lay the tab out and wire it."""
    with gr.Column(elem_id="evaluate"):
        widgets = _layout()
    _wire(page, widgets, Actions(page, widgets))


def _layout() -> Widgets:
    bare: dict[str, Any] = {"show_label": False, "container": False}
    with gr.Row(elem_classes="reports"):
        chooser, message = folder_chooser("Evaluation", "evaluation", HINT)
    with gr.Row(elem_classes="sheet"):
        with gr.Column(scale=5, min_width=300, elem_classes="area"):
            subject = gr.HTML(elem_id="evaluation-subject")
            answer = gr.HTML(elem_id="evaluation-answer")
        with gr.Column(scale=7, min_width=300, elem_classes="area"):
            title("Evaluate on")
            pictures = gr.Radio(
                [EXAMPLES, UPLOADS], value=EXAMPLES, label="Pictures", elem_id="evaluate-pictures", **bare
            )
            title("Explainers")
            chosen = gr.CheckboxGroup([], label="Explainers", elem_id="evaluate-explainers", **bare)
            more = gr.Textbox(
                label="More explainers",
                placeholder="And with parameters: smoothgrad:samples=100, captum:Saliency",
                max_lines=1, elem_id="evaluate-more-explainers", **bare,
            )  # fmt: skip
            title("Metrics")
            asked = gr.CheckboxGroup(
                [(_metric_title(name), name) for name in metrics()], value=_ticked(),
                elem_id="evaluate-metrics", **bare,
            )  # fmt: skip
            others = gr.Textbox(
                label="More metrics",
                placeholder="And with parameters: insertion:fill=blur",
                max_lines=1,
                elem_id="evaluate-more-metrics",
                **bare,
            )
            with gr.Row(elem_classes="buttons"):
                start = gr.Button(
                    "Evaluate", variant="primary", size="md", elem_id="evaluate-start", min_width=120, scale=0
                )
                stop = gr.Button("Stop", size="md", elem_id="evaluate-stop", interactive=False, min_width=80, scale=0)
                status = gr.HTML(elem_id="evaluate-status")
    with gr.Column(visible=False, elem_classes="rest") as rest:
        with gr.Row(elem_classes="sheet"), gr.Column(elem_classes="area"):
            title("Explainers by metrics")
            board = gr.HTML(elem_id="leaderboard")
            table = gr.DownloadButton(
                "leaderboard.csv", size="sm", elem_id="leaderboard-csv", visible=False, min_width=120, scale=0
            )
        with gr.Row(elem_classes="sheet"):
            with gr.Column(scale=7, min_width=300, elem_classes="area"):
                title("Faithful for what time")
                scatter = gr.HTML(elem_id="scatter")
            with gr.Column(scale=5, min_width=300, elem_classes="area"):
                title("Does the map depend on the model?")
                sanity = gr.HTML(elem_id="sanity")
                title("Can the metrics be trusted here?")
                warnings = gr.HTML(elem_id="evaluation-warnings")
    return Widgets(
        chooser, message, subject, answer, pictures, chosen, more, asked, others, start, stop, status, rest, board,
        table, scatter, sanity, warnings,
    )  # fmt: skip


def _ticked() -> list[str]:
    """Names of what is usual and answered within seconds a picture; the slow ones are for who asks."""
    return [name for name, metric in metrics().items() if metric.usual and not metric.slow]


def _metric_title(name: str) -> str:
    metric = metrics()[name]
    notes = [note for note, said in (("needs masks", metric.needs_mask), ("slow", metric.slow)) if said]
    return f"{metric.title} ({', '.join(notes)})" if notes else metric.title


def _wire(page: Page, w: Widgets, act: Actions) -> None:
    shared: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    page.opened.change(act.open, [page.key], w.all(), **shared)
    page.model.change(act.model_changed, [page.key], w.all(), **shared)
    asked = [w.pictures, w.explainers, w.metrics, w.more_explainers, w.more_metrics]
    w.start.click(act.run, [page.key, *asked], w.all(), **shared)
    w.chooser.input(act.choose, [page.key, w.chooser], w.all(), **shared)
    w.stop.click(
        act.stop, [page.key], [w.stop, w.status], queue=False, show_progress="hidden", api_visibility="private"
    )
