"""A small data set of drawn parts: a disc, a bar and what lies behind, in places and shades of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from core.data import Dataset, Item
from core.images import Picture
from core.segments import Segments

SIZE = 32
NAMES = ("behind", "disc", "bar")
COLOURS = {"behind": (70, 120, 60), "disc": (200, 60, 50), "bar": (40, 60, 190)}


def draw(seed: int) -> tuple[Picture, Segments]:
    """One picture and its three named parts."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    y, x = rng.integers(8, 13), rng.integers(9, 24)
    disc = np.hypot(rows - y, columns - x) < rng.uniform(4, 6)
    top, left = rng.integers(21, 26), rng.integers(2, 8)
    bar = (rows >= top) & (rows < top + 4) & (columns >= left) & (columns < left + rng.integers(14, 20))
    image = np.empty((SIZE, SIZE, 3))
    masks = [~(disc | bar), disc, bar]
    for name, mask in zip(NAMES, masks):
        image[mask] = np.array(COLOURS[name]) + rng.normal(0, 12, 3)
    image += rng.normal(0, 4, image.shape)
    picture = Picture(Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)), f"{seed}.png")
    return picture, Segments.from_masks(np.stack(masks), NAMES, ("unset",) * 3)


def nameless(segments: Segments) -> Segments:
    """The same masks without names."""
    return replace(segments, items=tuple(replace(item, name="", naming="") for item in segments))


def parts_data(count: int = 8, looked_at: Callable[[str], None] = lambda _: None) -> Dataset:
    """Pictures "0", "1", ... whose masks have no names; `looked_at` is told whenever one is read."""

    def item(seed: int) -> Item:
        def picture() -> Picture:
            looked_at(str(seed))
            return draw(seed)[0]

        return Item(str(seed), None, picture, lambda: nameless(draw(seed)[1]))

    return Dataset("parts", "parts", tuple(item(seed) for seed in range(count)))


def examples(*seeds: int) -> dict[str, Segments]:
    return {str(seed): draw(seed)[1] for seed in seeds}
