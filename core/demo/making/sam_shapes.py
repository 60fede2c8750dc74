"""Random outlines and textures, from which scenes to train a SAM on are put together."""

from __future__ import annotations

import math

import numpy as np

OUTLINES = ("ellipse", "blob", "ragged", "polygon", "box", "lobes", "stroke")
TEXTURES = ("none", "cloud", "grain", "stripes", "dots")
_SHIFT = 4  # OpenCV takes fixed-point coordinates: 4 fractional bits


def noise(rng: np.random.Generator, side: int, cells: float) -> np.ndarray:
    """[side, side] float32 of about unit variance: smooth noise with so many bumps across."""
    import cv2

    coarse = max(2, min(side, round(cells) + 1))
    values = rng.standard_normal((coarse, coarse), np.float32)
    return cv2.resize(values, (side, side), interpolation=cv2.INTER_CUBIC if coarse < side else cv2.INTER_NEAREST)


def texture(rng: np.random.Generator, side: int, kind: str) -> np.ndarray:
    """[side, side] float32 around 0, mostly within [-2, 2]; `kind` is one of TEXTURES."""
    import cv2

    if kind == "none":
        return np.zeros((side, side), np.float32)
    if kind == "cloud":
        start = rng.uniform(2, 8)
        layers = [noise(rng, side, start * 2.2**octave) * 0.6**octave for octave in range(4)]
        return 0.8 * np.stack(layers).sum(0)
    if kind == "grain":
        return noise(rng, side, side / rng.uniform(1, 5))
    if kind == "stripes":
        angle, period = rng.uniform(0, np.pi), rng.uniform(4, 30)
        across = np.arange(side, dtype=np.float32)
        phase = (math.cos(angle) * across[None, :] + math.sin(angle) * across[:, None]) * (2 * math.pi / period)
        return np.sin(phase + 1.5 * noise(rng, side, rng.uniform(2, 6)))
    dots = np.zeros((side, side), np.uint8)
    for x, y in rng.integers(0, side, (int(rng.integers(20, 160)), 2)).tolist():
        cv2.circle(dots, (x, y), int(rng.integers(1, 5)), 255, -1, cv2.LINE_AA)
    return (dots.astype(np.float32) / 255 - 0.2) * float(rng.choice((-1.5, 1.5)))


def outline(rng: np.random.Generator, kind: str) -> list[np.ndarray]:
    """Closed curves [N, 2] around the origin, of a radius of about 1; several where the thing has several parts.

    `kind` is one of OUTLINES but "stroke".
    """
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    flat = np.array([1, rng.uniform(0.35, 1) if rng.random() < 0.5 else rng.uniform(0.8, 1)])
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    if kind == "polygon":
        corners = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        curves = [np.stack([np.cos(corners), np.sin(corners)], 1) * rng.uniform(0.7, 1.1, (len(corners), 1))]
    elif kind == "box":
        power = 2 / rng.uniform(4, 20)  # a superellipse: from rounded to sharp
        curves = [np.sign(circle) * np.abs(circle) ** power * 0.85]
    elif kind == "lobes":
        count, spread = int(rng.integers(2, 5)), rng.uniform(0.4, 0.8)
        around = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.uniform(0.7, 1.9, count))
        middles = spread * np.stack([np.cos(around), np.sin(around)], 1)
        curves = [middle + circle * rng.uniform(0.3, 0.55) * wobble(rng, angles, 0.08)[:, None] for middle in middles]
    else:
        strength = {"ellipse": 0.0, "blob": rng.uniform(0.05, 0.28), "ragged": rng.uniform(0.05, 0.2)}[kind]
        curves = [circle * wobble(rng, angles, strength, ragged=kind == "ragged")[:, None]]
    return [(curve * flat) @ rotation.T for curve in curves]


def wobble(rng: np.random.Generator, angles: np.ndarray, strength: float, *, ragged: bool = False) -> np.ndarray:
    """A radius for each angle: 1 with random waves on it, few and smooth ones or also many and fine ones."""
    waves = np.arange(2, 24 if ragged else 7)
    heights = rng.standard_normal(len(waves)) / (waves / 2) ** (0.7 if ragged else 1.2)
    phases = rng.uniform(0, 2 * np.pi, len(waves))
    radius = 1 + strength * (heights[:, None] * np.cos(waves[:, None] * angles + phases[:, None])).sum(0)
    return np.maximum(radius, 0.2)


def cover(
    rng: np.random.Generator, side: int, centre: tuple[float, float], radius: float, kind: str, softness: float = 0.0
) -> np.ndarray:
    """[side, side] float32 in [0, 1]: how much of each pixel a random thing covers.

    Args:
        centre: (x, y) in pixels; radius: in pixels.
        kind: one of OUTLINES.
        softness: standard deviation of the blur of its border in pixels; the border is where the cover is one half.
    """
    import cv2

    plane = np.zeros((side, side), np.uint8)
    if kind == "stroke":
        steps = np.cumsum(rng.standard_normal((6, 2)) * 0.35 + rng.standard_normal(2) * 0.4, axis=0)
        path = _smooth(steps - steps.mean(0)) * radius + np.asarray(centre)
        thickness = max(2, round(radius * rng.uniform(0.05, 0.35)))
        cv2.polylines(plane, [_fixed(path)], False, 255, thickness, cv2.LINE_AA, _SHIFT)
    else:
        for curve in outline(rng, kind):
            cv2.fillPoly(plane, [_fixed(curve * radius + np.asarray(centre))], 255, cv2.LINE_AA, _SHIFT)
    alpha = plane.astype(np.float32) / 255
    return cv2.GaussianBlur(alpha, (0, 0), softness) if softness > 0.3 else alpha


def hairs(rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    """[side, side] float32 in [0, 1]: thin curves across the picture."""
    import cv2

    plane = np.zeros((side, side), np.uint8)
    for _ in range(count):
        ends = rng.uniform(-0.1, 1.1, (2, 2)) * side
        bend = rng.standard_normal(2) * side * 0.15
        t = np.linspace(0, 1, 24)[:, None]
        path = ends[0] * (1 - t) + ends[1] * t + bend * 4 * t * (1 - t)
        cv2.polylines(plane, [_fixed(path)], False, 255, int(rng.integers(1, 3)), cv2.LINE_AA, _SHIFT)
    return plane.astype(np.float32) / 255


def _smooth(points: np.ndarray) -> np.ndarray:
    """Corner cutting, three times (Chaikin)."""
    for _ in range(3):
        quarter, three = points[:-1] * 0.75 + points[1:] * 0.25, points[:-1] * 0.25 + points[1:] * 0.75
        points = np.stack([quarter, three], 1).reshape(-1, 2)
    return points


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)
