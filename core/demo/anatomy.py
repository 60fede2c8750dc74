"""Draws one bird, part by part, each under its own label."""

from __future__ import annotations

import numpy as np

from core.demo.brush import Brush, Pose, choose_pose, direction
from core.demo.canvas import Canvas, Colour, darker, lighter, mix, smooth
from core.demo.face import draw_beak, draw_eyes, draw_head
from core.demo.segments import BODY, LEGS, TAIL
from core.demo.species import Species
from core.demo.wing import draw_wing

__all__ = ["Pose", "choose_pose", "draw_bird"]

_SPINE_STEPS = 56


def draw_bird(canvas: Canvas, species: Species, pose: Pose, rng: np.random.Generator) -> None:
    """Everything, from the far side to the near one."""
    brush = Brush(canvas, pose, rng)
    if pose.raised:
        draw_wing(brush, species, far=True)
    _draw_tail(brush, species)
    _draw_legs(brush, species)
    _draw_trunk(brush, species)
    draw_head(brush, species)
    draw_wing(brush, species, far=False)
    draw_beak(brush, species)
    draw_eyes(brush, species)


def _draw_tail(brush: Brush, species: Species) -> None:
    tail = species.tail
    fill = brush.colour(tail.colour)
    root = np.asarray(species.spine[-1][:2]) - 0.06 * direction(tail.angle)
    count = 7
    offsets = np.linspace(-1, 1, count)
    spread = tail.spread * brush.rng.uniform(0.8, 1.35)
    swing = brush.rng.uniform(-5, 5)
    for index in sorted(range(count), key=lambda place: -abs(offsets[place])):
        outward = abs(offsets[index])
        share = {
            "square": 1 - 0.06 * outward,
            "round": 1 - 0.28 * outward**2,
            "wedge": 1 - 0.5 * outward,
            "notched": 0.76 + 0.24 * outward,
            "streamer": 1.0 if index == count // 2 else 0.62 - 0.05 * outward,
        }[tail.shape]
        heading = direction(tail.angle + swing + spread * offsets[index])
        start = root + np.array([-heading[1], heading[0]]) * offsets[index] * 0.035
        reach = (tail.length + 0.06) * share
        width = tail.width * (0.5 if tail.shape == "streamer" and index == count // 2 else 1.0)
        shade = mix(fill, darker(fill, 0.3), outward * 0.8)
        brush.feather(start, start + heading * reach, width, shade, TAIL, blunt=6.0)
        if tail.tip:
            brush.feather(
                start + heading * reach * 0.78, start + heading * reach, width, brush.colour(tail.tip), TAIL, blunt=6.0
            )


def _draw_legs(brush: Brush, species: Species) -> None:
    fill = brush.colour(species.leg)
    pose = brush.pose
    long = species.legs > 0.3
    width = 0.03 if long else 0.036
    to_bird = np.linalg.inv(pose.matrix)
    # The feet stand where the perch is, however the trunk leans: work in picture directions, drawn in bird units.
    foot = to_bird @ (pose.foot - pose.offset)
    ahead = to_bird @ (np.array([np.sign(pose.matrix[0, 0]), 0]) * pose.scale)
    down = to_bird @ (np.array([0, 1]) * pose.scale)
    for side, shade in ((0.075, darker(fill, 0.3)), (-0.035, fill)):
        hip = np.asarray(species.hip) + np.array([side, -0.02])
        ankle = foot + side * ahead - 0.02 * down
        knee = (hip + ankle) / 2 - 0.05 * ahead * long
        brush.lines([smooth(np.stack([hip, knee, ankle]), 12)], width, shade, LEGS)
        toes = [
            np.stack([ankle, ankle + reach * ahead + drop * down])
            for reach, drop in ((0.095, 0.035), (0.055, 0.055), (-0.065, 0.045))
        ]
        brush.lines(toes, width * 0.85, shade, LEGS)


def _draw_trunk(brush: Brush, species: Species) -> None:
    back, belly = brush.colour(species.back), brush.colour(species.belly)
    spine = smooth(np.asarray(species.spine), _SPINE_STEPS)
    brush.blob(spine, back, BODY)
    # The belly is the same chain pushed forwards and down, which leaves the back's colour along the other side.
    heading = np.gradient(spine[:, :2], axis=0)
    heading /= np.maximum(np.hypot(heading[:, 0], heading[:, 1])[:, None], 1e-9)
    lower = spine.copy()
    lower[:, :2] += np.stack([heading[:, 1], -heading[:, 0]], 1) * spine[:, 2:] * 0.36
    lower[:, 2] *= 0.86
    brush.blob(lower, belly, within=(BODY,))
    size = float(np.clip(0.35 * spine[:, 2].max(), 0.05, 0.09))
    brush.scallops(spine, darker(back, brush.feathering + 0.05), BODY, start=0.3, stop=1.0, size=size)
    brush.blob(lower, belly, within=(BODY,))
    breast = lower[int(_SPINE_STEPS * 0.28) :]
    if species.belly_pattern == "streaks":
        _streak(brush, breast, brush.colour(species.belly_mark))
    else:
        soft = darker(belly, brush.feathering) if sum(belly) > 250 else lighter(belly, brush.feathering)
        brush.scallops(breast, soft, BODY, start=0.05, stop=0.95, size=size)
    if species.belly_pattern == "bib":
        bib = lower[int(_SPINE_STEPS * 0.1) : int(_SPINE_STEPS * 0.45)]
        brush.blob(bib, brush.colour(species.belly_mark), within=(BODY,))


def _streak(brush: Brush, chain: np.ndarray, fill: Colour) -> None:
    lines = []
    for x, y, radius in chain[:: max(len(chain) // 9, 1)]:
        for start in np.array([x, y]) + brush.rng.uniform(-0.8, 0.8, (4, 2)) * radius:
            end = start + np.array([brush.rng.normal(0, 0.01) - 0.02, 0.07])
            lines.append(np.stack([start, end]))
    brush.lines(lines, 0.02, fill, within=(BODY,), opacity=0.8)
