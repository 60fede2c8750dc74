"""How well names spread from a few pictures, and what the confidence is worth.

    uv run python benchmarks/naming.py [birds] [wbc] [--draws 60] [--pictures 200]

Example pictures are drawn anew `--draws` times; all figures are means over draws with their 95 % interval, on pictures
that were no examples. Birds: 3 named pictures of rendered birds (no seed of them chose anything in the namer). wbc: 5
named pictures of white blood cells (`../shared/data` or $SATCHEL_TEST_DATA). Masks are the true ones, or eroded,
shifted or merged where that is said; examples always have true masks. Encoder features are stand-ins for a SAM's: the
last map of the demo classifier (birds) and of SqueezeNet (wbc). Descriptions are kept in runs/ and taken up again;
results go to benchmarks/results/naming.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
from figures import machine
from PIL import Image
from spoiled_masks import KINDS, spoiled
from torch import Tensor

from core.classifier import Classifier
from core.data import Dataset, Item, open_dataset
from core.demo.plants import CLEAN
from core.demo.scenes import Scenes
from core.demo.segments import OBJECT_VALUES, SEGMENTS
from core.explainers.layers import find_last_map
from core.images import Picture
from core.loading import load_classifier
from core.runtime.capture import captured
from core.segments import segments_from_label_map
from core.segments.naming.describing import HAND, describe
from core.segments.naming.namer import UNSURE, Beliefs, Described, Namer
from core.segments.naming.review import diverse

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "naming.json"
DATA = Path(os.environ.get("SATCHEL_TEST_DATA", ROOT.parent / "shared" / "data"))
SEED = 7_000_000
ANSWERS = (0, 10, 20, 40)
# names that no example has, in turn, to see what becomes of their masks
LEFT_OUT = {"birds": (("eye", "tail"), ("wing", "ground"), ("beak", "perch")), "wbc": (("nucleus",), ("background",))}


@dataclass(frozen=True)
class Table:
    """Described masks: rows with features [N, D], true names, picture numbers."""

    rows: np.ndarray
    names: np.ndarray
    pictures: np.ndarray

    def of(self, pictures: Sequence[int], features: bool, left_out: Sequence[str] = ()) -> Described:
        own = np.isin(self.pictures, pictures) & ~np.isin(self.names, left_out)
        rows = self.rows[own] if features else self.rows[own, :HAND]
        return Described(rows, tuple(self.names[own].tolist()), tuple(map(str, self.pictures[own].tolist())))


# --- pictures and features ---------------------------------------------------------------------------------


def birds(count: int, size: int = 224) -> Dataset:
    """Rendered birds that nothing else has seen, a watermark on three of ten."""
    scene = lru_cache(maxsize=2)(Scenes(CLEAN, count, SEED, size).__getitem__)

    def item(index: int) -> Item:
        return Item(
            str(index),
            None,
            lambda: Picture(Image.fromarray(scene(index).image), str(index)),
            lambda: segments_from_label_map(scene(index).mask, dict(SEGMENTS)),
        )

    return Dataset("birds", "birds", tuple(item(index) for index in range(count)))


def last_map(classifier: Classifier) -> Callable[[Picture], Tensor]:
    """[C, h, w] over the whole picture, which is squashed into the model's frame."""
    layer = find_last_map(classifier)
    assert layer is not None
    module = dict(classifier.module.named_modules())[layer.name]

    @torch.no_grad()
    def encode(picture: Picture) -> Tensor:
        height, width = classifier.input_size
        array = np.asarray(picture.image.resize((width, height)), np.float32) / 255
        with captured([(layer.name, module)]) as answers:
            classifier.logits(torch.from_numpy(array).permute(2, 0, 1)[None])
        return layer.as_channels_first(layer.map_of(answers[layer.name]))[0]

    return encode


def described(name: str, data: Dataset, encode: Callable[[Picture], Tensor]) -> dict[str, Table]:
    """One table for every kind of mask, kept in runs/."""
    kept = ROOT / "runs" / f"naming-{name}-{len(data)}.npz"
    if not kept.is_file():
        parts: dict[str, list[tuple[np.ndarray, tuple[str, ...], int]]] = {how: [] for how in KINDS}
        seconds = []
        for number, item in enumerate(data.items):
            picture, segments = item.load()
            assert segments is not None
            features = encode(picture)
            for how in KINDS:
                masks = spoiled(segments, how, np.random.default_rng([number, KINDS.index(how)]))
                began = process_time()
                rows = describe(picture, masks, features)
                seconds.append((process_time() - began) / len(masks))
                parts[how].append((rows, masks.names, number))
            print(f"\r{name}: described {number + 1}/{len(data)}", end="", flush=True)
        print()
        arrays: dict[str, np.ndarray] = {"seconds": np.array(seconds)}
        for how, found in parts.items():
            arrays[f"{how}.rows"] = np.concatenate([rows for rows, _, _ in found])
            arrays[f"{how}.names"] = np.array([n for _, names, _ in found for n in names])
            arrays[f"{how}.pictures"] = np.array([number for rows, _, number in found for _ in rows])
        kept.parent.mkdir(exist_ok=True)
        np.savez(kept, allow_pickle=False, **arrays)
    with np.load(kept) as arrays:
        return {how: Table(*(arrays[f"{how}.{key}"] for key in ("rows", "names", "pictures"))) for how in KINDS}


# --- simpler namers to compare with -------------------------------------------------------------------------------


def nearest(examples: Described, rows: np.ndarray) -> np.ndarray:
    """The name of the nearest example."""
    squares = ((rows[:, None] - examples.rows[None]) ** 2).sum(2)
    return np.array(examples.names)[squares.argmin(1)]


def prototypes(examples: Described, rows: np.ndarray) -> np.ndarray:
    """The name whose mean is nearest."""
    names = np.unique(examples.names)
    means = np.stack([examples.rows[np.array(examples.names) == name].mean(0) for name in names])
    return names[((rows[:, None] - means[None]) ** 2).sum(2).argmin(1)]


def ridge(examples: Described, rows: np.ndarray) -> np.ndarray:
    """Least squares on the names, as strongly damped as the mean variance of the examples."""
    names = np.unique(examples.names)
    centre = examples.rows.mean(0)
    own = examples.rows - centre
    gram = own @ own.T
    targets = (np.array(examples.names)[:, None] == names) - 1 / len(names)
    solved = np.linalg.solve(gram + 0.1 * np.trace(gram) / len(gram) * np.eye(len(gram)), targets)
    return names[((rows - centre) @ own.T @ solved).argmax(1)]


def compare(examples: Described, rest: Described) -> dict[str, np.ndarray]:
    """Every way of naming, from the simplest to the one that is used: likeliest names of `rest`."""
    pool = replace(rest, names=("",) * len(rest.names))
    alone = tuple(map(str, range(len(rest.names))))
    return {
        "nearest example": nearest(examples, rest.rows),
        "nearest mean": prototypes(examples, rest.rows),
        "ridge": ridge(examples, rest.rows),
        "shrunk discriminant": np.array(Namer(examples).beliefs(rest.rows, alone).best),
        "with competition": np.array(Namer(examples).beliefs(rest.rows, rest.pictures).best),
        "with competition and pool": np.array(Namer(examples, pool).beliefs(rest.rows, rest.pictures).best),
    }


# --- figures ------------------------------------------------------------------------------------------------------


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean over draws and its 95 % interval (normal)."""
    array = np.array(values, float)
    half = 1.96 * array.std(ddof=1) / len(array) ** 0.5 if len(array) > 1 else float("nan")
    return {
        "mean": round(float(array.mean()), 4),
        "low": round(float(array.mean() - half), 4),
        "high": round(float(array.mean() + half), 4),
        "worst": round(float(array.min()), 4),
    }


def draws(table: Table, named: int, pictures: int, count: int) -> Iterator[tuple[list[int], list[int]]]:
    """(example pictures, held out pictures)"""
    for draw in range(count):
        order = np.random.default_rng([SEED, draw]).permutation(np.unique(table.pictures)).tolist()
        yield order[:named], order[named : named + pictures]


def measure(name: str, tables: dict[str, Table], named: int, options: argparse.Namespace) -> dict[str, Any]:
    true = tables["true"]
    chosen = list(draws(true, named, options.pictures, options.draws))
    result: dict[str, Any] = {"named_pictures": named, "held_out_pictures": len(chosen[0][1]), "draws": len(chosen)}
    for features in (False, True):
        by_way: dict[str, list[float]] = {}
        for shown, rest in chosen:
            examples, held = true.of(shown, features), true.of(rest, features)
            known = np.isin(held.names, examples.names)
            for way, best in compare(examples, held).items():
                by_way.setdefault(way, []).append(float((best == np.array(held.names))[known].mean()))
        result["with_features" if features else "without_features"] = {
            "accuracy_by_way": {way: summary(values) for way, values in by_way.items()},
            "accuracy_by_masks": {how: accuracy(true, table, chosen, features) for how, table in tables.items()},
            **worth(true, chosen, features),
            "names_left_out": [left_out(true, chosen, features, names) for names in LEFT_OUT[name]],
            "review": review(true, chosen, features),
        }
        print(f"{name}, features {features}:", json.dumps(result["with_features" if features else "without_features"]))
    result["by_name"] = by_name(true, chosen)
    return result


def fitted(examples: Described, held: Described) -> Namer:
    return Namer(examples, replace(held, names=("",) * len(held.names)))


def accuracy(true: Table, table: Table, chosen: Sequence, features: bool) -> dict[str, Any]:
    """Of masks whose names have examples."""
    found, parts, milliseconds = [], [], []
    bird = [SEGMENTS[value][0] for value in OBJECT_VALUES]
    for shown, rest in chosen:
        examples, held = true.of(shown, features), table.of(rest, features)
        began = process_time()
        namer = fitted(examples, held)
        milliseconds.append(1000 * (process_time() - began))
        right = np.array(namer.beliefs(held.rows, held.pictures).best) == np.array(held.names)
        known = np.isin(held.names, examples.names)
        found.append(right[known].mean())
        parts.append(right[known & np.isin(held.names, bird)].mean() if np.isin(held.names, bird).any() else 0.0)
    only = {"birds_own_parts": summary(parts)} if any(parts) else {}
    return {**summary(found), **only, "fit_cpu_ms": round(median(milliseconds), 1)}


def worth(true: Table, chosen: Sequence, features: bool) -> dict[str, Any]:
    """What the confidence says: reliability by tenths, and accuracy of the rest when the least certain is reviewed."""
    confidence, right, unsure, kept = [], [], [], {share: [] for share in (0.0, 0.05, 0.1, 0.2)}
    for shown, rest in chosen:
        examples, held = true.of(shown, features), true.of(rest, features)
        beliefs = fitted(examples, held).beliefs(held.rows, held.pictures)
        good = np.array(beliefs.best) == np.array(held.names)
        order = np.argsort(beliefs.confidence)
        for share, values in kept.items():
            values.append(good[order[int(share * len(order)) :]].mean())
        unsure.append((beliefs.confidence < UNSURE).mean())
        confidence.append(beliefs.confidence)
        right.append(good)
    said, good = np.concatenate(confidence), np.concatenate(right)
    bins = np.minimum((said * 10).astype(int), 9)
    reliability = [
        {
            "confidence": round(float(said[own].mean()), 3),
            "right": round(float(good[own].mean()), 3),
            "masks": int(own.sum()),
        }
        for tenth in range(10)
        if (own := bins == tenth).any()
    ]
    gaps = [abs(entry["confidence"] - entry["right"]) * entry["masks"] for entry in reliability]
    return {
        "unsure": summary(unsure),
        "accuracy_of_the_rest_when_least_certain_reviewed": {str(share): summary(v) for share, v in kept.items()},
        "reliability": reliability,
        "calibration_error": round(sum(gaps) / len(said), 4),
        "mean_confidence_minus_accuracy": round(float(said.mean() - good.mean()), 4),
    }


def left_out(true: Table, chosen: Sequence, features: bool, names: Sequence[str]) -> dict[str, Any]:
    """Masks whose name no example has should be unsure, those with a known one should not."""
    unknown, known, area, right = [], [], [], []
    for shown, rest in chosen:
        examples, held = true.of(shown, features, names), true.of(rest, features)
        beliefs = fitted(examples, held).beliefs(held.rows, held.pictures)
        new = ~np.isin(held.names, examples.names)
        unknown.append((beliefs.confidence < UNSURE)[new].mean())
        known.append((beliefs.confidence < UNSURE)[~new].mean())
        area.append((beliefs.confidence[~new][:, None] > beliefs.confidence[new]).mean())
        right.append((np.array(beliefs.best) == np.array(held.names))[~new].mean())
    return {
        "names": list(names),
        "unsure_of_unknown": summary(unknown),
        "unsure_of_known": summary(known),
        "known_ranked_above_unknown": summary(area),
        "accuracy_of_known": summary(right),
    }


def review(true: Table, chosen: Sequence, features: bool) -> dict[str, Any]:
    """Names right after so many answers, ten at a time: the most doubtful or any, learned from or only corrected."""
    outcome: dict[str, dict[str, list[float]]] = {}
    for draw, (shown, rest) in enumerate(chosen):
        examples, held = true.of(shown, features), true.of(rest, features)
        truth = np.array(held.names)
        chance = np.random.default_rng(draw).permutation(len(truth)).tolist()
        _, before = _taught(examples, held, [])
        doubtful = np.argsort(before.confidence, kind="stable").tolist()
        asked: list[int] = []
        for count in range(0, ANSWERS[-1] + 1, 10):
            namer, beliefs = _taught(examples, held, asked)
            if count in ANSWERS:
                random = _taught(examples, held, chance[:count])[1]
                ways = {
                    "review": (beliefs, asked),
                    "any_masks": (random, chance[:count]),
                    "not_learned_from": (before, doubtful[:count]),
                }
                for way, (found, answered) in ways.items():
                    right = np.array(found.best) == truth
                    right[answered] = True
                    outcome.setdefault(way, {}).setdefault(str(count), []).append(right.mean())
            doubt = 1 - beliefs.confidence
            doubt[asked] = -1.0
            worst = np.argsort(-doubt, kind="stable")[: min(400, len(truth) - len(asked))]
            asked += worst[diverse(doubt[worst], namer.embed(held.rows[worst]), 10)].tolist()
    return {way: {count: summary(values) for count, values in found.items()} for way, found in outcome.items()}


def _taught(examples: Described, held: Described, answered: Sequence[int]) -> tuple[Namer, Beliefs]:
    more = Described(
        np.concatenate([examples.rows, held.rows[list(answered)]]),
        (*examples.names, *(held.names[index] for index in answered)),
        (*examples.pictures, *(held.pictures[index] for index in answered)),
    )
    namer = fitted(more, held)
    given = [""] * len(held.names)
    for index in answered:
        given[index] = held.names[index]
    return namer, namer.beliefs(held.rows, held.pictures, given)


def by_name(true: Table, chosen: Sequence) -> dict[str, Any]:
    """Accuracy of each name without features, and what it is taken for most."""
    found: dict[str, list[str]] = {}
    for shown, rest in chosen:
        examples, held = true.of(shown, False), true.of(rest, False)
        best = fitted(examples, held).beliefs(held.rows, held.pictures).best
        for name, given in zip(held.names, best):
            if name in examples.names:
                found.setdefault(name, []).append(given)
    out = {}
    for name, given in sorted(found.items()):
        wrong = [other for other in given if other != name]
        mistaken = max(set(wrong), key=wrong.count) if wrong else None
        out[name] = {"accuracy": round(given.count(name) / len(given), 3), "mistaken_for": mistaken}
    return out


def measured(what: str, into: Path, measure: Callable[[str, dict[str, Table], int, argparse.Namespace], Any]) -> None:
    """A command line's parts, each put into the file as it is done.

    Args:
        measure: (part, its masks described, examples a draw, options) -> what is kept of it.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("parts", nargs="*", default=["birds", "wbc"], help="birds, wbc")
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--pictures", type=int, default=200, help="held out pictures a draw")
    options = parser.parse_args()
    result = json.loads(into.read_text()) if into.is_file() else {}
    for part in options.parts:
        if part == "birds":
            data, model, named = birds(210), "demo:biased", 3
        else:
            weights = DATA / "weights" / "squeezenet1_1.pth"
            data, model, named = open_dataset(DATA / "wbc", limit=205), f"torchvision:squeezenet1_1@{weights}", 5
        tables = described(part, data, last_map(load_classifier(model)))
        result[part] = measure(part, tables, named, options)
        result["machine"] = machine()
        into.parent.mkdir(exist_ok=True)
        into.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    measured("How well names spread.", RESULT, measure)


if __name__ == "__main__":
    main()
