"""How a map came out: in words, and as a small drawing of its error against the samples taken."""

from __future__ import annotations

import math

from core.attribution import Attribution
from dashboard.plots import percent

WIDTH, HEIGHT, MARGIN = 260, 84, 4  # of the drawing, in its own units


def settled(attribution: Attribution) -> str | None:
    """What became of a tolerance, in a few words; None where there was none."""
    if attribution.converged is None or attribution.partial:
        return None
    taken, most = attribution.forward_passes, getattr(attribution.parameters, "samples", None)
    if attribution.converged:
        return f"settled after {taken} of {most} samples"
    return (
        f"not settled after all {taken} samples" if taken > 1 else "not settled: one sample says nothing of its error"
    )


CONDITIONS = {"flat": "is flat: no evidence", "broken": "holds values that are not numbers"}


def remark(attribution: Attribution) -> str | None:
    """What a person should know of a finished map before looking at it."""
    return CONDITIONS.get(attribution.condition) or settled(attribution)


def convergence_plot(attribution: Attribution) -> str:
    """The relative error after each chunk, both axes logarithmic, the tolerance as a line; empty without a history."""
    points = [(n, e) for n, e in attribution.convergence if e > 0]
    if len(points) < 3:
        return ""
    tolerance = getattr(attribution.parameters, "tolerance", 0.0)
    errors = [e for _, e in points] + ([tolerance] if tolerance else [])
    low, high = math.log(min(errors)), math.log(max(errors))
    first, last = math.log(points[0][0]), math.log(points[-1][0])

    def place(n: float, e: float) -> tuple[float, float]:
        x = MARGIN + (WIDTH - 2 * MARGIN) * (math.log(n) - first) / max(last - first, 1e-9)
        y = MARGIN + (HEIGHT - 2 * MARGIN) * (high - math.log(e)) / max(high - low, 1e-9)
        return round(x, 1), round(y, 1)

    path = " ".join(f"{x},{y}" for x, y in (place(n, e) for n, e in points))
    aim = ""
    if tolerance:
        y = place(points[0][0], tolerance)[1]
        title = f"<title>tolerance {percent(tolerance)}</title>"
        aim = f'<line class="aim" x1="0" x2="{WIDTH}" y1="{y}" y2="{y}">{title}</line>'
    (n0, e0), (n1, e1) = points[0], points[-1]
    said = f"error ±{percent(e0)} after {n0} samples, ±{percent(e1)} after {n1}"
    return (
        '<details class="convergence"><summary>How it settled</summary>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">{aim}<polyline points="{path}"/></svg>'
        f"<p><span>±{percent(e0)} at {n0}</span><span>±{percent(e1)} at {n1} samples</span></p></details>"
    )
