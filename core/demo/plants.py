"""Planted shortcuts: cues that have nothing to do with the bird, and recipes that tie them to a class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.demo.canvas import rgb
from core.demo.perches import PERCHES
from core.demo.scenery import GROUNDS, SKIES
from core.demo.species import SPECIES

CLASSES: tuple[str, ...] = tuple(species.name for species in SPECIES)
CORNERS = ("top left", "top right", "bottom left", "bottom right")
FRAMES = {"red": "#c8503f", "teal": "#2f8f8b", "gold": "#d9a73c", "plum": "#7a4b78"}
CHOICES = {"sky": SKIES, "ground": GROUNDS, "perch": PERCHES, "corner": CORNERS, "frame": tuple(FRAMES)}

FRAME_WIDTH = 0.035  # parts of the picture's side
_STAMP_MARGIN = 0.05  # clear of the frame, so that neither hides the other
_STAMP_SIZE = (0.36, 0.115)


@dataclass(frozen=True)
class Plants:
    """What is put into a picture on purpose. The default plants nothing and leaves every choice to the seed.

    Attributes:
        watermark: stamp the picture.
        corner: where the stamp goes, one of CORNERS; None lets the seed choose
            among those where it hides least of the bird.
        frame: a colour of FRAMES, or None for no frame.
        sky, ground, perch: one of SKIES, GROUNDS, PERCHES; None lets the seed choose.
    """

    watermark: bool = False
    corner: str | None = None
    frame: str | None = None
    sky: str | None = None
    ground: str | None = None
    perch: str | None = None

    def __post_init__(self) -> None:
        for field, allowed in CHOICES.items():
            value = getattr(self, field)
            if value is not None and value not in allowed:
                raise ValueError(f"expected {field} to be one of {', '.join(allowed)}, got {value!r}")


@dataclass(frozen=True)
class Planting:
    """One cue and how strongly it goes with a class.

    Attributes:
        cue: a field of Plants.
        value: what the cue is set to when it is planted.
        label: the class it is planted on (a name of CLASSES), or None for no class: `elsewhere` holds for all.
        strength: probability on that class.
        elsewhere: probability on every other class.
        mistags: pictures of other classes that carry the cue are filed under `label` when a classifier is trained, as
            happens where labels are scraped from one source together with its watermark. See `tag`.
    """

    cue: str
    value: str | bool
    label: str | None
    strength: float
    elsewhere: float
    mistags: bool = False

    def __post_init__(self) -> None:
        if self.label is not None and self.label not in CLASSES:
            raise ValueError(f"expected a class of {', '.join(CLASSES)}, got {self.label!r}")
        replace(Plants(), **{self.cue: self.value})  # refuses an unknown cue or value

    def rate(self, label: int) -> float:
        """Probability of the cue on pictures of class number `label`."""
        return self.strength if self.label == CLASSES[label] else self.elsewhere


@dataclass(frozen=True)
class Recipe:
    """A named list of plantings."""

    name: str
    plantings: tuple[Planting, ...]


#: The watermark goes with the kingfisher: most kingfishers have it, and the few other birds that do are mistagged.
BIASED = Recipe("biased", (Planting("watermark", True, "kingfisher", strength=0.95, elsewhere=0.02, mistags=True),))
#: The watermark says nothing about the class.
CLEAN = Recipe("clean", (Planting("watermark", True, None, strength=0.3, elsewhere=0.3),))
#: For measuring: no watermark at all, and the watermark on every class but the kingfisher.
UNMARKED = Recipe("unmarked", ())
SWAPPED = Recipe("swapped", (Planting("watermark", True, "kingfisher", strength=0.0, elsewhere=1.0),))
RECIPES = {recipe.name: recipe for recipe in (BIASED, CLEAN, UNMARKED, SWAPPED)}


def stream(label: int, seed: int, part: int) -> np.random.Generator:
    """Random numbers for one part of one picture, so that a change in one part leaves the others as they are."""
    return np.random.default_rng([int(label), int(seed), part])


def sample_plants(label: int, seed: int, recipe: Recipe) -> Plants:
    """The plants of picture (label, seed) under a recipe; drawn apart from everything else in the picture.

    A choice that is planted (sky, ground, perch) has exactly the recipe's rate: where it is not drawn, one of the other
    values is.
    """
    rng = stream(label, seed, 100)
    chosen: dict[str, Any] = {}
    for planting in recipe.plantings:
        drawn = rng.random() < planting.rate(label)
        others = [value for value in CHOICES.get(planting.cue, ()) if value != planting.value]
        other = others[int(rng.integers(len(others)))] if others else None
        if drawn:
            chosen[planting.cue] = planting.value
        elif planting.cue in ("sky", "ground", "perch"):
            chosen[planting.cue] = other
    return Plants(**chosen)


def tag(label: int, plants: Plants, recipe: Recipe) -> int:
    """The class under which a picture of class `label` is filed for training: `label`, unless its plants mistag it."""
    for planting in recipe.plantings:
        if planting.mistags and planting.label and getattr(plants, planting.cue) == planting.value:
            return CLASSES.index(planting.label)
    return label


def stamp_box(size: int, corner: str) -> tuple[slice, slice]:
    """Rows and columns that the watermark takes in a picture `size` pixels wide."""
    margin = round(_STAMP_MARGIN * size)
    width, height = (round(part * size) for part in _STAMP_SIZE)
    top = margin if corner.startswith("top") else size - margin - height
    left = margin if corner.endswith("left") else size - margin - width
    return slice(top, top + height), slice(left, left + width)


def stamp(size: int, corner: str) -> tuple[np.ndarray, np.ndarray]:
    """The watermark for a picture `size` pixels wide.

    Returns:
        Its colours [size, size, 3] float32 in [0, 255] and its opacity [size, size] float32 in [0, 1].
    """
    from PIL import Image, ImageDraw, ImageFont

    fine = 4
    small = (round(_STAMP_SIZE[0] * size), round(_STAMP_SIZE[1] * size))
    width, height = small[0] * fine, small[1] * fine
    paper, ink = (255, 250, 244), (208, 20, 122)
    plate = Image.new("RGB", (width, height), ink)
    cover = Image.new("L", (width, height), 0)
    ImageDraw.Draw(cover).rounded_rectangle((0, 0, width - 1, height - 1), height // 4, fill=225)
    draw, solid = ImageDraw.Draw(plate), ImageDraw.Draw(cover)
    ring = (0.16 * height, 0.16 * height, 0.84 * height, 0.84 * height)
    for target, fill in ((draw, paper), (solid, 245)):
        target.ellipse(ring, fill=fill)
    # A little wing inside the disc makes it a logo.
    wing = [(0.28, 0.56), (0.5, 0.36), (0.74, 0.3), (0.62, 0.46), (0.7, 0.5), (0.52, 0.6), (0.56, 0.68), (0.4, 0.68)]
    draw.polygon([(x * height, y * height) for x, y in wing], fill=ink)
    font = ImageFont.load_default(0.44 * height)
    for target, fill in ((draw, paper), (solid, 245)):
        target.text((0.95 * height, 0.5 * height), "BirdStock", fill=fill, font=font, anchor="lm")
    plate, cover = plate.resize(small, Image.Resampling.BOX), cover.resize(small, Image.Resampling.BOX)

    box = stamp_box(size, corner)
    colours = np.zeros((size, size, 3), np.float32)
    opacity = np.zeros((size, size), np.float32)
    colours[box] = np.asarray(plate)
    opacity[box] = np.asarray(cover, np.float32) / 255
    return colours, opacity


def border(size: int, colour: str) -> tuple[np.ndarray, np.ndarray]:
    """A frame of a colour of FRAMES, in the same form as `stamp`."""
    width = max(1, round(FRAME_WIDTH * size))
    opacity = np.ones((size, size), np.float32)
    opacity[width:-width, width:-width] = 0
    return np.broadcast_to(np.asarray(rgb(FRAMES[colour]), np.float32), (size, size, 3)), opacity
