"""What comparisons of trained explainers share: results that are kept as they come, pictures, classifiers.

Pictures are those that the tests use (`../shared/data` or $SATCHEL_TEST_DATA); other data sets are folders given by
name: my=FOLDER.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from finetune import finetune, split
from torch import Tensor

from core.classifier import Classifier
from core.data import Dataset, open_dataset
from core.loading import load_classifier
from core.runtime.whole_files import write_json
from core.sat.batch import load

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SATCHEL_TEST_DATA", ROOT.parent / "shared" / "data"))
TEST = 100  # pictures of imagenette to judge on; of other sets it is three tenths


class Bench:
    """What is done so far of a comparison that takes hours, kept after every part.

    Attributes:
        result: the JSON file. work: a folder for what is trained. settings: that all of the figures share.
        kept: what is in the file.
    """

    def __init__(self, result: Path, work: Path, hours: float, settings: dict[str, Any]) -> None:
        self.result, self.work, self.settings = result, work, settings
        self.until = time.monotonic() + 3600 * hours
        self.kept = self.read()

    def read(self) -> dict[str, Any]:
        """What is there, by this process and by others."""
        kept: dict[str, Any] = json.loads(self.result.read_text()) if self.result.is_file() else {}
        kept.setdefault(
            "machine", {"cores": os.cpu_count(), "torch": torch.__version__, "system": platform.platform(terse=True)}
        )
        if kept.setdefault("settings", self.settings) != self.settings:
            raise SystemExit(f"{self.result} is of other settings; remove it to begin anew")
        kept.setdefault("runs", {})
        return kept

    def part(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Done before, or done now."""
        if name not in self.kept["runs"]:
            self.check_hours(name)
            began = time.perf_counter()
            self.keep(name, {**make(), "seconds": round(time.perf_counter() - began, 1)})
            print(f"{name}: {self.kept['runs'][name]['seconds']:.0f} s", flush=True)
        return self.kept["runs"][name]

    def keep(self, name: str, found: dict[str, Any]) -> None:
        """On the disk, at once."""
        with FileLock(self.work / "results.lock"):
            self.kept = self.read()
            self.kept["runs"][name] = found
            write_json(self.result, self.kept)

    def same_classifier(self, name: str, classifier: Classifier, judge: Dataset) -> None:
        """Remember which it is; figures of several runs must be of one."""
        known = self.part(name, lambda: described(classifier, judge))
        if known["fingerprint"] != classifier.fingerprint:
            raise SystemExit(f"{self.result} is of another {name}; remove its runs to begin anew")

    def check_hours(self, name: str) -> None:
        if time.monotonic() > self.until:
            raise SystemExit(f"the hours are over at {name}; run it again to go on")


def pictures(name: str) -> tuple[Dataset, Dataset]:
    """(to learn from, to judge on)."""
    if name == "imagenette":
        return open_dataset(DATA / name / "train"), open_dataset(DATA / name / "val", limit=TEST)
    source = name.partition("=")[2] or str(DATA / name)
    data = open_dataset(source)
    labels = data.labels
    targets = np.array([labels.index(item.label or "") for item in data.items])
    chosen = split(targets, [item.group for item in data.items], 0.3, 0)
    learn = replace(data, items=tuple(item for item, held in zip(data.items, chosen) if not held))
    return learn, replace(data, items=tuple(item for item, held in zip(data.items, chosen) if held))


def cnn(work: Path, name: str, learn: Dataset, side: int) -> Classifier:
    """MobileNetV2 from ImageNet weights, fine-tuned on frames of that side."""
    out = work / f"{name}-cnn.safetensors"
    if not out.is_file():
        start = f"torchvision:mobilenet_v2@{DATA / 'weights' / 'mobilenet_v2.pth'}"
        finetune(learn, start, out, epochs=4 if name == "imagenette" else 10, size=side, holdout=0.0, say=print)
    return load_classifier(f"torchvision:mobilenet_v2@{out}", device="auto")


def described(classifier: Classifier, judge: Dataset) -> dict[str, Any]:
    """Which classifier it is, and how often it is right."""
    right = [classifier.labels[int(classifier.logits(classifier.prepare(item.picture()).tensor[None]).argmax())]
             == item.label for item in judge.items]  # fmt: skip
    return {"fingerprint": classifier.fingerprint, "accuracy": float(np.mean(right)), "pictures": len(right)}


def object_masks(data: Dataset, classifier: Classifier) -> Tensor | None:
    """[N, H, W] of what is marked as object; None where nothing is."""
    masks = []
    for item in data.items:
        loaded = load(item, classifier)
        if loaded.segments is None:
            return None
        masks.append(loaded.scene(torch.device("cpu")).object_mask())
    return torch.stack(masks)
