"""Masking models: which of their parts matter, how few pictures they need, and how they stand beside others.

    uv run python benchmarks/masking.py [--data birds wbc ph2] [--seeds 3] [--hours 6] [--threads 1] [--table]

For each data set: keep the class, lose it, or both, with the classifier fixed or a copy that learns along, on every
example, with each seed; 1, 3, 10 and 30 examples a class with both objectives; variants with one seed, marked
exploratory; then other explainers, and answers that need no classifier. Judged on pictures that neither classifier nor
masker has seen, by boxes around the objects (exact on the rendered birds, from masks elsewhere), and by what the user's
classifier says of what masks keep and leave out. What is done is kept in benchmarks/results/masking.json and the
working folder, and not done again; it stops after so many hours and goes on when run again.

The budget at 112 to 128 px, in hours of one core: a masker takes 3 to 6 minutes, and there are 32 a data set: 2 hours
each, 6 together. Several may run side by side, each with its own --data.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import ROOT, Bench, cnn, object_masks, pictures
from torch import Tensor

from core.attribution import Unit
from core.choice import Choice, Trained
from core.classifier import named
from core.data import Dataset
from core.demo.dataset import demo_dataset
from core.explainers.learned.masking import MaskingParameters, load_masking_model
from core.explainers.masking_objective import masked
from core.fills import fill_plate
from core.learning import MaskingTraining
from core.loading import load_classifier
from core.metrics.boxes import as_masks, pooled_precision
from core.metrics.metric import Case, get_metric
from core.sat.statistics import bootstrap_interval
from core.training.masking import train_masking
from core.training.masking_card import trivial_masks
from core.training.pictures import Frames

RESULT = ROOT / "benchmarks" / "results" / "masking.json"
SIDE = 112
LEARN, TEST, SEED = 640, 120, 5_000_000  # birds, none of which another part of the project has seen
EPOCHS = {"birds": 12, "wbc": 30, "ph2": 30}
FEW = (1, 3, 10, 30)
FEW_STEPS = 400  # at least, however few pictures there are
SETTINGS = {"side": SIDE, "birds": {"learn": LEARN, "test": TEST}, "epochs": EPOCHS, "few_steps": FEW_STEPS}
METRICS = ("localisation-error", "official-error", "box-f1", "saliency-metric")
MAIN = {f"{parts}, {regime}": {"objective": parts, "regime": regime}
        for regime in ("fixed", "joint") for parts in ("both", "in", "out")}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "hard (Gumbel)": {"hard": True},
    "told the area": {"tell_area": True},
    "told the class": {"tell_class": True},
    "blur": {"fill": "blur"},
    "mean": {"fill": "mean"},
    "inpainting": {"fill": "inpaint"},
    "no total variation": {"smooth": 0.0},
    "joint, history as in the code": {"regime": "joint", "history": "repo"},
    "joint, no history": {"regime": "joint", "history": "none"},
}
OTHERS = {
    "Grad-CAM": "grad-cam",
    "suppression": "suppression",
    "RISE": "rise:samples=500,fill=grey",
    "Salvage of one picture": "salvage-single:fill=grey",
    "mask optimisation": "mask-optimisation",
    "random": "random",
}


class World:
    """One data set: its classifier, pictures to learn from, and pictures to judge on with their objects."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.name = name.partition("=")[0]
        if name == "birds":
            whole = demo_dataset("birds-clean", LEARN + TEST, SEED)
            self.learn, judge = (_part(whole, slice(LEARN)), _part(whole, slice(LEARN, None)))
            self.classifier = load_classifier("demo:repaired")
        else:
            self.learn, judge = pictures(name)
            self.classifier = cnn(bench.work, self.name, self.learn, SIDE)
        bench.same_classifier(f"{self.name}/classifier", self.classifier, judge)
        self.judge = Frames(self.classifier, judge.items, (1, 1), segments=False)
        self.judge.read_all()
        objects = object_masks(judge, self.classifier)
        assert objects is not None
        self.objects = objects
        batch = self.judge.batch(range(len(self.judge)))
        self.images, self.labels = batch.images, batch.labels
        with torch.no_grad():
            self.targets = torch.cat([self.classifier.logits(one).argmax(1) for one in self.images.split(16)])


def _part(data: Dataset, which: slice) -> Dataset:
    return replace(data, items=data.items[which])


def trained(bench: Bench, world: World, label: str, options: dict[str, Any], seed: int) -> Path:
    """The file of a masker, trained now if it is not there."""
    name = f"masking-{world.name}-{label}-{seed}".replace(" ", "_").replace(",", "").replace("(", "").replace(")", "")
    out = bench.work / f"{name}.safetensors"
    if out.is_file():
        return out
    chosen = MaskingTraining.parse({"seed": seed, "epochs": EPOCHS.get(world.name, 20), **options})
    if chosen.examples_per_class:  # as many steps as the others have, or nearly
        seen = chosen.examples_per_class * len(world.classifier.labels)
        chosen = MaskingTraining.parse({**chosen.to_dict(), "epochs": -(-FEW_STEPS // max(1, seen // chosen.batch))})
    for _ in train_masking(world.classifier, world.learn, chosen, out):
        bench.check_hours(name)
    return out


def judged(world: World, choice: Choice) -> dict[str, Any]:
    """Scores picture by picture, and pooled ones."""
    bound, made = choice.bind(world.classifier), []
    for start in range(0, len(world.images), 8):
        some = slice(start, start + 8)
        seeds = range(len(world.images))[some]
        made += bound.explain(world.images[some], world.targets[some], seeds=tuple(seeds))
    seconds = [one.seconds for one in made]
    passes = [one.forward_passes + 2 * one.backward_passes for one in made]
    values, unit = torch.stack([one.values for one in made]), made[0].unit
    found = scored(world, values, unit, made[0].signed)
    return {**found, "seconds_a_picture": float(np.median(seconds)), "passes_a_picture": float(np.mean(passes))}


def scored(world: World, values: Tensor, unit: Unit, signed: bool = False) -> dict[str, Any]:
    """Of maps [B, H, W]."""
    case = Case(
        world.classifier, world.images, world.targets, values, signed, tuple(range(len(values))), world.objects,
        lambda model, seen: values, unit=unit, labels=world.labels,
    )  # fmt: skip
    scores = {}
    for name in METRICS:
        metric = get_metric(name)
        scores[name] = [round(v, 5) for v in metric.judge(case, metric.parameters()).tolist()]
    masks = as_masks(case)
    scores["area"] = [round(v, 5) for v in masks.mean((1, 2)).tolist()]
    return {"scores": scores, "PxAP": 100 * float(pooled_precision(masks, world.objects))}


def kept_and_lost(world: World, file: Path) -> dict[str, Any]:
    """What masks leave of the classifier's answers, and of the copy's."""
    model = load_masking_model(file, world.classifier)
    fill = model.about.settings["training"]["fill"]
    found: dict[str, list[bool]] = {}
    judges = {"classifier": world.classifier, **({"copy": model.scorer} if model.joint else {})}
    for start in range(0, len(world.images), 16):
        some = slice(start, start + 16)
        images, targets = world.images[some], world.targets[some]
        masks, plates = model.masks(images, targets), fill_plate(images, fill)
        for name, judge in judges.items():
            with torch.no_grad():
                for which, mask in (("kept", masks), ("lost", 1 - masks)):
                    said = named(judge.logits(masked(images, plates, mask)), targets, True)
                    found.setdefault(f"{which} ({name})", []).extend(said.tolist())
    return {name: float(np.mean(hits)) for name, hits in found.items()}


def compare(bench: Bench, name: str, seeds: int) -> None:
    """All of one data set."""
    world = World(bench, name)

    def learned(label: str, options: dict[str, Any], seed: int, exploratory: bool) -> dict[str, Any]:
        began = time.perf_counter()
        file = trained(bench, world, label, options, seed)
        minutes = (time.perf_counter() - began) / 60
        own = judged(world, Choice("masking", MaskingParameters(), Trained.of(file)))
        return {**own, **kept_and_lost(world, file), "minutes": round(minutes, 2), "exploratory": exploratory}

    for seed in range(seeds):
        for label, options in MAIN.items():
            bench.part(f"{world.name}/{seed}/{label}", partial(learned, label, options, seed, False))
    for label, choice in OTHERS.items():
        bench.part(f"{world.name}/0/{label}", partial(judged, world, Choice.parse(choice)))
    for label, masks in trivial_masks(world.objects).items():
        bench.part(f"{world.name}/0/{label}", partial(scored, world, masks, "mask"))
    for regime in ("joint", "fixed"):
        for count in FEW:
            few = {"regime": regime, "examples_per_class": count}
            label = f"both, {regime}, {count} a class"
            bench.part(f"{world.name}/0/{label}", partial(learned, label, few, 0, False))
    for label, options in VARIANTS.items():
        bench.part(f"{world.name}/0/{label}", partial(learned, label, options, 0, True))


# --- what came out


def rows(kept: dict[str, Any], name: str) -> dict[str, list[dict[str, Any]]]:
    """Label -> its runs, one a seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key, value in kept["runs"].items():
        if key.startswith(f"{name}/") and "scores" in value:
            found.setdefault(key.split("/", 2)[2], []).append(value)
    return found


def table(kept: dict[str, Any], name: str) -> list[str]:
    """Markdown: a line a masker or explainer, means over pictures and seeds with 95 % bootstrap intervals."""
    titles = {
        "localisation-error": "LE",
        "official-error": "OM",
        "box-f1": "F1",
        "saliency-metric": "SM",
        "area": "area",
    }
    lines = [
        f"| {name} | " + " | ".join(titles.values()) + " | PxAP | kept | lost | passes | seeds |",
        "|---" * (len(titles) + 6) + "|",
    ]
    for label, runs in rows(kept, name).items():
        cells = []
        for metric in titles:
            interval = _interval(np.nanmean([one["scores"][metric] for one in runs], axis=0))
            cells.append(f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
        cells.append(f"{np.mean([one['PxAP'] for one in runs]):.1f}")
        for which in ("kept (classifier)", "lost (classifier)"):
            known = [one[which] for one in runs if which in one]
            cells.append(f"{np.mean(known):.2f}" if known else "")
        cells.append(f"{np.mean([one.get('passes_a_picture', 0) for one in runs]):.0f}")
        marked = f"{label} *" if runs[0].get("exploratory") else label
        lines.append(f"| {marked} | {' | '.join(cells)} | {len(runs)} |")
    return lines


def contrast(kept: dict[str, Any], name: str, first: str, second: str) -> list[str]:
    """How much lower the first's errors are: paired over pictures, means over the seeds that both have."""
    known = rows(kept, name)
    pairs = list(zip(known.get(first, []), known.get(second, [])))
    lines = []
    for metric in ("localisation-error", "official-error") if pairs else ():
        less = np.nanmean([np.subtract(b["scores"][metric], a["scores"][metric]) for a, b in pairs], axis=0)
        found = _interval(less)
        lines.append(f"{first} against {second}, {metric} lower by {found.estimate:+.4f} "
                     f"[{found.low:+.4f}, {found.high:+.4f}], {len(pairs)} seeds")  # fmt: skip
    return lines


def _interval(values: Any) -> Any:
    return bootstrap_interval(values.tolist(), [str(n) for n in range(len(values))], "mean")


CLAIMS = (
    ("both, fixed", "in, fixed"), ("both, fixed", "out, fixed"), ("both, joint", "in, joint"),
    ("both, joint", "out, joint"), ("both, joint", "both, fixed"), ("both, joint", "both, joint, 10 a class"),
    ("both, fixed", "both, fixed, 10 a class"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["birds", "wbc", "ph2"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "masking")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    asked.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(RESULT, asked.work, asked.hours, SETTINGS)
    for name in asked.data:
        if not asked.table:
            compare(bench, name, asked.seeds)
        print("\n".join(table(bench.kept, name.partition("=")[0])), flush=True)
        for first, second in CLAIMS:
            print("\n".join(contrast(bench.kept, name.partition("=")[0], first, second)), flush=True)


if __name__ == "__main__":
    main()
