"""Draws a wing out of feathers: long ones first, shorter ones over them, the shoulder on top."""

from __future__ import annotations

import numpy as np

from core.demo.brush import Brush, direction
from core.demo.canvas import Colour, darker, lighter, mix, smooth
from core.demo.segments import WING
from core.demo.species import Species


def draw_wing(brush: Brush, species: Species, *, far: bool) -> None:
    """The near wing, or the far one, which shows behind the trunk when the wings are raised."""
    wing = species.wing
    colours = [brush.colour(code) for code in (wing.flight, wing.coverts, wing.shoulder_colour, wing.mark)]
    if far:
        colours = [darker(colour, 0.35) for colour in colours]
    if brush.pose.raised:
        _raised(brush, species, colours, far=far)
    else:
        _folded(brush, species, colours)


def _folded(brush: Brush, species: Species, colours: list[Colour]) -> None:
    wing = species.wing
    flight, coverts, shoulder, mark = colours
    root = np.asarray(wing.shoulder)
    along = direction(wing.angle + brush.rng.uniform(-5, 5))
    # `across` points from the back towards the belly.
    across = np.array([along[1], -along[0]])
    length, width = wing.length, wing.width

    def at(a: float, b: float) -> np.ndarray:
        return root + along * a * length + across * b * width

    count = 8
    for index in range(count):
        s = index / (count - 1)  # 0 along the back and longest, 1 along the belly and shortest
        shade = mix(flight, lighter(flight, 0.22), 0.5 * (index % 2) + 0.3 * s)
        tip = at(1.0 - 0.36 * s**1.2, -0.12 + 0.5 * s)
        brush.feather(at(0.1, -0.2 + 0.45 * s), tip, width * 0.34, shade, WING, blunt=5.0)
        if wing.pattern == "spots":
            spots = [at(a * (1.0 - 0.36 * s), -0.14 + 0.5 * s) for a in (0.62, 0.76, 0.9)]
            brush.dots(spots, 0.018, mark, WING)
        if wing.pattern == "mottle":
            for a in (0.6, 0.75, 0.88):
                spot = at(a * (1.0 - 0.36 * s), -0.13 + 0.48 * s)
                brush.lines([np.stack([spot - 0.03 * across, spot + 0.03 * across])], 0.02, mark, within=(WING,))
    for reach, fill, size in ((0.6, mix(flight, coverts, 0.65), 0.32), (0.44, coverts, 0.3)):
        for index in range(6):
            s = index / 5
            tip = at(reach - 0.1 * s, -0.26 + 0.72 * s)
            shade = mix(fill, lighter(fill, 0.15), index % 2)
            brush.feather(at(reach - 0.3, -0.2 + 0.62 * s), tip, width * size, shade, WING, blunt=5.0)
            if wing.pattern == "bars":
                edge = at(reach - 0.07 - 0.1 * s, -0.26 + 0.72 * s)
                brush.feather(edge, tip, width * size * 0.85, mark, WING, blunt=4.0)
    knuckles = [[*at(0.02, 0.1), width * 0.4], [*at(0.16, 0.1), width * 0.46], [*at(0.3, 0.08), width * 0.3]]
    joint = smooth(np.array(knuckles), 14)
    brush.blob(joint, shoulder, WING)
    brush.scallops(joint, darker(shoulder, 0.25), WING, start=0.05, stop=1.0, size=0.06)
    if wing.pattern in ("dots", "mottle"):
        spots = [at(a, b) for a in (0.02, 0.13, 0.24, 0.36) for b in (-0.2, 0.0, 0.2, 0.4)]
        brush.dots([spot + brush.rng.normal(0, 0.008, 2) for spot in spots], 0.014, mark, WING)


def _raised(brush: Brush, species: Species, colours: list[Colour], *, far: bool) -> None:
    wing = species.wing
    flight, coverts, shoulder, mark = colours
    lift = brush.pose.raised + (18 if far else 0)
    root = np.asarray(wing.shoulder) + ([0.1, -0.04] if far else [0.0, 0.0])
    span = wing.length * 1.05
    arm = direction(wing.angle - lift)
    wrist = root + arm * span * 0.5
    count = 11
    places = []
    for index in range(count):
        s = index / (count - 1)  # 0 at the trunk, 1 at the wing's tip
        base = root + (wrist - root) * min(s * 1.5, 1.0)
        heading = direction(wing.angle - 0.25 * lift - 0.75 * lift * s**1.1)
        places.append((s, base, heading, span * (0.46 + 0.2 * s)))
    for s, base, heading, reach in places:
        shade = mix(flight, lighter(flight, 0.22), 0.5 * (round(s * 10) % 2) + 0.2 * (1 - s))
        brush.feather(base, base + heading * reach, 0.125, shade, WING, blunt=5.0)
        if wing.pattern in ("spots", "mottle"):
            brush.dots([base + heading * reach * a for a in (0.66, 0.82)], 0.018, mark, WING)
    for share, fill in ((0.56, mix(flight, coverts, 0.65)), (0.38, coverts)):
        for s, base, heading, reach in places:
            shade = mix(fill, lighter(fill, 0.15), round(s * 10) % 2)
            brush.feather(base, base + heading * reach * share, 0.11, shade, WING, blunt=5.0)
            if wing.pattern == "bars":
                brush.feather(base + heading * reach * (share - 0.12), base + heading * reach * share, 0.09, mark, WING)
    joint = smooth(np.array([[*root, 0.1], [*((root + wrist) / 2), 0.085], [*wrist, 0.05]]), 14)
    brush.blob(joint, shoulder, WING)
    brush.scallops(joint, darker(shoulder, 0.25), WING, start=0.0, stop=1.0, size=0.06)
    if wing.pattern == "dots":
        spots = [base + heading * reach * a for s, base, heading, reach in places[1::2] for a in (0.1, 0.25)]
        brush.dots(spots, 0.014, mark, WING)
