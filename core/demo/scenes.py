"""Data sets of demo birds, rendered as they are read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.demo.birds import Scene, render
from core.demo.plants import CLASSES, Plants, Recipe, sample_plants


class Scenes:
    """`count` pictures under a recipe. Classes take turns; picture i is rendered when it is asked for.

    The pictures of two data sets with different seeds have nothing in common. With the same seed, two recipes give the
    same birds in the same places and differ in the plants only.
    """

    def __init__(self, recipe: Recipe, count: int, seed: int, size: int = 224) -> None:
        self.recipe, self.count, self.seed, self.size = recipe, count, seed, size

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Scene]:
        return (self[index] for index in range(self.count))

    def __getitem__(self, index: int) -> Scene:
        label, scene_seed, plants = self.plan(index)
        return render(label, scene_seed, self.size, plants)

    def plan(self, index: int) -> tuple[int, int, Plants]:
        """(label, seed, plants) of picture `index`, without rendering it."""
        if index < 0:
            index += self.count
        if not 0 <= index < self.count:
            raise IndexError(f"expected an index below {self.count}, got {index}")
        label = index % len(CLASSES)
        scene_seed = int(np.random.SeedSequence([self.seed, index]).generate_state(1)[0])
        return label, scene_seed, sample_plants(label, scene_seed, self.recipe)


def scenes(recipe: Recipe, count: int, seed: int, size: int = 224) -> Scenes:
    """A data set that renders as it is read; see Scenes."""
    return Scenes(recipe, count, seed, size)
