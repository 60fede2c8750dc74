"""Draws what a bird stands on, and the leaves and blades that pass in front of it."""

from __future__ import annotations

import numpy as np

from core.demo.canvas import Canvas, Colour, Polygon, Strokes, Tube, darker, leaf, lighter, mix, rgb, smooth
from core.demo.segments import GROUND, PERCH

PERCHES = ("branch", "post", "wire", "rock")

_BARK = ("#7a5c46", "#8b6f58", "#6a5a52", "#93785c")
_LEAVES = ("#5f8a4b", "#7d9a4e", "#8b8c3f", "#4f7d5c")
_STONE = ("#8d8f93", "#9c9288", "#7b8288")


def _pick(rng: np.random.Generator, codes: tuple[str, ...]) -> Colour:
    return rgb(codes[int(rng.integers(len(codes)))])


def draw_perch(canvas: Canvas, kind: str, foot: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    """Put a perch, `kind` one of PERCHES, under `foot` [2]; `scale` is the bird's, so that thickness goes with it."""
    top = foot + np.array([0, 0.012])
    {"branch": _branch, "post": _post, "wire": _wire, "rock": _rock}[kind](canvas, top, scale, rng)


def _leaf(canvas: Canvas, base: np.ndarray, degrees: float, length: float, fill: Colour) -> None:
    angle = np.radians(degrees)
    tip = base + length * np.array([np.cos(angle), np.sin(angle)])
    outline = leaf(base, tip, 0.42 * length, blunt=1.4)
    canvas.paint(Polygon(outline), fill, PERCH)
    canvas.paint(Strokes([np.stack([base, base + 0.85 * (tip - base)])], 0.004), darker(fill, 0.3), within=(PERCH,))


def _branch(canvas: Canvas, top: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    bark = _pick(rng, _BARK)
    thick = rng.uniform(0.035, 0.055) * scale / 0.6
    slope, bend = rng.uniform(-0.14, 0.14), rng.normal(0, 0.02, 2)
    centre = top[1] + thick
    knots = np.array(
        [
            [-0.1, centre + slope * (-0.1 - top[0]) + bend[0], thick * 1.15],
            [top[0], centre, thick],
            [1.1, centre + slope * (1.1 - top[0]) + bend[1], thick * 0.8],
        ]
    )
    if rng.random() < 0.5:
        knots[:, 2] = knots[::-1, 2]
    limb = smooth(knots, 90)
    foliage = _pick(rng, _LEAVES)
    for _ in range(int(rng.integers(0, 4))):
        x, y = limb[int(rng.integers(8, 82)), :2]
        side = rng.choice((-1, 1))
        stem = np.array([x + rng.normal(0, 0.03), y + side * rng.uniform(0.05, 0.1)])
        canvas.paint(Strokes([np.stack([[x, y], stem])], 0.01), darker(bark, 0.1), PERCH)
        for spread in (-40, 5, 45):
            tint = mix(foliage, lighter(foliage, 0.3), float(rng.random()))
            _leaf(canvas, stem, side * 90 + spread + rng.normal(0, 10), rng.uniform(0.06, 0.1), tint)
    canvas.paint(Tube(limb[:, :2], limb[:, 2]), bark, PERCH)
    lower = limb + np.array([0, thick * 0.5, -thick * 0.42])
    canvas.paint(Tube(lower[:, :2], lower[:, 2]), darker(bark, 0.25), within=(PERCH,), opacity=0.8)
    grain = []
    for _ in range(16):
        start = int(rng.integers(0, 70))
        piece = limb[start : start + int(rng.integers(6, 18)), :2] + [0, rng.uniform(-0.7, 0.7) * thick]
        grain.append(piece)
    canvas.paint(Strokes(grain, 0.004), darker(bark, 0.4), within=(PERCH,), opacity=0.6)


def _post(canvas: Canvas, top: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    wood = _pick(rng, _BARK)
    half = rng.uniform(0.1, 0.14) * scale / 0.6
    x, y = top
    lean = rng.normal(0, 0.02)
    body = np.array([[x - half, y], [x + half, y], [x + half + lean, 1.1], [x - half + lean, 1.1]])
    canvas.paint(Polygon(body), wood, PERCH)
    shade = np.array([[x + 0.35 * half, y], [x + half, y], [x + half + lean, 1.1], [x + 0.35 * half + lean, 1.1]])
    canvas.paint(Polygon(shade), darker(wood, 0.22), within=(PERCH,))
    across = rng.uniform(-0.9, 0.9, 12) * half
    starts = rng.uniform(y + 0.01, 1.0, 12)
    grain = [np.array([[x + a, s], [x + a + lean * 0.2, s + 0.12]]) for a, s in zip(across, starts, strict=True)]
    canvas.paint(Strokes(grain, 0.004), darker(wood, 0.4), within=(PERCH,), opacity=0.7)
    angles = np.linspace(0, 2 * np.pi, 28)
    lid = np.stack([x + half * np.cos(angles), y + 0.018 + 0.028 * np.sin(angles)], 1)
    canvas.paint(Polygon(lid), lighter(wood, 0.3), PERCH)
    ring = 0.6 * lid + 0.4 * np.array([x, y + 0.018])
    canvas.paint(Strokes([ring], 0.004), darker(wood, 0.15), within=(PERCH,))


def _wire(canvas: Canvas, top: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    metal = mix((70, 68, 76), (130, 126, 124), float(rng.random()))
    slope = rng.uniform(-0.08, 0.08)
    thick = 0.017 * scale / 0.6
    for drop, width in ((rng.uniform(0.1, 0.2), 0.6), (0.0, 1.0)):
        if drop and rng.random() < 0.5:
            continue
        y = top[1] + thick * 0.5 + drop
        ends = [[x, y + slope * (x - top[0]) - 0.012] for x in (-0.1, 1.1)]
        knots = np.array([ends[0], [top[0], y], ends[1]])
        line = smooth(knots, 40)
        canvas.paint(Strokes([line], thick * width), metal, PERCH)
        shine = Strokes([line - np.array([0, thick * width * 0.25])], thick * width * 0.3)
        canvas.paint(shine, lighter(metal, 0.4), within=(PERCH,))


def _rock(canvas: Canvas, top: np.ndarray, scale: float, rng: np.random.Generator) -> None:
    stone = _pick(rng, _STONE)
    x, y = top
    width = rng.uniform(0.24, 0.36) * scale / 0.6
    left, right = width * rng.uniform(0.8, 1.2, 2)
    low = max(y + 0.14, float(rng.uniform(0.93, 1.05)))
    knots = np.array(
        [
            [x - left * 1.25, low], [x - left * 1.1, y + 0.45 * (low - y)], [x - left * 0.62, y + 0.05],
            [x - 0.05, y - 0.004], [x + 0.06, y - 0.002], [x + right * 0.6, y + 0.04],
            [x + right * 1.05, y + 0.4 * (low - y)], [x + right * 1.3, low], [x, low + 0.03],
        ]
    )  # fmt: skip
    outline = smooth(knots, 60, closed=True)
    canvas.paint(Polygon(outline), stone, PERCH)
    far = x + 0.6 * right
    facet = np.array(
        [[x + 0.02, y + 0.02], [far, y + 0.03], [x + 1.3 * right, low + 0.03], [x + 0.25 * right, low + 0.03]]
    )
    canvas.paint(Polygon(facet), darker(stone, 0.2), within=(PERCH,))
    waist = y + 0.5 * (low - y)
    glow = np.array(
        [
            [x - 0.62 * left, y + 0.05],
            [x - 0.05, y],
            [x + 0.02, y + 0.02],
            [x - 0.5 * left, waist],
            [x - 1.1 * left, waist],
        ]
    )
    canvas.paint(Polygon(glow), lighter(stone, 0.16), within=(PERCH,))
    starts = rng.uniform((x - left * 0.7, y + 0.07), (x + right * 0.7, y + 0.16), (2, 2))
    cracks = [point + np.cumsum(rng.uniform((-0.02, 0.0), (0.03, 0.035), (4, 2)), 0) for point in starts]
    canvas.paint(Strokes(cracks, 0.005), darker(stone, 0.4), within=(PERCH,), opacity=0.7)
    if rng.random() < 0.6:
        moss = np.stack([rng.uniform(x - left * 0.8, x + right * 0.8, 30), rng.uniform(y, y + 0.08, 30)], 1)
        canvas.paint(Tube(moss, rng.uniform(0.004, 0.014, 30)), (118, 138, 78), within=(PERCH,), opacity=0.8)


def draw_foreground(canvas: Canvas, rng: np.random.Generator) -> None:
    """Now and then a twig with leaves (perch) or tall blades (ground) in front of everything."""
    kind = rng.random()
    if kind < 0.28:
        foliage, bark = _pick(rng, _LEAVES), _pick(rng, _BARK)
        edge = rng.choice((-0.05, 1.05))
        inwards = 1 if edge < 0.5 else -1
        start = np.array([edge, rng.uniform(0.1, 0.9)])
        end = start + np.array([inwards * rng.uniform(0.28, 0.5), rng.uniform(-0.15, 0.2)])
        stem = smooth(np.stack([start, (start + end) / 2 + rng.normal(0, 0.03, 2), end]), 24)
        canvas.paint(Strokes([stem], 0.01), darker(bark, 0.15), PERCH)
        heading = np.degrees(np.arctan2(*(end - start)[::-1]))
        for place in range(6, 24, 4):
            tint = mix(foliage, darker(foliage, 0.3), float(rng.random()))
            side = 1 if place % 8 < 4 else -1
            _leaf(canvas, stem[place], heading + side * rng.uniform(30, 65), rng.uniform(0.07, 0.12), tint)
    elif kind < 0.5:
        fill = mix(_pick(rng, _LEAVES), (190, 175, 100), float(rng.uniform(0, 0.5)))
        middle = rng.uniform(0.1, 0.9)
        for _ in range(int(rng.integers(4, 10))):
            base = np.array([middle + rng.normal(0, 0.1), 1.05])
            tip = base + np.array([rng.normal(0, 0.09), -rng.uniform(0.22, 0.5)])
            bend = (base + tip) / 2 + np.array([rng.normal(0, 0.02), 0])
            centre = smooth(np.stack([base, bend, tip]), 12)
            width = np.linspace(0.008, 0.0008, 12)[:, None] * [1.0, 0.0]
            blade = np.concatenate([centre - width, (centre + width)[::-1]])
            canvas.paint(Polygon(blade), mix(fill, darker(fill, 0.35), float(rng.random())), GROUND)
