"""One explainer's panel: its map over the picture, and what the map cost and is worth."""

from __future__ import annotations

from html import escape

from core.attribution import Attribution
from core.explainer import Explainer, get_explainer
from core.overlays import Scale, beyond, dim_outside, display_size, layer, shrunk
from dashboard.explain.convergence import convergence_plot, settled
from dashboard.explain.players import players_panel
from dashboard.overlays import grid, jpeg, legend, webp
from dashboard.palette import marker
from dashboard.pictures import View
from dashboard.plots import percent

FRAME_SIDE, LAYER_SIDE = 448, 512  # while a map is still changing, and when it is done


def map_panel(
    explainer: Explainer,
    view: View | None,
    attribution: Attribution | None,
    scale: Scale | None,
    *,
    running: bool,
    failed: str | None = None,
) -> str:
    """HTML of one panel in any of its states: empty, waiting, running, finished, stopped, flat, broken, failed."""
    state = _state(attribution, running, failed)
    picture, over = "", ""
    if view is not None:
        picture = _picture(view, attribution, scale, running)
    if failed:
        over = f'<p class="over problem">{escape(failed)}</p>'
    elif attribution is None:
        over = f'<p class="over">{"Starting" if running else "Press Explain to make this map."}</p>'
    elif attribution.condition == "flat":
        over = "<p class='over'>No evidence: this map is the same everywhere.</p>"
    elif attribution.condition == "broken":
        over = "<p class='over problem'>This map holds values that are not numbers; it cannot be shown.</p>"
    unfinished = (
        ' <span class="unfinished">unfinished</span>' if attribution is not None and attribution.partial else ""
    )
    return (
        f'<figure class="map {state}" data-testid="map-{explainer.name}" data-state="{state}"'
        f"{'' if running else _values(attribution, scale)}>"
        f'<figcaption><i class="mark {marker(explainer.name)}"></i>'
        f'<b title="{escape(explainer.summary)}">{escape(explainer.title)}</b>{unfinished}</figcaption>'
        f"{_canvas(explainer.title, picture + over, bool(over))}"
        f"{_legend(attribution, scale)}{_figures(attribution, running)}{players_panel(attribution)}</figure>"
    )


def _canvas(title: str, inside: str, bare: bool = False) -> str:
    """What is enlarged by a click, or by Enter; no stop of the keyboard where there is nothing to enlarge (`bare`)."""
    stop = "" if bare else f' tabindex="0" role="button" aria-label="Enlarge {escape(title)}"'
    return f'<div class="canvas"{stop}>{inside}</div>'


def _values(attribution: Attribution | None, scale: Scale | None) -> str:
    """A map's numbers for the browser, which tells them under the pointer, compares them and cuts them off."""
    if attribution is None or scale is None:
        return ""
    sent = grid(attribution.values)
    average = float(attribution.values.abs().mean())
    return (
        f' data-grid="{sent.text}" data-rows="{sent.rows}" data-columns="{sent.columns}" data-most="{sent.most:.6g}" '
        f'data-average="{average:.6g}" data-top="{scale.top * scale.unit:.6g}" data-linked="{int(scale.linked)}" '
        f'data-signed="{int(attribution.signed)}"'
    )


def _frame(view: View) -> str:
    """Where the model's frame lies over the picture: left, top, width and height in parts of the picture."""
    g = view.geometry
    (h, w), (rows, columns) = g.picture_size, g.model_size
    parts = (g.left / g.scale_x / w, g.top / g.scale_y / h, columns / g.scale_x / w, rows / g.scale_y / h)
    return f'data-frame="{",".join(f"{part:.5f}" for part in parts)}"'


def _legend(attribution: Attribution | None, scale: Scale | None) -> str:
    if attribution is None or scale is None:
        return legend(False, None)
    return legend(attribution.signed, scale, attribution.unit, beyond(attribution, scale))


def picture_alone(view: View, svg: str, maps: int) -> str:
    """The picture as it was given, with its segments under the pointer.

    `maps` stand beside it, four in a row with it; the style sheet is told how many places the last row leaves.
    """
    picture = jpeg(dim_outside(view.shown, view.geometry), 90)
    image = f'<img alt="{escape(view.source.name)}" src="{picture}">'
    return (
        f'<figure class="map plain" data-left="{-(maps + 1) % 4}"><figcaption><b>Picture</b></figcaption>'
        f"{_canvas('the picture', _photo(view, 'photo own', image + svg))}</figure>"
    )


def _state(attribution: Attribution | None, running: bool, failed: str | None) -> str:
    if failed:
        return "failed"
    if running:
        return "running"
    if attribution is None:
        return "empty"
    return "stopped" if attribution.partial else "finished"


def _picture(view: View, attribution: Attribution | None, scale: Scale | None, running: bool) -> str:
    """The map over the picture, which the browser has once for all panels (`--picture`), grey where there is none."""
    if attribution is None or scale is None:
        return _photo(view, "photo grey")
    size = display_size(view.shown.shape[:2], FRAME_SIDE if running else LAYER_SIDE)
    drawn = layer(attribution, shrunk(view.geometry, size), scale)
    return _photo(view, "photo", f'<img alt="" src="{webp(drawn)}">')


def _photo(view: View, classes: str, inside: str = "") -> str:
    """The place of a picture, of its shape, so that all that lies in it lies where it belongs at any size."""
    height, width = view.shown.shape[:2]
    shape = f'style="--shape:{width}/{height};--wide:{width / height:.4f}"'
    return f'<div class="{classes}" {shape} {_frame(view)}>{inside}</div>'


def _figures(attribution: Attribution | None, running: bool) -> str:
    if attribution is None:
        return '<p class="figures">&nbsp;</p>'
    passes = max(attribution.forward_passes, attribution.backward_passes)
    total = getattr(attribution.parameters, "samples", None)
    if attribution.partial:
        done = f"{passes} of {total}" if total else f"{passes} passes"
        first = f"running, {done}" if running else f"stopped after {done}"
    else:
        plain = "no passes" if passes == 0 else "1 pass" if passes == 1 else f"{passes} passes"
        first = settled(attribution) or plain
    relative = attribution.relative_error
    drawn = get_explainer(attribution.method).is_random(attribution.parameters)
    if attribution.partial and attribution.standard_error is None:
        error = ""
    elif attribution.standard_error is None:
        # one sample tells nothing of its spread; a sum over a path is no draw, and not exact for that
        error = "± not known" if drawn and passes else "nothing random"
    else:
        error = f"±{percent(relative)}" if relative is not None else "± not known yet"
    seed = f"seed {attribution.seed}" if drawn else ""
    # of a single look at the picture itself it would say nothing of a sampler
    sampled = attribution.saturated is not None and attribution.forward_passes > 1
    saturated = f"{percent(attribution.saturated or 0)} saturated" if sampled else ""
    summed = attribution.unit == "density" and not attribution.partial and attribution.condition == "fine"
    change = f"{float(attribution.values.sum()):+.2g} in all".replace("-", "−") if summed else ""
    parts = [first, f"{attribution.seconds:.1f} s", error, saturated, change, seed]
    titles = [
        f"{attribution.forward_passes} forward, {attribution.backward_passes} backward",
        "computing time of this map",
        "mean standard error over mean absolute value" if error.startswith("±") else "another seed gives the same map",
        "share of the samples where the probability no longer moves",
        "values are per pixel, and sum to this change of the score",
        "same seed, same map",
    ]
    spans = "".join(f'<span title="{title}">{escape(text)}</span>' for text, title in zip(parts, titles) if text)
    return f'<p class="figures">{spans}</p>{convergence_plot(attribution)}'
