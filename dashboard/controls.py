"""Components that several tabs make alike."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import gradio as gr

from core.parameters import ParameterSpec

WIDE = 64  # times its lowest: a slider's handle moves by doubling (static/keys.js); between, one types


def title(text: str) -> None:
    """The heading of an area."""
    gr.HTML(f"<h2>{text}</h2>", elem_classes="title")


def problem(what: Exception | str) -> str:
    """A sentence about what went wrong, as it stands beside what it is about."""
    said = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(str(what)))
    return f'<span class="problem" role="alert">{said}</span>'


def folder_chooser(name: str, element: str, hint: str) -> tuple[gr.Dropdown, gr.HTML]:
    """A row of a word, a list of folders into which another one can be typed, and what there is to say of it.

    Args:
        element: of whose ids these are: `{element}-word`, `{element}-folder`, `{element}-message`.
    """
    gr.HTML(name, elem_id=f"{element}-word", elem_classes="word")
    chooser = gr.Dropdown(
        [], allow_custom_value=True, label=name, elem_id=f"{element}-folder", elem_classes="folder", min_width=220,
        interactive=True, show_label=False, container=False,
    )  # fmt: skip
    return chooser, gr.HTML(hint, elem_id=f"{element}-message", elem_classes="about")


def control(owner: str, spec: ParameterSpec) -> Any:
    """A slider, a choice or a tick box, from what the parameter says of itself."""
    label, element = spec.label.capitalize(), f"{owner}-{spec.name}"
    shared: dict[str, Any] = {"label": label, "info": spec.help, "elem_id": element}
    if spec.kind == "choice":
        return gr.Dropdown(list(spec.choices or ()), value=spec.default, interactive=True, **shared)
    if spec.kind == "bool":
        return gr.Checkbox(spec.default, interactive=True, **shared)
    if spec.low is None or spec.high is None:
        return gr.Number(spec.default, interactive=True, **shared)
    wide = spec.kind == "int" and spec.step == 1 and spec.low > 0 and spec.high >= WIDE * spec.low
    classes = ["powers"] if wide else None
    return gr.Slider(
        spec.low, spec.high, spec.default, step=spec.step, interactive=True, elem_classes=classes, **shared
    )  # fmt: skip
