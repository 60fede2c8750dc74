"""Maps over pictures as the page shows them: legends, and pictures in addresses. What is drawn comes from core."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from core.attribution import Unit
from core.overlays import Scale, colour_table, cover_of

GRID_SIDE = 112  # cells of a map's numbers on the page


def legend(
    signed: bool, scale: Scale | None, unit: Unit = "intensity", beyond: tuple[float, float] | None = None
) -> str:
    """The colours of a scale as they come over a picture, from nothing at zero, with its ends in words.

    Args:
        beyond: what is cut off, as of `core.overlays.beyond`; None says nothing of it.
    """
    if scale is None:
        return '<div class="scale none"></div>'
    table = colour_table(signed)
    last, stops = len(table) - 1, []
    for at in np.linspace(0, 1, 17):
        alpha = float(cover_of(np.asarray(abs(2 * at - 1) if signed else at)))
        stops.append("#{:02x}{:02x}{:02x}{:02x}".format(*table[round(at * last)], round(255 * alpha)))
    top = f"{scale.top:g}x average" if scale.linked else f"{scale.top:.2g}"
    half = f"{scale.top / 2:g}x" if scale.linked else f"{scale.top / 2:.2g}"
    if unit == "density" and not scale.linked:
        top += " a pixel"
    ends = (f"against, {top}", "0", f"for, {top}") if signed else ("0", half, f"{top} or more")
    words = "".join(f"<span>{text}</span>" for text in ends)
    ramp = f"background:linear-gradient(90deg,{','.join(stops)})"
    return f'<div class="scale"><div style="{ramp}"></div><p>{words}</p>{_cut_off(scale, beyond)}</div>'


def _cut_off(scale: Scale, beyond: tuple[float, float] | None) -> str:
    """What has the colour of the top and is more than that."""
    if beyond is None:
        return ""
    share, most = beyond
    peak = f"{most:.3g}x average" if scale.linked else f"{most:.2g}"
    if share == 0:
        return f'<p class="cut" title="the largest value of this map">peak {peak}</p>'
    said = "<0.1" if share < 0.001 else f"{share * 100:.1f}" if share < 0.0995 else f"{share * 100:.0f}"
    return f'<p class="cut" title="all of it has the colour of the end">{said} % lies beyond, up to {peak}</p>'


@dataclass(frozen=True)
class Grid:
    """A map's numbers as the browser gets them.

    Attributes:
        text: base64 of one signed byte a cell, row by row: 127 times the root of its part of `most`, with its sign, so
            that small values keep their figures beside a peak of a hundred times the average.
        rows, columns: of cells, each the mean of the pixels in it.
        most: the largest magnitude of a cell, in the map's own numbers.
    """

    text: str
    rows: int
    columns: int
    most: float


def grid(values: Tensor) -> Grid:
    """[H, W], finite -> at most GRID_SIDE cells a side."""
    step = math.ceil(max(values.shape) / GRID_SIDE)
    rows, columns = (max(1, side // step) for side in values.shape)
    cells = adaptive_avg_pool2d(values[None].float(), (rows, columns))[0].numpy()
    most = float(np.abs(cells).max()) or 1.0
    sent = np.sign(cells) * np.sqrt(np.abs(cells) / most) * 127
    return Grid(base64.b64encode(sent.round().astype(np.int8).tobytes()).decode(), rows, columns, most)


def webp(array: np.ndarray) -> str:
    """A data address for an <img> of a map that lies over a picture: uint8 [h, w, 4]."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "WEBP", quality=75, alpha_quality=60, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def jpeg(array: np.ndarray, quality: int = 86) -> str:
    """A data address for an <img>."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
