"""The demo birds as a data set, rendered as they are read."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache, partial

from PIL import Image

from core.beforehand import DATA_SETS, DEMO, data_folder
from core.data import Dataset, Item
from core.demo.birds import Scene
from core.demo.plants import CLASSES, RECIPES
from core.demo.scenes import Scenes, scenes
from core.demo.segments import SEGMENTS
from core.images import Picture
from core.segments import Segments, segments_from_label_map

COUNT = 400
SIZE = 224
# pictures of this seed are in no training set
SEED = 2_000_000


def demo_dataset(name: str, count: int = COUNT, seed: int = SEED) -> Dataset:
    """`birds` (the watermark goes with the kingfisher, as in the biased model's training), `birds-clean` or
    `birds-swapped` (a watermark on every other bird).

    Raises:
        UserError: there is no such data set.
    """
    data_folder(DEMO + name)
    rendered = _rendered(name, count, seed)

    def item(index: int) -> Item:
        label, own, plants = rendered.plan(index)
        columns = {key: str(value) for key, value in asdict(plants).items() if value not in (None, False)}
        return Item(
            id=f"{index:05d}_{CLASSES[label]}",
            label=CLASSES[label],
            picture=partial(_picture, name, count, seed, index, f"{CLASSES[label]} {index}"),
            segments=partial(_segments, name, count, seed, index),
            columns={"seed": str(own), **columns},
        )

    return Dataset(f"demo {name}", f"demo:{name}", tuple(item(i) for i in range(count)))


@lru_cache(maxsize=4)
def _rendered(name: str, count: int, seed: int) -> Scenes:
    return scenes(RECIPES[DATA_SETS[name]], count, seed, SIZE)


@lru_cache(maxsize=4)  # the picture and its mask come from one rendering
def _scene(name: str, count: int, seed: int, index: int) -> Scene:
    return _rendered(name, count, seed)[index]


def _picture(name: str, count: int, seed: int, index: int, called: str) -> Picture:
    return Picture(Image.fromarray(_scene(name, count, seed, index).image), called)


def _segments(name: str, count: int, seed: int, index: int) -> Segments:
    return segments_from_label_map(_scene(name, count, seed, index).mask, dict(SEGMENTS), source="demo")
