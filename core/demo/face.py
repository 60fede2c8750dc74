"""Draws a bird's head with its crest, beak and eyes."""

from __future__ import annotations

import numpy as np

from core.demo.brush import Brush, direction
from core.demo.canvas import darker, lighter, smooth
from core.demo.segments import BEAK, BODY, EYE, HEAD
from core.demo.species import Species

_FACE_SIDES = (-0.42, 0.42)  # where the two discs of a face that looks at the viewer lie, in head radii


def _round(x: float, y: float, radius: float, count: int = 24) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, count)
    return np.array([x, y]) + radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def draw_head(brush: Brush, species: Species) -> None:
    """Crest, skull and the patches of colour on it."""
    x, y, r = species.spine[0]
    fill = brush.colour(species.head)
    _draw_crest(brush, species)
    brush.blob([[x, y, r], [x + 0.06 * r, y + 0.08 * r, r * 0.98]], fill, HEAD)
    if not species.front:
        crown = np.array([[x - 0.35 * r, y - 0.5 * r, 0.5 * r], [x - 0.7 * r, y, 0.4 * r]])
        ink = darker(fill, 0.22) if sum(fill) > 250 else lighter(fill, 0.15)
        brush.scallops(smooth(crown, 6), ink, HEAD, start=0.0, stop=1.0, size=0.3 * r)
    if species.throat:
        patch = np.array([[x + 0.42 * r, y + 0.78 * r, 0.52 * r], [x, y + 0.95 * r, 0.5 * r]])
        brush.blob(smooth(patch, 8), brush.colour(species.throat), within=(HEAD, BODY))
    if species.cap:
        brush.blob([[x - 0.15 * r, y - 0.75 * r, 0.72 * r]], brush.colour(species.cap), within=(HEAD,))
    if species.front:
        for side in _FACE_SIDES:
            cx, cy = x + (0.18 + side) * r, y + 0.08 * r
            brush.blob([[cx, cy, 0.5 * r]], brush.colour(species.cheek or species.belly), within=(HEAD,))
            brush.lines([_round(cx, cy, 0.5 * r)], 0.02, darker(fill, 0.4), within=(HEAD,))
    elif species.cheek:
        cheek = np.array([[x - 0.28 * r, y + 0.28 * r, 0.42 * r], [x + 0.5 * r, y + 0.3 * r, 0.3 * r]])
        brush.blob(smooth(cheek, 8), brush.colour(species.cheek), within=(HEAD,))
    if species.stripe:
        line = np.array([x, y]) + r * np.array([[1.0, 0.02], [0.4, -0.06], [-0.3, 0.05], [-0.9, 0.3]])
        thickness = r * np.interp(np.linspace(0, 1, 20), [0, 0.4, 1], [0.12, 0.2, 0.08])
        brush.blob(np.column_stack([smooth(line, 20), thickness]), brush.colour(species.stripe), within=(HEAD,))


def _draw_crest(brush: Brush, species: Species) -> None:
    if species.crest is None:
        return
    x, y, r = species.spine[0]
    centre = np.array([x, y])
    fill = brush.colour(species.crest_colour or species.head)
    lift = brush.rng.uniform(-8, 10)
    if species.crest == "tufts":
        for side in (-0.62, 0.86):
            root = centre + r * np.array([side * 0.8, -0.5])
            tip = root + r * np.array([0.42 * np.sign(side), -0.72])
            brush.feather(root, tip, 0.55 * r, darker(fill, 0.12), HEAD, blunt=1.1)
        return
    if species.crest == "plume":
        for degrees, length in ((-4, 4.2), (12, 3.4)):
            tip = centre + direction(degrees - lift) * r * length
            brush.feather(centre + direction(-35) * r * 0.8, tip, 0.35 * r, fill, HEAD, blunt=1.5)
        return
    if species.crest == "spikes":
        feathers, width, lean = ((-62, 0.5), (-38, 0.58), (-14, 0.56), (10, 0.42)), 0.5, 28
    else:
        feathers, width, lean = ((-80, 0.5), (-62, 0.85), (-44, 1.0), (-24, 0.8)), 0.62, 62
    for degrees, length in feathers:
        out = direction(degrees - lift)
        tip = centre + out * r + direction(degrees - lift + lean) * r * length
        brush.feather(centre + out * r * 0.5, tip, width * r, fill, HEAD, blunt=1.3)


def draw_beak(brush: Brush, species: Species) -> None:
    """Both halves of the beak, growing out of the face."""
    beak = species.beak
    x, y, r = species.spine[0]
    # A face that looks at the viewer carries its beak in the middle, pointing down.
    start = np.array([x + 0.18 * r, y + 0.12 * r]) if species.front else np.array([x + 0.72 * r, y + 0.1 * r])
    heading = np.radians(90 if species.front else brush.pose.nod)
    along = np.array([np.cos(heading), np.sin(heading)])
    below = np.array([-along[1], along[0]])

    t = np.linspace(0, 1, 16)
    reach = beak.length + (0 if species.front else 0.28 * r)
    middle = start + t[:, None] * reach * along + (beak.droop * t**2)[:, None] * below
    half = 0.5 * beak.depth * np.maximum(1 - t**beak.fullness, 0)
    half[-1] = 0
    top, gape, bottom = (middle + share * half[:, None] * below for share in (-1.0, 0.25, 1.0))
    hooked = beak.droop > 0.8 * beak.length
    if hooked:  # the lower half of a parrot's beak stops short, under the hook
        bottom, gape_lower = bottom[:9], gape[:9]
    else:
        gape_lower = gape
    lower = brush.colour(beak.lower)
    upper = brush.colour(beak.upper)
    brush.outline(np.concatenate([gape_lower, bottom[::-1]]), lower, BEAK)
    brush.outline(np.concatenate([top, gape[::-1]]), upper, BEAK)
    if beak.tip:
        brush.outline(np.concatenate([top[12:], bottom[12:][::-1]]), brush.colour(beak.tip), BEAK)
    brush.lines([gape[:-1]], 0.01, darker(upper, 0.45), BEAK)
    brush.lines([top[3:12] + 0.4 * half[3:12, None] * below], 0.012, lighter(upper, 0.35), within=(BEAK,), opacity=0.7)
    if not species.front:
        nostril = top[3] + 0.6 * half[3] * below
        brush.lines([np.stack([nostril, nostril + 0.03 * along])], 0.014, darker(upper, 0.6), within=(BEAK,))


def draw_eyes(brush: Brush, species: Species) -> None:
    """One eye in profile, two in a face that looks at the viewer."""
    x, y, r = species.spine[0]
    size = species.eye * r
    places = [(x + 0.3 * r, y - 0.14 * r)]
    if species.front:
        places = [(x + (0.18 + side) * r, y + 0.04 * r) for side in _FACE_SIDES]
    for cx, cy in places:
        if species.ring:
            brush.blob([[cx, cy, 1.7 * size]], brush.colour(species.ring), within=(HEAD,))
        brush.blob([[cx, cy, size]], (26, 22, 28), EYE)
        brush.blob([[cx, cy, 0.8 * size]], brush.colour(species.iris), EYE)
        brush.blob([[cx, cy, 0.5 * size]], (18, 15, 20), EYE)
        brush.blob([[cx + 0.25 * size, cy - 0.32 * size, 0.24 * size]], (255, 252, 245), EYE)
