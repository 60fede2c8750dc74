"""Maps over pictures as the page shows them: legends, and pictures in addresses. What is drawn comes from core."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from core.attribution import Unit
from core.overlays import Scale, colour_table


def legend(signed: bool, scale: Scale | None, unit: Unit = "intensity") -> str:
    """The colours of a scale as they come over a picture, from nothing at zero, with its ends in words."""
    if scale is None:
        return '<div class="scale none"></div>'
    table = colour_table(signed)
    last, stops = len(table) - 1, []
    for at in np.linspace(0, 1, 17):
        alpha = abs(2 * at - 1) if signed else at
        stops.append("#{:02x}{:02x}{:02x}{:02x}".format(*table[round(at * last)], round(255 * alpha)))
    top = f"{scale.top:g}x average" if scale.linked else f"{scale.top:.2g}"
    half = f"{scale.top / 2:g}x" if scale.linked else f"{scale.top / 2:.2g}"
    if unit == "density" and not scale.linked:
        top += " a pixel"
    ends = (f"against, {top}", "0", f"for, {top}") if signed else ("0", half, f"{top} or more")
    words = "".join(f"<span>{text}</span>" for text in ends)
    ramp = f"background:linear-gradient(90deg,{','.join(stops)})"
    return f'<div class="scale"><div style="{ramp}"></div><p>{words}</p></div>'


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
