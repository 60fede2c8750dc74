"""How well photos are cut: regions against SLIC and Felzenszwalb, and the compact SAM with and without them.

    uv run python benchmarks/photos.py [regions] [clicks] [everything] [birds] [--pictures N]

On photos on which about five people each drew regions (BSDS500's validation photos: `bsds_val` of the data that the
tests use). Every fourth photo served to choose the weights of core/segments/region_tree.py and is left out here.
Covering and recall (IoU of at least 0.5) as in Arbelaez et al. (TPAMI 2011), against each person, averaged; SLIC and
Felzenszwalb are asked for as many regions as there are of ours, photo by photo. `clicks`: one click at the middle of
each region that a person drew, of at least a hundredth of the photo. `birds`: whether the compact SAM still cuts the
rendered birds itself. Results go to benchmarks/results/photos.json, one part at a time.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import numpy as np
from figures import machine
from PIL import Image
from sam import BIRD_SIDE, DATA, HELD_OUT_BIRDS, RESULT, interval, iou

from core.demo.making.sam_lessons import middle
from core.demo.making.sam_pictures import bird
from core.images import Picture
from core.segments.sam.model import open_sam
from core.segments.segmenters.unnamed import SamSegmenter
from core.segments.unsure import NOTE, SURE, regions, sure_of

OUT = RESULT.with_name("photos.json")
LEAST = 0.01  # of a photo: what a person would click on
PARTS = ("regions", "clicks", "everything", "birds")


def photos(count: int) -> list[tuple[Picture, list[np.ndarray]]]:
    """(photo, what each person drew: [h, w] of numbers from 0 on), none of those that weights were chosen on."""
    folder = DATA / "bsds_val"
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = [(row["image"], row["mask"]) for row in csv.DictReader(file)]
    found = []
    for number, (image, drawn) in enumerate(groupby(rows, key=lambda row: row[0])):
        if number % 4:
            people = [np.asarray(Image.open(folder / mask)) for _, mask in drawn]
            numbered = [np.unique(one, return_inverse=True)[1].reshape(one.shape) for one in people]
            found.append((Picture(Image.open(folder / image).convert("RGB"), Path(image).stem), numbered))
    return found[:count]


def judged(masks: np.ndarray, people: list[np.ndarray]) -> tuple[float, float]:
    """(covering, recall) of masks [K, h, w], which may overlap."""
    coverings, recalls = [], []
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    for person in people:
        own = (np.arange(person.max() + 1)[:, None] == person.ravel()).astype(np.float32)
        both = own @ flat.T
        best = (both / (own.sum(1)[:, None] + flat.sum(1) - both)).max(1)
        coverings.append(float((own.sum(1) * best).sum() / own.sum()))
        recalls.append(float((best >= 0.5).mean()))
    return float(np.mean(coverings)), float(np.mean(recalls))


def planes(labels: np.ndarray) -> np.ndarray:
    return np.stack([labels == number for number in np.unique(labels)])


def slic(pixels: np.ndarray, count: int) -> np.ndarray:
    from skimage.segmentation import slic as cut

    return _nearest(lambda asked: cut(pixels, n_segments=round(asked), compactness=12.0, start_label=0), count, 1, 200)


def felzenszwalb(pixels: np.ndarray, count: int) -> np.ndarray:
    from skimage.segmentation import felzenszwalb as cut

    return _nearest(lambda few: cut(pixels, scale=5000 / few, sigma=0.8, min_size=200), count, 0.2, 500)


def _nearest(cut: Callable[[float], np.ndarray], count: int, low: float, high: float) -> np.ndarray:
    """The cut whose number of regions is nearest to that wanted, by halving; it grows with what is asked for."""
    best = None
    for _ in range(12):
        asked = (low * high) ** 0.5
        found = cut(asked)
        number = len(np.unique(found))
        if best is None or abs(number - count) < abs(len(np.unique(best)) - count):
            best = found
        if number == count:
            break
        low, high = (asked, high) if number < count else (low, asked)
    assert best is not None
    return best


def summed(rows: list[dict[str, tuple[float, float, int]]], names: list[str]) -> dict[str, Any]:
    """Means with intervals over photos, and how far the first is ahead of each other one, paired."""
    found: dict[str, Any] = {}
    first = next(iter(rows[0]))
    for label in rows[0]:
        found[label] = {"regions": round(float(np.mean([row[label][2] for row in rows])), 1)}
        for at, name in enumerate(("covering", "recall")):
            found[label][name] = interval([row[label][at] for row in rows], names)
            if label != first:
                ahead = interval([row[first][at] - row[label][at] for row in rows], names)
                found[label][f"{name}: {first} ahead by"] = ahead
    return found


def measure_regions(count: int) -> dict[str, Any]:
    rows, names, drawn = [], [], []
    for picture, people in photos(count):
        pixels = np.asarray(picture.image)
        own = regions(picture).masks
        rivals = {"slic": slic(pixels, len(own)), "felzenszwalb": felzenszwalb(pixels, len(own))}
        row = {"regions": (*judged(own, people), len(own))}
        for name, labels in rivals.items():
            row[name] = (*judged(planes(labels), people), len(np.unique(labels)))
        rows.append(row)
        names.append(picture.name)
        drawn += [int(person.max()) + 1 for person in people]
    return {"aim": "ahead of both", "photos": len(rows), "people's regions, median": float(np.median(drawn)),
            **summed(rows, names)}  # fmt: skip


def measure_everything(count: int) -> dict[str, Any]:
    """The compact SAM's masks alone, and as everything-mode gives them."""
    rows, names, own = [], [], SamSegmenter("compact")
    gave_way = 0
    for picture, people in photos(count):
        masks, given = own.sam.everything(picture), own.segment(picture)
        gave_way += NOTE in given.notes
        row = {"as given": (*judged(given.masks, people), len(given))}
        row["masks alone"] = (*judged(masks.masks, people), len(masks)) if len(masks) else (0.0, 0.0, 0)
        rows.append(row)
        names.append(picture.name)
    return {"photos": len(rows), "gave way": gave_way, **summed(rows, names)}


def measure_clicks(count: int) -> dict[str, Any]:
    """IoU of the first answer and of the best one, with and without regions."""
    sam = open_sam("compact")
    found: dict[str, list[float]] = {}
    names = []
    for picture, people in photos(count):
        for person in people[:2]:
            for number in range(person.max() + 1):
                drawn = person == number
                if drawn.mean() < LEAST:
                    continue
                answer = sam.predict(picture, [middle(drawn)], [1])
                reached = [iou(mask, drawn) for mask in answer.masks]
                with mock.patch("core.segments.sam.model.SURE", 0.0):
                    alone = sam.predict(picture, [middle(drawn)], [1])
                scored = [iou(mask, drawn) for mask in alone.masks]
                for label, values in (("", reached), (", masks alone", scored)):
                    found.setdefault(f"first{label}", []).append(values[0])
                    found.setdefault(f"best{label}", []).append(max(values))
                names.append(picture.name)
    return {label: interval(values, names) for label, values in found.items()}


def measure_birds(count: int) -> dict[str, Any]:
    """How often the compact SAM is sure of a rendered bird, and how often of a click on it."""
    sam = open_sam("compact")
    sure, clicks = [], []
    for number in range(count):
        drawn = bird(number, BIRD_SIDE, HELD_OUT_BIRDS)
        picture = Picture(Image.fromarray(drawn.image), str(number))
        sure.append(sure_of(sam.everything(picture)))
        for value in np.unique(drawn.labels):
            part = drawn.labels == value
            if part.mean() >= LEAST:
                clicks.append(sam.predict(picture, [middle(part)], [1]).scores[0] >= SURE)
    return {"pictures": count, "sure of the picture": float(np.mean(sure)), "sure of a click": float(np.mean(clicks))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--pictures", type=int, default=75)
    asked = parser.parse_args()
    run = {"regions": measure_regions, "clicks": measure_clicks, "everything": measure_everything,
           "birds": measure_birds}  # fmt: skip
    for part in asked.parts:
        began = perf_counter()
        result = run[part](asked.pictures)
        kept = json.loads(OUT.read_text()) if OUT.is_file() else {}
        kept[part] = {"machine": machine(), **result, "seconds": round(perf_counter() - began, 1)}
        OUT.write_text(json.dumps(kept, indent=1) + "\n")
        print(json.dumps({part: result}, indent=1), flush=True)


if __name__ == "__main__":
    main()
