"""Draws what is behind and below a bird: sky and ground."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.demo.canvas import Canvas, Colour, Polygon, Strokes, Tube, darker, lighter, mix, rgb, smooth
from core.demo.segments import GROUND, SKY

SKIES = ("clear", "clouds", "dusk", "forest")
GROUNDS = ("grass", "sand", "water", "snow")

_SKY_COLOURS = {  # each from the top down to the horizon
    "clear": (("#6fa9d6", "#d5e6ec"), ("#86c0d8", "#f0ead6"), ("#5f95c9", "#bcd9ea")),
    "clouds": (("#7fb0d2", "#d9e4e4"), ("#93a9bd", "#dcdcd8"), ("#6ea3cc", "#e6e5da")),
    "dusk": (("#7d6f9f", "#f3b58d"), ("#4f6a96", "#efc59c"), ("#b0758c", "#f6d39a")),
    "forest": (("#4d6b57", "#a9bb8b"), ("#3f5f5b", "#8fae9a"), ("#6d7a4c", "#c8c793")),
}
_GROUND_COLOURS = {
    "grass": ("#7fa052", "#92a45a", "#6a944f"),
    "sand": ("#dfc594", "#d3b27d", "#e6d2a8"),
    "water": ("#5f97ac", "#4f86a4", "#79a9b0"),
    "snow": ("#e9eef2", "#dde6ef", "#f1f0ec"),
}


def _pick(rng: np.random.Generator, codes: tuple) -> Any:
    return codes[int(rng.integers(len(codes)))]


def draw_sky(canvas: Canvas, kind: str, rng: np.random.Generator) -> None:
    """Fill the whole picture with a sky; `kind` is one of SKIES."""
    import cv2

    top, bottom = (np.asarray(rgb(code)) for code in _pick(rng, _SKY_COLOURS[kind]))
    ramp = np.linspace(0, 1, canvas.side)[:, None, None] ** rng.uniform(0.7, 1.3)
    canvas.colours[:] = (top + (bottom - top) * ramp).astype(np.uint8)
    canvas.labels[:] = SKY
    if kind == "clear":
        _sun(canvas, (255, 246, 214), rng)
    elif kind == "clouds":
        for _ in range(int(rng.integers(3, 6))):
            _cloud(canvas, rng)
    elif kind == "dusk":
        _sun(canvas, (255, 226, 170), rng)
        for _ in range(int(rng.integers(3, 7))):
            x, y, half = rng.uniform(0, 1), rng.uniform(0.1, 0.6), rng.uniform(0.12, 0.4)
            bar = _spindle(x, y, half, float(rng.uniform(0.006, 0.016)))
            canvas.paint(bar, (255, 236, 214), opacity=float(rng.uniform(0.25, 0.5)))
    else:
        for depth in (0.25, 0.5):
            for _ in range(int(rng.integers(3, 6))):
                x, lean = rng.uniform(-0.05, 1.05), rng.normal(0, 0.04)
                trunk = np.array([[x, -0.05], [x + lean, 1.05]])
                shade = darker(mix(tuple(top), tuple(bottom), 0.5), depth)
                canvas.paint(Strokes([trunk], float(rng.uniform(0.02, 0.07))), shade, opacity=0.6)
        for _ in range(26):
            x, y, radius = rng.uniform(0, 1), rng.uniform(0, 0.8), rng.uniform(0.02, 0.09)
            tint = lighter(tuple(bottom), float(rng.uniform(0, 0.5))) if rng.random() < 0.6 else darker(tuple(top), 0.2)
            canvas.paint(Tube(np.array([[x, y]]), np.array([radius])), tint, opacity=float(rng.uniform(0.2, 0.45)))
        # Out of focus; blurred at a third of the planes' side because nothing fine is left anyway.
        small = cv2.resize(canvas.colours, (canvas.size, canvas.size), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 0.016 * canvas.size)
        canvas.colours[:] = cv2.resize(small, (canvas.side, canvas.side), interpolation=cv2.INTER_LINEAR)


def _spindle(x: float, y: float, half: float, thick: float) -> Polygon:
    """A flat shape, pointed at both ends, `2 * half` wide."""
    t = np.linspace(-1, 1, 24)
    rise = thick * np.cos(t * np.pi / 2) ** 1.5
    edge = np.stack([x + half * t, y - rise], 1)
    return Polygon(np.concatenate([edge, np.stack([x + half * t, y + 0.6 * rise], 1)[::-1]]))


def _sun(canvas: Canvas, fill: Colour, rng: np.random.Generator) -> None:
    centre = rng.uniform((0.1, 0.08), (0.9, 0.4))[None]
    radius = rng.uniform(0.045, 0.09)
    for share, opacity in ((2.1, 0.14), (1.5, 0.2), (1.0, 0.85)):
        canvas.paint(Tube(centre, np.array([radius * share])), fill, opacity=opacity)


def _cloud(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y, width = rng.uniform(0, 1), rng.uniform(0.05, 0.5), rng.uniform(0.14, 0.34)
    count = 6
    places = np.linspace(-1, 1, count)
    radii = width * (0.2 + 0.22 * (1 - places**2)) * rng.uniform(0.75, 1.2, count)
    centres = np.stack([x + places * width * 0.75, y - radii * 0.6], 1)
    paper = lighter((225, 232, 236), float(rng.uniform(0.2, 0.8)))
    puffs = np.concatenate([centres, np.stack([np.linspace(x - width, x + width, 22), np.full(22, y)], 1)])
    sizes = np.concatenate([radii, np.full(22, 0.14 * width)])
    canvas.paint(Tube(puffs + np.array([0.006, 0.012]), sizes), darker(paper, 0.14), opacity=0.7)
    canvas.paint(Tube(puffs, sizes), paper, opacity=0.9)


def draw_ground(canvas: Canvas, kind: str, rng: np.random.Generator) -> float:
    """Cover the lower part with ground, `kind` one of GROUNDS, and return the height of the horizon."""
    fill = rgb(_pick(rng, _GROUND_COLOURS[kind]))
    horizon = float(rng.uniform(0.62, 0.84))
    if rng.random() < 0.6:
        hills = mix(mix(fill, (120, 140, 150), 0.6), (235, 235, 230), 0.15)
        _band(canvas, horizon - rng.uniform(0.03, 0.1), 0.05, hills, rng)
    _band(canvas, horizon, 0.0 if kind == "water" else 0.014, fill, rng)
    {"grass": _grass, "sand": _sand, "water": _water, "snow": _snow}[kind](canvas, fill, horizon, rng)
    return horizon


def _band(canvas: Canvas, height: float, waviness: float, fill: Colour, rng: np.random.Generator) -> None:
    knots = np.stack([np.linspace(-0.1, 1.1, 6), height + rng.normal(0, 1, 6) * waviness], 1)
    line = smooth(knots, 48)
    canvas.paint(Polygon(np.concatenate([line, [[1.1, 1.1], [-0.1, 1.1]]])), fill, GROUND)


def _scatter(horizon: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Places [count, 2] on the ground, denser towards the horizon, nearest last."""
    depth = np.sort(rng.uniform(0, 1, count) ** 1.4)
    return np.stack([rng.uniform(-0.02, 1.02, count), horizon + 0.01 + depth * (1.02 - horizon)], 1)


def _grass(canvas: Canvas, fill: Colour, horizon: float, rng: np.random.Generator) -> None:
    edge = np.stack([rng.uniform(0, 1, 70), np.full(70, horizon + 0.012)], 1)
    for places, length in ((edge, 0.03), (_scatter(horizon, 130, rng), 0.045)):
        for tint in (darker(fill, 0.22), lighter(fill, 0.22), mix(fill, (214, 190, 90), 0.35)):
            chosen = places[rng.random(len(places)) < 0.45]
            lean, rise = rng.normal(0, 0.012, len(chosen)), length * rng.uniform(0.5, 1.2, len(chosen))
            blades = np.stack([chosen, chosen + np.stack([lean, -rise], 1)], 1)
            if len(blades):
                canvas.paint(Strokes(list(blades), 0.006), tint, GROUND)


def _sand(canvas: Canvas, fill: Colour, horizon: float, rng: np.random.Generator) -> None:
    for _ in range(5):
        y = rng.uniform(horizon + 0.02, 1.0)
        knots = np.stack([np.linspace(-0.1, 1.1, 5), y + rng.normal(0, 0.012, 5)], 1)
        canvas.paint(Strokes([smooth(knots, 30)], 0.008), darker(fill, 0.13), within=(GROUND,), opacity=0.7)
    for tint in (darker(fill, 0.3), lighter(fill, 0.4)):
        dots = _scatter(horizon, 60, rng)
        canvas.paint(Tube(dots, rng.uniform(0.0015, 0.004, 60)), tint, within=(GROUND,))


def _water(canvas: Canvas, fill: Colour, horizon: float, rng: np.random.Generator) -> None:
    for tint in (lighter(fill, 0.3), darker(fill, 0.16), lighter(fill, 0.6)):
        waves = []
        for x, y in _scatter(horizon, 22, rng):
            half = (0.02 + 0.12 * (y - horizon)) * rng.uniform(0.6, 2.0)
            waves.append(smooth(np.array([[x - half, y], [x, y - 0.004], [x + half, y]]), 7))
        canvas.paint(Strokes(waves, 0.006), tint, within=(GROUND,), opacity=0.8)


def _snow(canvas: Canvas, fill: Colour, horizon: float, rng: np.random.Generator) -> None:
    for _ in range(4):
        x, y, half = rng.uniform(0, 1), rng.uniform(horizon + 0.03, 1.0), rng.uniform(0.1, 0.3)
        canvas.paint(_spindle(x, y, half, 0.014), (186, 203, 222), within=(GROUND,), opacity=0.6)
    dots = _scatter(horizon, 40, rng)
    canvas.paint(Tube(dots, rng.uniform(0.0015, 0.0035, 40)), darker(fill, 0.2), within=(GROUND,))
