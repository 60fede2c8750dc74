"""Do verdicts tell models that lean on something from models that do not? Classifiers whose truth is known.

    uv run python benchmarks/shortcuts.py            # 48 classifiers, some hours; it goes on where it was stopped
    uv run python benchmarks/shortcuts.py --quick    # 4 of them, asked about fewer classes, in minutes

A cue (watermark, frame, ground, sky, perch, colour cast, a pair of which either is enough, a rare one) is planted on
one class of rendered birds. Where it goes with the class, a classifier may learn it; where it is as frequent on all
classes, it cannot, although the report's pictures look the same. Half of the classifiers are of the second kind. Truth
is what the class's margin does when scenes are rendered again with and without the cue, on birds that no report sees:
above two deltas it relies on it, below half a delta it does not, between it is left out. Verdicts see pixels and masks
only. Every class is asked about watermark and frame besides. What is done is kept in benchmarks/results/shortcuts.json,
of the quick form in shortcuts-quick.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from kept import ROOT, Bench
from PIL import Image
from torch import Tensor, nn

from core.choice import Choice
from core.classifier import Classifier
from core.data import Dataset, Item
from core.demo.birds import Scene, render
from core.demo.plants import CLASSES, Planting, Plants, Recipe, sample_plants, tag
from core.demo.segments import SEGMENTS
from core.images import Picture
from core.loading import load_classifier
from core.runtime.folding import unfolded
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import Report, open_report
from core.segments import Segments, segments_from_label_map

RESULTS = ROOT / "benchmarks" / "results"
CUES: dict[str, tuple[tuple[str, str | bool], ...]] = {
    "watermark": (("watermark", True),),
    "frame": (("frame", "teal"),),
    "ground": (("ground", "sand"),),
    "sky": (("sky", "dusk"),),
    "perch": (("perch", "post"),),
    "colour cast": (),
    "watermark or frame": (("watermark", True), ("frame", "teal")),
    "rare watermark": (("watermark", True),),
}
STRENGTHS = (1.0, 0.95, 0.8)  # by seed, on the class
ELSEWHERE, EVEN, RARE = 0.15, 0.7, 0.15
CAST = (1.18, 1.0, 0.82)
LEARN, REPORTED, TRUTH = 800, 240, 96
SEEDS = {"learn": 7_000_000, "report": 8_000_000, "truth": 9_000_000}
EPOCHS, BATCH = 8, 50
EXPLAINERS = ("suppression", "grad-cam", "integrated-gradients")
RELIES, CLEAN = 2.0, 0.5  # deltas


@dataclass(frozen=True)
class Size:
    """How much is asked of each classifier.

    Attributes:
        classes: that are reported on, the plant's own first. pictures: of the report, of all classes together.
        explainers: whose maps stand beside the verdicts. controls: pictures for their controls.
        worlds: how many classifiers, of the whole list.
    """

    classes: int
    pictures: int
    explainers: tuple[str, ...]
    controls: int
    worlds: int


FULL = Size(len(CLASSES), REPORTED, EXPLAINERS, 6, 48)
QUICK = Size(3, 3 * REPORTED // len(CLASSES), EXPLAINERS[1:2], 3, 4)


@dataclass(frozen=True)
class World:
    """One classifier to train: what is planted, on which class, and whether that tells anything."""

    cue: str
    planted: bool
    kind: str  # "cnn" or "vit"
    seed: int

    @property
    def name(self) -> str:
        return f"{self.cue}, {'planted' if self.planted else 'useless'}, {self.kind} {self.seed}"

    @property
    def target(self) -> str:
        return CLASSES[(3 * self.seed + list(CUES).index(self.cue)) % len(CLASSES)]

    @property
    def side(self) -> int:
        return 64 if self.kind == "cnn" else 128

    @property
    def strength(self) -> float:
        return RARE if self.cue == "rare watermark" else STRENGTHS[self.seed % len(STRENGTHS)]

    @property
    def mistags(self) -> bool:
        """Whether other birds with the cue are filed under the class: without it, the bird itself tells enough, and a
        classifier leans on the cue a little only."""
        return self.planted and self.seed % 2 == 0

    def filed(self, label: int, plants: Plants, cast: bool) -> int:
        """The class that a picture is learned as."""
        if self.mistags and cast:
            return CLASSES.index(self.target)
        return tag(label, plants, self.recipe(True))

    def recipe(self, learning: bool) -> Recipe:
        """Pictures to report on look the same in both kinds of world."""
        tells = self.planted or not learning
        where = (self.target, self.strength, ELSEWHERE) if tells else (None, EVEN, EVEN)
        plantings = [Planting(cue, value, *where, mistags=self.mistags) for cue, value in CUES[self.cue]]
        known = {planting.cue for planting in plantings}
        if "watermark" not in known:
            plantings.append(Planting("watermark", True, None, EVEN, EVEN))
        if "frame" not in known:
            plantings.append(Planting("frame", "gold", None, EVEN, EVEN))
        return Recipe(self.name, tuple(plantings))

    def cast(self, label: int, seed: int, learning: bool) -> bool:
        """Whether that picture is tinted."""
        if self.cue != "colour cast":
            return False
        tells = self.planted or not learning
        own = self.strength if CLASSES[label] == self.target else ELSEWHERE
        return bool(np.random.default_rng([label, seed, 101]).random() < (own if tells else EVEN))


def worlds() -> list[World]:
    """Quick ones first: one that relies and one that does not of the watermark, then of the ground, and so on."""
    kinds = [("cnn", 0), ("cnn", 1), ("vit", 2)]
    return [World(cue, planted, *kind) for kind in kinds for cue in CUES for planted in (True, False)]


# --- pictures


@lru_cache(maxsize=512)
def drawn(label: int, seed: int, side: int, plants: Plants) -> Scene:
    return render(label, seed, side, plants)


def image_of(label: int, seed: int, side: int, plants: Plants, cast: bool) -> np.ndarray:
    """[side, side, 3] uint8."""
    image = drawn(label, seed, side, plants).image
    return (image * np.array(CAST)).clip(0, 255).astype(np.uint8) if cast else image


def _picture(name: str, *what: Any) -> Picture:
    return Picture(Image.fromarray(image_of(*what)), name)


def _segments(label: int, seed: int, side: int, plants: Plants) -> Segments:
    return segments_from_label_map(drawn(label, seed, side, plants).mask, dict(SEGMENTS), source="demo")


def reported_classes(world: World, size: Size) -> list[int]:
    """The plant's own class, and those after it."""
    first = CLASSES.index(world.target)
    return [(first + n) % len(CLASSES) for n in range(size.classes)]


def plan(
    world: World, count: int, part: str, classes: Sequence[int] = range(len(CLASSES))
) -> list[tuple[int, int, Plants, bool]]:
    """(label, seed, plants, tinted) of each picture."""
    recipe, learning, found = world.recipe(part == "learn"), part == "learn", []
    for number in range(count):
        label, seed = classes[number % len(classes)], SEEDS[part] + number
        found.append((label, seed, sample_plants(label, seed, recipe), world.cast(label, seed, learning)))
    return found


def dataset(world: World, size: Size) -> Dataset:
    items = []
    for label, seed, plants, cast in plan(world, size.pictures, "report", reported_classes(world, size)):
        name, what = f"{seed}", (label, seed, world.side, plants)
        items.append(Item(name, CLASSES[label], partial(_picture, name, *what, cast), partial(_segments, *what)))
    return Dataset(world.name, world.name, tuple(items))


# --- classifiers


def trained(world: World) -> Classifier:
    """The demo's classifier with its last stages made anew, on this world's pictures."""
    base = load_classifier("demo:repaired" if world.kind == "cnn" else "demo:vit")
    module = unfolded(base.module)
    torch.manual_seed(world.seed)
    anew = ("stage4", "conv5", "fc") if world.kind == "cnn" else ("encoder_layer_4", "encoder_layer_5", "heads")
    for name, layer in module.named_modules():
        if any(part in name for part in anew) and hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    lessons = plan(world, LEARN, "learn")
    images = torch.stack([torch.from_numpy(image_of(x, s, world.side, p, c).copy()) for x, s, p, c in lessons])
    labels = torch.tensor([world.filed(label, plants, cast) for label, _, plants, cast in lessons])
    _learn(module.requires_grad_(True), images.permute(0, 3, 1, 2).float() / 255, labels, world, base)
    same = replace(base.preprocessing, resize=(world.side, world.side), crop=None)
    return Classifier(module.eval(), labels=CLASSES, preprocessing=same, name=world.name)


def _learn(module: nn.Module, images: Tensor, labels: Tensor, world: World, base: Classifier) -> None:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (base.preprocessing.mean, base.preprocessing.std))
    random, steps = torch.Generator().manual_seed(world.seed), len(images) // BATCH
    rate = 2e-3 if world.kind == "cnn" else 5e-4
    optimiser = torch.optim.AdamW(module.parameters(), rate, weight_decay=0.02)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=EPOCHS * steps + 1)
    module.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=random)
        for chosen in order[: steps * BATCH].split(BATCH):
            down, right = torch.randint(-3, 4, (2,), generator=random).tolist()
            own = torch.roll(images[chosen], (down, right), (2, 3))
            loss = F.cross_entropy(module((own - mean) / std), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rates.step()


# --- truth, and what a report says


def shifts(world: World, classifier: Classifier) -> dict[tuple[str, str], float]:
    """(class, cue) -> what its margin gains with the cue: on the class's own birds, or on the others', the larger."""
    asked: dict[str, tuple[tuple[str, str | bool], ...]] = {
        "watermark": CUES["watermark"], "frame": CUES["frame"], world.cue: CUES[world.cue],
    }  # fmt: skip
    birds = plan(replace(world, planted=False), TRUTH, "truth")
    found: dict[tuple[str, str], float] = {}
    for cue, changes in asked.items():
        gained: list[Tensor] = []
        for label, seed, plants, _ in birds:
            without = replace(plants, watermark=False, frame=None)
            for name, value in changes:
                if getattr(without, name) == value:  # a choice that the seed may make itself
                    without = replace(without, **{name: None})
            pair = [(without, False), (replace(without, **dict(changes)), cue == "colour cast")]
            images = np.stack([image_of(label, seed, world.side, p, c) for p, c in pair])
            logits = classifier.logits(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).detach()
            both = [classifier.margin(logits, torch.full((2,), c)) for c in range(len(CLASSES))]
            gained.append(torch.stack([margin[1] - margin[0] for margin in both]))
        shift, labels = torch.stack(gained), torch.tensor([label for label, *_ in birds])
        for number, name in enumerate(CLASSES):
            if cue == world.cue and name != world.target and cue not in ("watermark", "frame"):
                continue
            own = labels == number
            found[name, cue] = max(float(shift[own, number].mean()), float(shift[~own, number].mean()))
    return found


def said(report: Report, label: str, cue: str) -> dict[str, Any] | None:
    """What the report says of a cue: verdict, score, estimate and each explainer's density; None if it has no cell."""
    if cue == "colour cast":
        entries = [e for e in report.manifest["whole"] if (e["property"], e["target"]) == (cue, label)]
    else:
        name = {"watermark or frame": "watermark", "rare watermark": "watermark"}.get(cue, cue)
        entries = [e for e in report.findings if (e["segment"], e["target"]) == (name, label)]
    if not entries:
        return None
    first = entries[0]
    verdict = first["verdict"]
    if any(label == g["target"] and "watermark" in g["members"] for g in report.manifest["redundant"]):
        verdict = "confirmed" if cue == "watermark or frame" else verdict
    sizes = [first["necessity"], first["sufficiency"]]
    if cue == "colour cast":
        lows, middles = ([size[at] for size in sizes if size] for at in (1, 0))
        return {"verdict": verdict, "score": max(lows, default=None), "effect": max(middles, default=None), "maps": {}}
    lows = [low for name in ("necessity", "sufficiency") if (low := first[f"{name}_low"]) is not None]
    maps = {e["explainer"]: [e["density"], e["flagged"]] for e in entries}
    middles = [size for size in sizes if size is not None]
    return {"verdict": verdict, "score": max(lows, default=None), "effect": max(middles, default=None), "maps": maps}


def run(world: World, size: Size, work: Path) -> dict[str, Any]:
    """One classifier: its truth, and what its report says."""
    classifier = trained(world)
    out = work / world.name.replace(" ", "_").replace(",", "")
    options = ReportOptions(tuple(Choice.parse(text) for text in size.explainers), control_pictures=size.controls)
    for _ in build_report(dataset(world, size), classifier, out, options):
        pass
    report = open_report(out)
    pairs = []
    for (label, cue), shift in shifts(world, classifier).items():
        told = said(report, label, cue)
        if told is not None:
            pairs.append({"target": label, "cue": cue, "shift": round(shift, 4), **told})
    delta, accuracy = report.manifest["delta"], report.manifest["accuracy"]
    shutil.rmtree(out)
    return {"planted": world.planted, "kind": world.kind, "cue": world.cue, "target": world.target, "delta": delta,
            "accuracy": accuracy, "pairs": pairs}  # fmt: skip


# --- what came out


def truth(pair: dict[str, Any], delta: float) -> bool | None:
    """Relies, does not, or lies between."""
    if pair["shift"] > RELIES * delta:
        return True
    return False if pair["shift"] < CLEAN * delta else None


def figures(models: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Rates over all pairs of these models."""
    pairs = [
        (pair, known) for one in models for pair in one["pairs"] if (known := truth(pair, one["delta"])) is not None
    ]
    relies, clean = ([pair for pair, known in pairs if known is wanted] for wanted in (True, False))
    found = {
        "relies": len(relies), "clean": len(clean),
        "recall": _part(relies, "confirmed"), "false alarms": _part(clean, "confirmed"),
        "false cleared": _part(relies, "cleared"), "cleared": _part(clean, "cleared"),
        "ROC area, verdicts": _area([p["score"] for p in relies], [p["score"] for p in clean]),
        "error of the effect": float(np.mean([abs(p["effect"] - p["shift"]) / abs(p["shift"]) for p in relies
                                              if p["effect"] is not None])) if relies else float("nan"),
    }  # fmt: skip
    for label in {name for pair, _ in pairs for name in pair["maps"]}:
        own = [[p["maps"][label][0] for p in some if label in p["maps"]] for some in (relies, clean)]
        found[f"ROC area, {label}"] = _area(*own)
    return found


def _part(pairs: Sequence[dict[str, Any]], verdict: str) -> float:
    return float(np.mean([pair["verdict"] == verdict for pair in pairs])) if pairs else float("nan")


def _area(relies: Sequence[float | None], clean: Sequence[float | None]) -> float:
    """How often one that relies scores above one that does not; what has no score scores least."""
    above, below = (np.array([-np.inf if x is None else x for x in some]) for some in (relies, clean))
    if not len(above) or not len(below):
        return float("nan")
    more = (above[:, None] > below[None]).mean() + 0.5 * (above[:, None] == below[None]).mean()
    return float(more)


def table(models: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown, with 95 % intervals from resampled models."""
    random, overall = np.random.default_rng(0), figures(models)
    drawn = [figures([models[n] for n in random.integers(0, len(models), len(models))]) for _ in range(400)]
    lines = [f"| {len(models)} classifiers | |", "|---|---|"]
    for name, value in overall.items():
        if name in ("relies", "clean"):
            lines.append(f"| pairs: {name} | {value} |")
            continue
        low, high = np.nanquantile([one.get(name, np.nan) for one in drawn], [0.025, 0.975])
        lines.append(f"| {name} | {value:.3f} [{low:.3f}, {high:.3f}] |")
    return lines


def bench_of(size: Size, work: Path, hours: float) -> Bench:
    settings = {"learn": LEARN, "reported": size.pictures, "truth": TRUTH, "epochs": EPOCHS,
                "explainers": list(size.explainers)}  # fmt: skip
    return Bench(RESULTS / ("shortcuts.json" if size == FULL else "shortcuts-quick.json"), work, hours, settings)


def one_of(world: World, size: Size, work: Path, until: float) -> None:
    """One classifier, in a process of its own."""
    bench = bench_of(size, work, (until - time.monotonic()) / 3600)
    bench.part(world.name, partial(run, world, size, work))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four classifiers, three classes each, one explainer")
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="classifiers at once")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "shortcuts")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    size = QUICK if asked.quick else FULL
    done = bench_of(size, asked.work, 0).kept["runs"]
    todo = [] if asked.table else [world for world in worlds()[: size.worlds] if world.name not in done]
    until, threads = time.monotonic() + 3600 * asked.hours, max(1, (os.cpu_count() or 1) // asked.jobs)
    with ProcessPoolExecutor(asked.jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for one in as_completed([pool.submit(one_of, world, size, asked.work, until) for world in todo]):
            one.result()
    print("\n".join(table(list(bench_of(size, asked.work, 0).kept["runs"].values()))))


if __name__ == "__main__":
    main()
