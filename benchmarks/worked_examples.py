"""Two real shortcuts: a model that learned one, and a control that could not, each with its report.

    uv run python benchmarks/worked_examples.py wbc    # white blood cells: the background's tint
    uv run python benchmarks/worked_examples.py ph2    # melanoma: the skin outside of the lesion

A SqueezeNet is fine-tuned twice from ImageNet weights: where the shortcut goes with the class, and where it tells
nothing. Then a report on all pictures says what each leans on. Needs the pictures that the tests use (`../shared/data`
or $SATCHEL_TEST_DATA). What came out is kept in benchmarks/results/worked_examples.json; models and reports in
runs/examples, where a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from finetune import finetune
from kept import DATA, ROOT
from PIL import Image

from core.choice import reported_choices
from core.data import Dataset, Item, open_dataset
from core.images import Picture
from core.loading import load_classifier
from core.preprocessing import Preprocessing
from core.runtime.randomness import derived_seed
from core.runtime.whole_files import write_json
from core.sat.batch import read
from core.sat.interventions import context_swapped
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import open_report

RESULT = ROOT / "benchmarks" / "results" / "worked_examples.json"
WORK = ROOT / "runs" / "examples"
SIDE, EPOCHS = 128, 30
CELLS = {"neutrophil": "neutrophil", "lymphocyte": "mononuclear", "monocyte": "mononuclear"}
MOLES = {"common_nevus": "nevus", "atypical_nevus": "nevus", "melanoma": "melanoma"}
SCENE = Preprocessing(resize=(SIDE, SIDE), crop=None)


@dataclass(frozen=True)
class Example:
    """One shortcut.

    Attributes:
        data: all pictures, which the reports are on. segment: the shortcut. learn: by model, what it learns from.
        apart: by name, pictures on which right and wrong tell how far it is relied on.
    """

    data: Dataset
    segment: str
    learn: dict[str, Dataset]
    apart: dict[str, Dataset]


def wbc() -> Example:
    """Biased: neutrophils on white against mononuclear cells on yellow. Control: as many of each class on each."""
    data = relabelled(open_dataset(DATA / "wbc"), CELLS)
    by = {
        (label, tint): [i for i in data.items if i.label == label and i.columns["background_tint"] == tint]
        for label in ("neutrophil", "mononuclear")
        for tint in ("white", "yellow")
    }
    biased = by["neutrophil", "white"][:60] + by["mononuclear", "yellow"][:60]
    fair = [item for (label, tint), items in by.items() for item in items[: 15 if tint == "white" else 45]]
    swapped = by["neutrophil", "yellow"] + by["mononuclear", "white"]
    matching = by["neutrophil", "white"][60:] + by["mononuclear", "yellow"][60:]
    parts = {"the usual tint": matching, "the other tint": swapped}
    return Example(
        data, "background", {"biased": of(data, biased), "control": of(data, fair)},
        {name: of(data, items) for name, items in parts.items()},
    )  # fmt: skip


def ph2() -> Example:
    """Biased: the lesion is blanked. Control: every lesion on the skin of a picture of either class."""
    data = relabelled(open_dataset(DATA / "ph2"), MOLES)
    blanked = [replace(item, picture=Blanked(item)) for item in data.items]
    donors = {label: [item for item in data.items if item.label == label] for label in ("nevus", "melanoma")}
    moved = []
    for item in data.items:
        for label, others in donors.items():
            donor = others[derived_seed(0, item.id, label) % len(others)]
            moved.append(
                replace(item, id=f"{item.id} on {label}", picture=OnSkin(item, donor), columns={"group": item.id})
            )
    return Example(
        data, "skin", {"biased": of(data, blanked), "control": of(data, moved)},
        {"the skin alone": of(data, blanked), "as they are": data},
    )  # fmt: skip


EXAMPLES: dict[str, Callable[[], Example]] = {"wbc": wbc, "ph2": ph2}


def relabelled(data: Dataset, names: dict[str, str]) -> Dataset:
    items = (replace(item, label=names[item.label]) for item in data.items if item.label in names)
    return replace(data, items=tuple(items))


def of(data: Dataset, items: list[Item]) -> Dataset:
    return replace(data, items=tuple(items))


@dataclass(frozen=True)
class Blanked:
    """A picture whose lesion is its skin's mean colour."""

    item: Item

    def __call__(self) -> Picture:
        scene = read(self.item, SCENE.apply).scene(torch.device("cpu"))
        skin = scene.masks["skin"]
        colour = (scene.image * skin).sum((1, 2)) / skin.sum()
        return _picture(torch.lerp(colour[:, None, None].expand_as(scene.image), scene.image, skin), self.item.id)


@dataclass(frozen=True)
class OnSkin:
    """A picture's lesion on the skin of another."""

    item: Item
    donor: Item

    def __call__(self) -> Picture:
        own, other = (read(one, SCENE.apply).scene(torch.device("cpu")) for one in (self.item, self.donor))
        image = context_swapped(own.image, own.masks["skin"], other.image, other.masks["skin"])
        return _picture(image, self.item.id)


def _picture(image: torch.Tensor, name: str) -> Picture:
    return Picture(Image.fromarray((image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy()), name)


def accuracy(spec: str, data: Dataset) -> float:
    """Mean over classes of the part that is right."""
    classifier = load_classifier(spec)
    right: dict[str, list[bool]] = {}
    for item in data.items:
        said = int(classifier.logits(classifier.prepare(item.picture()).tensor[None]).argmax())
        right.setdefault(item.label or "", []).append(classifier.labels[said] == item.label)
    return float(np.mean([np.mean(hits) for hits in right.values()]))


def run(name: str) -> dict[str, Any]:
    """Train, report, and say what came out."""
    example = EXAMPLES[name]()
    told: dict[str, Any] = {}
    start = f"torchvision:squeezenet1_1@{DATA / 'weights' / 'squeezenet1_1.pth'}"
    for which, learn in example.learn.items():
        weights = WORK / f"{name}-{which}.safetensors"
        if not weights.is_file():
            finetune(learn, start, weights, epochs=EPOCHS, size=SIDE, holdout=0.0, say=print)
        spec, out = f"torchvision:squeezenet1_1@{weights}", WORK / f"{name}-{which}"
        classifier = load_classifier(spec)
        options = ReportOptions(tuple(reported_choices(classifier)), context=(example.segment,))
        last = ""
        for step in build_report(example.data, classifier, out, options):
            if step.stage != last:
                print(f"{name}, {which}: {step.stage}", flush=True)
            last = step.stage
        report = open_report(out)
        cells = {(e["target"], e["segment"]): e for e in report.findings}
        own = [entry for (_, segment), entry in cells.items() if segment == example.segment]
        told[which] = {
            "balanced_accuracy": {part: round(accuracy(spec, data), 3) for part, data in example.apart.items()},
            "findings": [{key: entry[key] for key in ("target", "verdict", "sentence")} for entry in own],
            "whole": [e["sentence"] for e in report.manifest["whole"] if e["verdict"] == "confirmed"],
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=list(EXAMPLES))
    WORK.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    for name in parser.parse_args().names:
        kept[name] = run(name)
        write_json(RESULT, kept)
        print(json.dumps(kept[name], indent=1))


if __name__ == "__main__":
    main()
