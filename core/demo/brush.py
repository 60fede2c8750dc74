"""How one bird is held and painted: its pose in the picture and the strokes that its parts share."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.demo.canvas import Canvas, Colour, Polygon, Strokes, Tube, darker, leaf, rgb
from core.demo.species import Species


@dataclass(frozen=True)
class Pose:
    """Where the bird is in the picture and how it holds itself.

    Attributes:
        matrix, offset: picture point = bird point @ matrix.T + offset.
        scale: picture units per bird unit.
        raised: degrees by which the wing is lifted; 0 is folded.
        nod: turn of the beak in degrees, positive downwards.
        foot: where the feet stand, picture units.
    """

    matrix: np.ndarray
    offset: np.ndarray
    scale: float
    raised: float
    nod: float
    foot: np.ndarray

    def place(self, points: np.ndarray) -> np.ndarray:
        """Bird points [N, 2] (or one [2]) in picture units."""
        return np.asarray(points, np.float64) @ self.matrix.T + self.offset

    def tube(self, chain: np.ndarray) -> Tube:
        """A chain of discs [N, 3] (x, y, radius) in picture units."""
        return Tube(self.place(chain[:, :2]), chain[:, 2] * self.scale)


def direction(degrees: float) -> np.ndarray:
    """0 points backwards (the bird faces right), 90 straight down."""
    angle = np.radians(degrees)
    return np.array([-np.cos(angle), np.sin(angle)])


def choose_pose(species: Species, rng: np.random.Generator) -> Pose:
    """A pose in which beak, trunk, tail and feet fit the picture."""
    tilt = np.radians(rng.uniform(-9, 9))
    flip = rng.random() < 0.5
    raised = float(rng.uniform(95, 135)) if rng.random() < 0.22 else 0.0
    nod = float(rng.uniform(-9, 12))
    fill = rng.uniform(0.68, 0.88)
    shift = rng.uniform(0, 1, 2)

    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    spine = np.asarray(species.spine)
    head = spine[0, :2]
    foot = turn @ np.asarray(species.hip) + np.array([0.02, species.legs + 0.06])
    tail_tip = spine[-1, :2] + direction(species.tail.angle) * species.tail.length
    reach = [turn @ (head + np.array([0.7 * spine[0, 2] + species.beak.length, 0.0])), turn @ tail_tip, foot]
    if raised:
        for share in (0.5, 0.75, 1.0):
            tip = direction(species.wing.angle - raised * share) * species.wing.length * 1.2
            reach.append(turn @ (np.asarray(species.wing.shoulder) + tip))
    discs = spine[:, :2] @ turn.T
    low = np.minimum(np.min(reach, 0), (discs - spine[:, 2:]).min(0))
    high = np.maximum(np.max(reach, 0), (discs + spine[:, 2:]).max(0))
    scale = fill / float(np.max(high - low))
    if flip:
        turn = np.diag([-1.0, 1.0]) @ turn
        low[0], high[0] = -high[0], -low[0]
        foot = foot * [-1, 1]
    # The feet stay above the picture's lower edge so that there is always something to stand on.
    margin = 0.06
    start = margin - low * scale
    room = np.maximum(1 - 2 * margin - (high - low) * scale - [0, 0.05], 0)
    offset = start + shift * room
    return Pose(turn * scale, offset, scale, raised, nod, foot * scale + offset)


class Brush:
    """Paints in bird units on a canvas, with plumage colours varied a little from bird to bird."""

    def __init__(self, canvas: Canvas, pose: Pose, rng: np.random.Generator) -> None:
        self.canvas, self.pose, self.rng = canvas, pose, rng
        self._hue = rng.normal(0, 0.014)
        self._saturation = rng.uniform(0.82, 1.1)
        self._value = rng.uniform(0.88, 1.08)
        self.feathering = rng.uniform(0.10, 0.22)

    def colour(self, code: str) -> Colour:
        """The species' colour as this one bird wears it."""
        hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in rgb(code)))
        red, green, blue = colorsys.hsv_to_rgb(
            (hue + self._hue) % 1, min(saturation * self._saturation, 1), min(value * self._value, 1)
        )
        return red * 255, green * 255, blue * 255

    def dots(self, places: list[np.ndarray], radius: float, fill: Colour, within: int) -> None:
        """Spots of one size on a part."""
        centres = self.pose.place(np.stack(places))
        self.canvas.paint(Tube(centres, np.full(len(centres), radius * self.pose.scale)), fill, within=(within,))

    def blob(self, chain: ArrayLike, fill: Colour, label: int | None = None, *, within: tuple[int, ...] = ()) -> None:
        """A chain of discs [N, 3] (x, y, radius)."""
        self.canvas.paint(self.pose.tube(np.asarray(chain, np.float64)), fill, label, within=within)

    def outline(self, points: np.ndarray, fill: Colour, label: int) -> None:
        """A filled outline [N, 2]."""
        self.canvas.paint(Polygon(self.pose.place(points)), fill, label)

    def lines(
        self,
        lines: Sequence[np.ndarray],
        width: float,
        fill: Colour,
        label: int | None = None,
        *,
        within: tuple[int, ...] = (),
        opacity: float = 1.0,
    ) -> None:
        """Open lines, each [N, 2]."""
        placed = [self.pose.place(line) for line in lines]
        self.canvas.paint(Strokes(placed, width * self.pose.scale), fill, label, within=within, opacity=opacity)

    def feather(
        self, base: np.ndarray, tip: np.ndarray, width: float, fill: Colour, label: int, *, blunt: float = 4.0
    ) -> None:
        """One feather with its edge drawn a little darker."""
        outline = self.pose.place(leaf(base, tip, width, blunt=blunt))
        self.canvas.paint(Polygon(outline), fill, label)
        edge = np.concatenate([outline[2:], outline[:1]])
        self.canvas.paint(Strokes([edge], 0.008 * self.pose.scale), darker(fill, 0.35), label)

    def scallops(self, chain: np.ndarray, fill: Colour, within: int, *, start: float, stop: float, size: float) -> None:
        """Small U-shaped feather edges over part of a chain of discs [N, 3]."""
        angles = np.linspace(-1.1, 1.1, 6)
        centres, headings = [], []
        for row, along in enumerate(np.arange(start, stop, size * 0.95)):
            position = along * (len(chain) - 1)
            index = min(int(position), len(chain) - 2)
            x, y, radius = chain[index] + (position - index) * (chain[index + 1] - chain[index])
            heading = chain[index + 1, :2] - chain[index, :2]
            heading = heading / max(float(np.hypot(*heading)), 1e-9)
            across = np.arange(-radius, radius, size * 0.8) + 0.4 * size * (row % 2)
            centres.append(np.array([x, y]) + across[:, None] * np.array([-heading[1], heading[0]]))
            headings.append(np.broadcast_to(heading, (len(across), 2)))
        middle, ahead = np.concatenate(centres), np.concatenate(headings)
        middle = middle + self.rng.normal(0, size * 0.05, middle.shape)
        side = np.stack([-ahead[:, 1], ahead[:, 0]], 1)
        bow = np.cos(angles)[None, :, None] * ahead[:, None] + np.sin(angles)[None, :, None] * side[:, None]
        self.lines(middle[:, None] + 0.42 * size * bow, 0.009, fill, within=(within,), opacity=0.75)
