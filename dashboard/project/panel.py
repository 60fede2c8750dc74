"""Under the header, folded: bring a model, bring pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from core.errors import UserError
from core.preprocessing import RESAMPLING
from dashboard.controls import problem, title
from dashboard.page import Page
from dashboard.project.choosing import (
    architecture_of,
    bring_model,
    bring_pictures,
    first_check,
)
from dashboard.project.data_sets import mine
from dashboard.project.own_models import SUFFIXES
from dashboard.stated import in_words

log = logging.getLogger("satchel")

SHARED = "This page is open to others, so it takes no weights; start Satchel on your own machine to bring a model."
Updates = dict[Any, Any]


@dataclass
class Widgets:
    """The components that handlers read and write."""

    weights: gr.File
    architecture: gr.Dropdown
    labels: gr.Textbox
    mean: gr.Textbox
    std: gr.Textbox
    size: gr.Textbox
    crop: gr.Textbox
    interpolation: gr.Dropdown
    use_model: gr.Button
    model_status: gr.HTML
    files: gr.File
    name: gr.Textbox
    folder: gr.Textbox
    use_data: gr.Button
    data_status: gr.HTML

    @property
    def prepared(self) -> list[Any]:
        return [self.mean, self.std, self.size, self.crop, self.interpolation]


def build(page: Page, spec: gr.Dropdown, source: gr.Dropdown) -> None:
    """Lay it out and wire it.

    Args:
        spec, source: the header's lists of models and data sets, which take what was brought.
    """
    with gr.Accordion("Your own model and pictures", open=False, elem_id="own") as fold:  # noqa: SIM117
        with gr.Row(elem_classes="sheet"):
            with gr.Column(scale=7, min_width=300, elem_classes="area"):
                model = _model_part(page)
            with gr.Column(scale=5, min_width=300, elem_classes="area"):
                data = _data_part()
    _wire(page, Widgets(*model, *data), fold, spec, source)


def _model_part(page: Page) -> list[Any]:
    title("Your model")
    takes = not page.shared
    if page.shared:
        gr.HTML(f'<p class="note">{SHARED}</p>')
    with gr.Row(elem_classes="fields"):
        weights = gr.File(
            label="File of weights", file_types=list(SUFFIXES), elem_id="own-weights", height=92, scale=3,
            min_width=220, visible=takes, show_label=False, elem_classes="drop weights",
        )  # fmt: skip
        with gr.Column(scale=4, min_width=220):
            architecture = gr.Dropdown(
                [spec for _, spec in page.classifiers.choices() if spec.startswith(("torchvision:", "timm:"))],
                value=None, allow_custom_value=True, label="Architecture", info="Type to search; any of torchvision's "
                "or timm's names", elem_id="own-architecture", interactive=True, visible=takes,
            )  # fmt: skip
    with gr.Row(elem_classes="fields"):
        labels = gr.Textbox(
            label="Class names", info="One a line, in the model's order; empty: as the file says", lines=2, max_lines=6,
            elem_id="own-labels", interactive=True, visible=takes,
        )  # fmt: skip
    with gr.Row(elem_classes="fields prepared"):
        fields: dict[str, Any] = {"interactive": True, "min_width": 110, "visible": takes, "max_lines": 1}
        mean = gr.Textbox(label="Mean", elem_id="own-mean", **fields)
        std = gr.Textbox(label="Standard deviation", elem_id="own-std", **fields)
        size = gr.Textbox(label="Size", elem_id="own-size", **fields)
        crop = gr.Textbox(label="Crop", elem_id="own-crop", **fields)
        interpolation = gr.Dropdown(
            [("the model's", ""), *((name, name) for name in RESAMPLING)], value="", label="Interpolation",
            elem_id="own-interpolation", interactive=True, min_width=110, visible=takes,
        )  # fmt: skip
    with gr.Row(elem_classes="buttons"):
        use = gr.Button("Use this model", size="md", elem_id="own-use-model", min_width=140, scale=0, visible=takes)
        status = gr.HTML(elem_id="own-model-status", elem_classes="job-status")
    return [weights, architecture, labels, mean, std, size, crop, interpolation, use, status]


def _data_part() -> list[Any]:
    title("Your pictures")
    files = gr.File(
        label="Pictures", file_count="multiple", elem_id="own-files", height=92, show_label=False,
        elem_classes="drop own-files",
    )  # fmt: skip
    gr.HTML(
        "<p>A zip with one folder a class, or with <code>manifest.csv</code>; masks, COCO or CVAT files in it are "
        "found. Or pictures, one by one.</p>",
        elem_classes="note",
    )
    with gr.Row(elem_classes="fields"):
        name = gr.Textbox(
            label="Call them", placeholder="the zip's name", elem_id="own-name", max_lines=1, min_width=120,
            interactive=True,
        )  # fmt: skip
        folder = gr.Textbox(
            label="Or a folder on this machine", placeholder="/data/my_pictures", elem_id="own-folder", max_lines=1,
            min_width=180, interactive=True,
        )  # fmt: skip
    with gr.Row(elem_classes="buttons"):
        use = gr.Button("Use these pictures", size="md", elem_id="own-use-data", min_width=160, scale=0)
        status = gr.HTML(elem_id="own-data-status", elem_classes="job-status")
    return [files, name, folder, use, status]


def _wire(page: Page, w: Widgets, fold: gr.Accordion, spec: gr.Dropdown, source: gr.Dropdown) -> None:
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}

    def shown(key: str) -> Updates:
        """How the chosen model's pictures are prepared now, in grey."""
        try:
            classifier = page.classifiers.get(page.sessions.get(key).spec).classifier
        except UserError:
            return {}
        words = in_words(classifier.preprocessing)
        names = ("mean", "std", "size", "crop")
        return {getattr(w, name): gr.update(placeholder=words[name]) for name in names}

    def guess(file: str | None) -> Any:
        found = architecture_of(Path(file).name) if file else None
        return gr.update(value=found) if found else gr.skip()

    def use_model(key: str, file: str | None, *said: Any) -> Iterator[Updates]:
        session = page.sessions.get(key)
        architecture, labels, *prepared = said

        def take() -> tuple[str, Updates]:
            chosen = bring_model(page, session, Path(file) if file else None, architecture, labels or "", prepared)
            session.spec = session.wanted = chosen
            listed = gr.update(choices=page.classifiers.choices(), value=chosen)
            told = first_check(page, session) or "It is the model of every tab now."
            return told, {spec: listed, page.model: chosen, w.weights: None}

        yield from _taken(w.model_status, "Loading it in a process of its own", take)

    def use_data(key: str, files: Sequence[str] | None, name: str | None, folder: str | None) -> Iterator[Updates]:
        session = page.sessions.get(key)

        def take() -> tuple[str, Updates]:
            chosen = bring_pictures(page, session, [Path(file) for file in files or ()], name or "", folder or "")
            listed = gr.update(choices=page.data_sets.choices(mine(session)), value=chosen)
            told = first_check(page, session) or "They are the pictures of every tab now."
            return told, {source: listed, page.data: chosen, w.files: None}

        yield from _taken(w.data_status, "Opening them", take)

    fields = [w.mean, w.std, w.size, w.crop]
    fold.expand(shown, page.key, fields, **quiet)
    page.model.change(shown, page.key, fields, **quiet)
    w.weights.upload(guess, w.weights, w.architecture, **quiet)
    asked = [page.key, w.weights, w.architecture, w.labels, *w.prepared]
    w.use_model.click(use_model, asked, [w.model_status, spec, page.model, w.weights], **quiet)
    w.use_data.click(
        use_data, [page.key, w.files, w.name, w.folder], [w.data_status, source, page.data, w.files], **quiet
    )


def _taken(status: gr.HTML, busy: str, take: Callable[[], tuple[str, Updates]]) -> Iterator[Updates]:
    """Take what was brought: what is told of it stands beside the button, or what is wrong with it."""
    yield {status: f'<span class="busy">{busy}</span>'}
    try:
        told, updates = take()
    except UserError as error:
        yield {status: problem(error)}
    except Exception:  # a defect must leave a page that says so
        log.exception("what was brought could not be taken")
        yield {status: problem("That failed; the program's log says why.")}
    else:
        yield {status: escape(told), **updates}
