"""Pictures of nothing in particular, with exact masks: what a SAM learns edges, blobs and nested things from.

Random things on random grounds: few or many, nested, touching, soft or ragged at the border, hardly or plainly set
off in tone, under uneven light, with hairs, dust and dark corners that belong to nothing. No real picture is behind
any of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.demo.making.sam_shapes import OUTLINES, TEXTURES, cover, hairs, noise, texture

GROUND = 0  # the label of what lies behind everything


@dataclass(frozen=True, eq=False)
class Labelled:
    """A picture whose every pixel belongs to one thing, and the things to larger things.

    Attributes:
        image: [h, w, 3] uint8, RGB.
        labels: [h, w] uint8, the topmost thing.
        parents: thing -> the thing that it is a part of; the others stand for themselves. A thing's whole is its own
            pixels and its parts' wholes.
    """

    image: np.ndarray
    labels: np.ndarray
    parents: dict[int, int]


def scene(seed: int, side: int) -> Labelled:
    """One scene, from its arguments alone."""
    rng = np.random.default_rng([seed, 77])
    kind = rng.choice(("close", "several", "mosaic"), p=(0.45, 0.4, 0.15))
    painter = _Painter(rng, side)
    if kind == "mosaic":
        painter.mosaic(int(rng.integers(3, 16)))
    elif kind == "close":
        _close_up(painter)
    else:
        _crowd(painter)
    return Labelled(_finish(rng, painter.image), painter.labels, painter.parents)


class _Painter:
    """A picture in the making: colours as float32 in [0, 255], and what is topmost."""

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.rng, self.side = rng, side
        self.labels = np.full((side, side), GROUND, np.uint8)
        self.parents: dict[int, int] = {}
        self.count = 0
        self.base = _colour(rng)
        # how far neighbouring colours are apart: in one picture all of them far or all near, rarely both
        self.tone_step = float(10 ** rng.uniform(1.3, 2.1))
        self.softness = float(rng.choice((0.0, 0.8, 1.6, 3.0), p=(0.4, 0.3, 0.2, 0.1)))
        self.image = self._fill(self.base, 0.05)

    def _fill(self, colour: np.ndarray, mottled: float) -> np.ndarray:
        """The picture full of a colour; as often as `mottled`, its texture is about as strong as that step."""
        kind = str(self.rng.choice(TEXTURES, p=(0.3, 0.35, 0.15, 0.1, 0.1)))
        if self.rng.random() < mottled:
            kind, depth = "cloud", self.tone_step * self.rng.uniform(0.2, 0.5)
        else:
            depth = min(self.tone_step * 0.5, 40.0) * self.rng.uniform(0.1, 0.6)
        tone = self.rng.normal(1, 0.25, 3).astype(np.float32)
        return colour.astype(np.float32) + depth * texture(self.rng, self.side, kind)[..., None] * tone

    def other_colour(self, than: np.ndarray) -> np.ndarray:
        """A colour about the picture's step of tone away from `than`: mostly lighter or darker, or of another hue."""
        for _ in range(4):
            step = self.rng.standard_normal(3) * (0.6 if self.rng.random() < 0.6 else 1.3)
            step += self.rng.choice((-1.0, 1.0))
            colour = than + step / max(float(np.linalg.norm(step)), 1e-6) * self.tone_step * self.rng.uniform(0.8, 1.6)
            if np.abs(np.clip(colour, 0, 255) - than).sum() > self.tone_step * 0.5:
                break
        return np.clip(colour, 0, 255)

    def add(
        self, centre: tuple[float, float], radius: float, kind: str, colour: np.ndarray, parent: int | None = None
    ) -> int | None:
        """Lay a thing over the picture; a part stays within its parent. None if nothing of it is seen."""
        rng = self.rng
        alpha = cover(rng, self.side, centre, radius, kind, self.softness * rng.uniform(0.5, 1.3))
        if parent is not None:
            alpha = alpha * (self.labels == parent)
        inside = alpha > 0.5
        if inside.sum() < 12 or self.count >= 250:
            return None
        fill = self._fill(colour, 0.25)
        if rng.random() < 0.35:
            fill = fill + _bulge(inside) * rng.normal(0, 0.35 * min(self.tone_step, 60))
        self.image += (fill - self.image) * alpha[..., None]
        if rng.random() < 0.25:
            self.image += (_rim(alpha) * rng.normal(0, 0.7 * min(self.tone_step, 60)))[..., None]
        self.count += 1
        self.labels[inside] = self.count
        if parent is not None:
            self.parents[self.count] = parent
        return self.count

    def mosaic(self, count: int) -> None:
        """Divide the picture among so many things that touch one another."""
        sites = self.rng.uniform(0, self.side, (count, 2)).astype(np.float32)
        bend = self.side * self.rng.uniform(0, 0.12)
        y, x = np.mgrid[: self.side, : self.side].astype(np.float32)
        x, y = (axis + bend * noise(self.rng, self.side, self.rng.uniform(2, 9)) for axis in (x, y))
        nearest = ((x - sites[:, 0, None, None]) ** 2 + (y - sites[:, 1, None, None]) ** 2).argmin(0)
        for number in range(count):
            self.image[nearest == number] = self._fill(self.other_colour(self.base), 0.1)[nearest == number]
        self.labels[:] = nearest + 1
        self.count = count


def _close_up(painter: _Painter) -> None:
    """One large thing with parts, smaller ones around and behind it."""
    rng, side = painter.rng, painter.side
    if rng.random() < 0.6:
        _scatter(painter, int(rng.integers(1, 6)), side * rng.uniform(0.1, 0.25))
    centre = rng.normal(side / 2, side * 0.08, 2)
    radius = side * rng.uniform(0.15, 0.46)
    kind = str(rng.choice(("ellipse", "blob", "ragged", "polygon"), p=(0.3, 0.4, 0.25, 0.05)))
    colour = painter.other_colour(painter.base)
    thing = painter.add((float(centre[0]), float(centre[1])), radius, kind, colour)
    if thing is not None and rng.random() < 0.7:
        _parts(painter, thing, radius, colour, int(rng.integers(1, 4)))


def _crowd(painter: _Painter) -> None:
    """Many things of all kinds, some touching, some with parts."""
    rng = painter.rng
    _scatter(painter, int(rng.integers(3, 14)), painter.side * rng.uniform(0.05, 0.2))


def _scatter(painter: _Painter, count: int, size: float) -> None:
    rng, side = painter.rng, painter.side
    alike = str(rng.choice(OUTLINES)) if rng.random() < 0.5 else None
    shared = painter.other_colour(painter.base) if rng.random() < 0.5 else None
    before: tuple[float, float, float] | None = None
    for _ in range(count):
        radius = float(size * np.exp(rng.normal(0, 0.35)))
        x, y = (float(v) for v in rng.uniform(0, side, 2))
        if before is not None and rng.random() < 0.3:
            turn, reach = rng.uniform(0, 2 * np.pi), (before[2] + radius) * rng.uniform(0.85, 1.02)
            x, y = before[0] + reach * np.cos(turn), before[1] + reach * np.sin(turn)
        colour = painter.other_colour(painter.base) if shared is None else np.clip(shared + rng.normal(0, 6, 3), 0, 255)
        thing = painter.add((x, y), radius, alike or str(rng.choice(OUTLINES)), colour)
        before = (x, y, radius)
        if thing is not None and rng.random() < 0.4:
            _parts(painter, thing, radius, colour, int(rng.integers(1, 3)))


def _parts(painter: _Painter, parent: int, radius: float, colour: np.ndarray, count: int) -> None:
    """Put things into a thing, each around a point well inside it."""
    import cv2

    rng = painter.rng
    for _ in range(count):
        depth = cv2.distanceTransform((painter.labels == parent).astype(np.uint8), cv2.DIST_L2, 3)
        deep = np.argwhere(depth >= max(2.0, 0.6 * float(depth.max())))
        if not len(deep):
            return
        y, x = deep[int(rng.integers(len(deep)))]
        size = radius * rng.uniform(0.12, 0.75)
        kind = str(rng.choice(("ellipse", "blob", "lobes", "ragged", "polygon"), p=(0.3, 0.25, 0.25, 0.1, 0.1)))
        painter.add((float(x), float(y)), size, kind, painter.other_colour(colour), parent)


def _bulge(inside: np.ndarray) -> np.ndarray:
    """[side, side, 1] in [-0.5, 0.5]: highest in the middle of a thing."""
    import cv2

    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    return (depth / max(float(depth.max()), 1.0) - 0.5)[..., None]


def _rim(alpha: np.ndarray) -> np.ndarray:
    """[side, side]: a thin band inside a thing's border."""
    import cv2

    return np.clip(alpha - cv2.GaussianBlur(alpha, (0, 0), 2.0), 0, 1) * 2


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Any colour, grey ones and light ones more often than others."""
    grey = rng.uniform(10, 245) if rng.random() < 0.6 else rng.uniform(170, 245)
    return np.clip(grey + rng.normal(0, 1, 3) * rng.choice((4.0, 25.0, 70.0)), 0, 255)


def _finish(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """What lies over a picture and belongs to nothing in it: light, hairs, dust, dark corners, blur and noise."""
    import cv2

    side = len(image)
    across = np.linspace(-1, 1, side, dtype=np.float32)
    if rng.random() < 0.5:
        slope = rng.normal(0, 0.18, 2)
        image = image * (1 + slope[0] * across[None, :, None] + slope[1] * across[:, None, None])
    if rng.random() < 0.25:
        strands = hairs(rng, side, int(rng.integers(1, 25))) * rng.uniform(0.4, 1)
        image = image + (_colour(rng) * rng.uniform(0.1, 1) - image) * strands[..., None]
    if rng.random() < 0.15:
        dust = texture(rng, side, "dots")
        image = image + dust[..., None] * rng.uniform(5, 50)
    if rng.random() < 0.2:
        radius = np.sqrt(across[None, :] ** 2 + across[:, None] ** 2)
        start, width = rng.uniform(0.85, 1.25), rng.uniform(0.03, 0.4)
        image = image * (1 - np.clip((radius - start) / width, 0, 1) * rng.uniform(0.4, 1))[..., None]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), rng.uniform(0.4, 1.8))
    grain = rng.standard_normal((side, side, 3), np.float32) * rng.uniform(0, 9)
    return np.clip(image + grain + 0.5, 0, 255).astype(np.uint8)
