"""Data sets of demo birds: one that renders as it is read, and one written to a folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from core.demo.birds import Scene, render
from core.demo.plants import CLASSES, Plants, Recipe, sample_plants
from core.demo.segments import SEGMENTS

COLUMNS = ("image", "mask", "label", "seed", "watermark", "frame", "ground", "sky", "perch")


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


def segment_names() -> dict[str, dict[str, str]]:
    """What segments.json says: mask value -> name and kind."""
    return {str(value): {"name": name, "kind": kind} for value, (name, kind) in SEGMENTS.items()}


def write_folder(directory: str | Path, recipe: Recipe, count: int, seed: int, size: int = 224) -> Path:
    """Write a data set: images/, masks/ (PNG label maps), segments.json and manifest.csv, which comes last.

    Args:
        directory: made where it is missing.
        recipe, count, seed, size: as for `scenes`.

    Returns:
        The path of the manifest, whose columns are COLUMNS and whose paths are relative to `directory`.
    """
    from PIL import Image

    directory = Path(directory)
    for part in ("images", "masks"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    (directory / "segments.json").write_text(json.dumps(segment_names(), indent=1) + "\n", encoding="utf-8")
    rows = []
    for index, scene in enumerate(scenes(recipe, count, seed, size)):
        stem = f"{index:05d}_{CLASSES[scene.label]}"
        image, mask = f"images/{stem}.png", f"masks/{stem}.png"
        Image.fromarray(scene.image).save(directory / image)
        Image.fromarray(scene.mask).save(directory / mask)
        plants = scene.plants
        rows.append(
            (image, mask, CLASSES[scene.label], scene.seed, int(plants.watermark), plants.frame or "", plants.ground,
             plants.sky, plants.perch)
        )  # fmt: skip
    manifest = directory / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return manifest
