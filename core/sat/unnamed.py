"""What nobody named: areas that draw attention and lie in no segment, put together by what the model makes of them.

For each class, areas (`core.sat.areas`) that look alike to the model form a gallery. Those of the largest galleries are
removed, as segments are, against placebos of the same shape in the same picture, and judged by the same rules; nothing
is cleared, because a thing is pasted elsewhere only once it has a name (`core.sat.fed_back`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core.runtime.randomness import derived_seed
from core.runtime.streams import streamed
from core.sat.areas import DIMENSIONS, mask_of
from core.sat.batch import Scene
from core.sat.evidence import Evidence, gather
from core.sat.examples import encode_picture
from core.sat.judging import judged, strongest_first
from core.sat.sentences import Lack, bounds, unnamed_sentence
from core.sat.verdicts import lacking
from core.storage.pack import Packer

REVISION = 1  # of how areas are found: raised when the same pictures give others
ALIKE = 0.5  # cosine between what the model makes of two areas, from which they are of one kind
COMPARED = 400  # areas of a class that are compared with each other; all others with what comes of them
LEAST = 5  # pictures of a gallery
LEAST_PART = 0.05  # of a class's pictures
GALLERIES, A_CLASS = 8, 3
TESTED = 30  # pictures of a gallery that are tested
SHOWN = 6  # pictures of a gallery that are kept
PALE = 0.6  # how far the rest of a picture goes towards white where an area is shown
Test = tuple[str, str, int, tuple[dict[str, Any], ...]]  # picture, gallery's name, class, areas
WORD = "unnamed"  # what records call a gallery, with its number


@dataclass(frozen=True, eq=False)
class Gallery:
    """Areas of one class that look alike to the model.

    Attributes:
        number: from 1, the one that holds most attribution first. target: the class's index.
        areas: records of `core.sat.areas`, the largest share first. of: pictures of the class that have segments.
    """

    number: int
    target: int
    areas: pd.DataFrame
    of: int

    @property
    def name(self) -> str:
        """Of its records."""
        return f"{WORD} {self.number}"

    @cached_property
    def by_image(self) -> dict[str, list[dict[str, Any]]]:
        """Its areas by picture, the largest share first."""
        found: dict[str, list[dict[str, Any]]] = {}
        for record in self.areas.to_dict("records"):
            found.setdefault(record["image"], []).append(record)
        return found

    @property
    def share(self) -> float:
        """Median part of a picture's positive attribution."""
        return float(self.areas.groupby("image")["share"].sum().median())

    @property
    def groups(self) -> int:
        return int(self.areas["group"].nunique())

    def tested(self, seed: int) -> list[str]:
        """Pictures in which it is removed: whichever, not the strongest."""
        return sorted(self.by_image, key=lambda image: derived_seed(seed, image, self.name))[:TESTED]


def find_galleries(out: Path, pictures: pd.DataFrame, seed: int) -> list[Gallery]:
    """From a report's shards of areas.

    Args:
        pictures: the report's lines.

    Raises:
        UserError: a shard is damaged.
    """
    found: list[Gallery] = []
    if not len(pictures):
        return found
    totals = pictures[pictures["segments"] > 0].groupby("target").size()
    for target, areas in streamed([out / "areas"], "target"):
        of = int(totals.get(target, 0))
        own = []
        for _, part in areas.groupby(alike(_vectors(areas), seed)):
            if part["image"].nunique() >= max(LEAST, LEAST_PART * of):
                ordered = part.sort_values(["share", "image"], ascending=[False, True], ignore_index=True)
                own.append(Gallery(0, int(target), ordered.drop(columns="features"), of))
        found = _largest([*found, *_largest(own, A_CLASS)], GALLERIES)
    return [replace(gallery, number=number) for number, gallery in enumerate(found, 1)]


def _largest(galleries: Sequence[Gallery], most: int) -> list[Gallery]:
    return sorted(galleries, key=lambda g: (-float(g.areas["share"].sum()), g.target))[:most]


def _vectors(areas: pd.DataFrame) -> np.ndarray:
    found = np.frombuffer(b"".join(areas["features"]), np.float16).reshape(-1, DIMENSIONS).astype(np.float32)
    found[~found.any(1), 0] = 1  # where an area is as its picture
    return found


def alike(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """[N, D] of length 1 -> [N]: which kind each is of, by average linkage on the cosine, cut at `ALIKE`.

    Of more than `COMPARED` so many are put together, and each other one goes to the kind whose mean it is nearest to,
    or stands alone.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    count = len(vectors)
    if count < 2:
        return np.zeros(count, int)
    order = np.random.default_rng(derived_seed(seed, "alike", count)).permutation(count)
    some, rest = order[:COMPARED], order[COMPARED:]
    kinds = np.full(count, -1)
    kinds[some] = fcluster(linkage(vectors[some], "average", metric="cosine"), 1 - ALIKE, "distance")
    if len(rest):
        numbers = np.unique(kinds[some])
        means = np.stack([vectors[some][kinds[some] == number].mean(0) for number in numbers])
        near = vectors[rest] @ (means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)).T
        alone = numbers.max() + 1 + np.arange(len(rest))
        kinds[rest] = np.where(near.max(1) >= ALIKE, numbers[near.argmax(1)], alone)
    return kinds


def tests_of(galleries: Sequence[Gallery], seed: int) -> list[Test]:
    """What is to be removed, picture by picture."""
    return [
        (image, gallery.name, gallery.target, tuple(gallery.by_image[image]))
        for gallery in galleries
        for image in gallery.tested(seed)
    ]


def scene_with(scene: Scene, name: str, areas: Sequence[Mapping[str, Any]]) -> Scene:
    """The same with these areas as a segment of that name."""
    mask = torch.stack([mask_of(dict(area)) for area in areas]).amax(0).to(scene.image.device)
    return replace(scene, masks={**scene.masks, name: mask}, kinds={**scene.kinds, name: "unset"})


def judge_unnamed(
    galleries: Sequence[Gallery], records: pd.DataFrame, labels: Sequence[str], delta: float, seed: int, tested: bool
) -> list[dict[str, Any]]:
    """One entry a gallery, strongest first, for JSON.

    Args:
        records: of `core.sat.effects`, with each gallery's own name in place of the segment's.
        tested: whether areas were removed at all.
    """
    parts = dict(list(records.groupby("segment"))) if len(records) else {}
    tests: dict[int, Evidence] = {}
    for gallery in galleries:
        part, planned = parts.get(gallery.name), len(gallery.tested(seed)) if tested else 0
        tests[gallery.number] = Evidence() if part is None else gather(part, 0.0, delta, planned, {})

    def lacks_of(number: int, test: Evidence) -> list[Lack]:
        lacks = [lack for lack in lacking(test, delta) if (lack.kind, lack.test) != ("untested", "pasting")]
        return [*lacks, Lack("unnamed")]

    verdicts = judged(tests, {gallery.number: gallery.groups for gallery in galleries}, delta, lacks_of)
    entries = []
    for gallery in galleries:
        test = tests[gallery.number]
        entry = {
            "number": gallery.number,
            "target": labels[gallery.target],
            "pictures": len(gallery.by_image),
            "groups": gallery.groups,
            "of": gallery.of,
            "share": gallery.share,
            "coverage": float(gallery.areas["coverage"].median()),
            **verdicts[gallery.number],
            "necessity": {effect.fill: bounds(effect) for effect in test.necessity},
            "changed": {effect.fill: [effect.changed, effect.placed] for effect in test.necessity},
        }
        entries.append({**entry, "sentence": unnamed_sentence(entry, test, delta)})
    return strongest_first(entries, lambda e: e["necessity"].values())


def write_galleries(
    pack: Packer, galleries: Sequence[Gallery], scene_of: Callable[[str], Scene]
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Write pictures of each gallery into a pack: (its number, [{file, image, share}, ...]) after each.

    Raises:
        UserError: the disk is full, or the place cannot be written to.
    """
    for gallery in galleries:
        kept = []
        for place, (image, areas) in enumerate(list(gallery.by_image.items())[:SHOWN]):
            scene = scene_with(scene_of(image), gallery.name, areas)
            file = pack.add(f"unnamed-{gallery.number}-{place}.jpg", encode_picture(shown(scene, gallery.name)))
            kept.append({"file": file, "image": image, "share": sum(area["share"] for area in areas)})
        yield gallery.number, kept


def shown(scene: Scene, name: str) -> Tensor:
    """[3, H, W]: the picture with all but the segment faded."""
    mask, image = scene.masks[name], scene.image
    grey = image.mean(0, keepdim=True)
    return torch.lerp((PALE + (1 - PALE) * grey).expand_as(image), image, mask)


def members(galleries: Sequence[Gallery]) -> pd.DataFrame:
    """All areas of all galleries, a line each: gallery, image, target, share, mask, geometry."""
    kept = ["image", "target", "share", "mask", "geometry"]
    parts = [gallery.areas[kept].assign(gallery=gallery.number) for gallery in galleries]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
