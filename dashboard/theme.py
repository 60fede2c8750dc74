"""The look: Gradio's own variables set to one calm scheme; what they cannot say is in static/satchel.css."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils.fonts import LocalFont

from dashboard.palette import colour_rules

STATIC = Path(__file__).parent / "static"

# (light, dark)
INK = ("#1b1e22", "#e7e9eb")
QUIET = ("#5c646e", "#9ba4ae")
LINE = ("#dfe1e0", "#2c3136")
PAPER = ("#ffffff", "#191c1f")
GROUND = ("#f5f5f3", "#121416")
ACCENT = ("#0b6370", "#58b8c6")
ACCENT_STRONG = ("#084e59", "#7accd8")
ON_ACCENT = ("#ffffff", "#0d1b1e")


def theme() -> gr.themes.Base:
    """Built on Gradio's base theme; the fonts (IBM Plex, Open Font License) are served by Gradio itself."""
    base = gr.themes.Base(
        font=(LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
        font_mono=(LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"),
        radius_size=gr.themes.sizes.radius_sm,
        spacing_size=gr.themes.sizes.spacing_sm,
        text_size=gr.themes.sizes.text_sm,
    )
    pairs = {
        "body_background_fill": GROUND,
        "background_fill_primary": PAPER,
        "background_fill_secondary": GROUND,
        "block_background_fill": PAPER,
        "body_text_color": INK,
        "body_text_color_subdued": QUIET,
        "block_label_text_color": QUIET,
        "block_title_text_color": QUIET,
        "block_info_text_color": QUIET,
        "border_color_primary": LINE,
        "block_border_color": LINE,
        "input_border_color": LINE,
        "input_background_fill": PAPER,
        "border_color_accent": ACCENT,
        "color_accent_soft": GROUND,
        "color_accent": ACCENT,
        "slider_color": ACCENT,
        "checkbox_background_color": PAPER,
        "checkbox_background_color_selected": ACCENT,
        "checkbox_border_color": QUIET,
        "checkbox_border_color_selected": ACCENT,
        "checkbox_label_background_fill": PAPER,
        "checkbox_label_background_fill_selected": PAPER,
        "checkbox_label_text_color": INK,
        "checkbox_label_text_color_selected": INK,
        "checkbox_label_border_color": PAPER,
        "button_primary_background_fill": ACCENT,
        "button_primary_background_fill_hover": ACCENT_STRONG,
        "button_primary_text_color": ON_ACCENT,
        "button_secondary_background_fill": PAPER,
        "button_secondary_background_fill_hover": GROUND,
        "button_secondary_text_color": INK,
        "button_secondary_border_color": LINE,
    }
    values = {}
    for name, (light, dark) in pairs.items():
        values[name] = light
        if name != "color_accent":  # the one variable without a dark twin; the style sheet sets it
            values[f"{name}_dark"] = dark
    return base.set(
        **values,
        block_border_width="0px",
        block_shadow="none",
        input_border_width="1px",
        button_primary_border_color="transparent",
    )


def style_sheet() -> str:
    """All CSS that goes beyond the theme."""
    pairs = {
        "ink": INK, "quiet": QUIET, "line": LINE, "paper": PAPER, "ground": GROUND, "accent": ACCENT,
    }  # fmt: skip
    light = "".join(f"--{name}:{pair[0]};" for name, pair in pairs.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in pairs.items())
    variables = f":root{{{light}}}\n.dark{{{dark}--color-accent:{ACCENT[1]};}}\n"
    sheets = "".join(
        (STATIC / name).read_text(encoding="utf-8")
        for name in ("satchel.css", "explain.css", "segments.css", "report.css", "evaluate.css", "train.css")
    )
    return variables + colour_rules() + sheets


def script() -> str:
    """For the page's head: pasting pictures, keys, the address, maps under the pointer and enlarged, masks."""
    names = ("page.js", "keys.js", "address.js", "maps.js", "viewer.js", "painting.js", "segments.js")
    return "".join(f"<script>{(STATIC / name).read_text(encoding='utf-8')}</script>" for name in names)
