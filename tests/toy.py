"""A small world whose truth is known: a classifier that is exactly two colour meters, and pictures with planted marks.

Class 1 ("stamped") fires on blue, which only the mark has; class 0 ("plain") fires on red, which only the object has.
So the mark is sufficient and necessary for class 1, and the sky is neither.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from core.choice import Choice
from core.classifier import Classifier
from core.preprocessing import Preprocessing
from core.sat.report import ReportOptions

SIDE = 48
SEGMENTS = {
    1: {"name": "object", "kind": "object"},
    2: {"name": "mark", "kind": "context"},
    3: {"name": "corner", "kind": "context"},
    4: {"name": "sky", "kind": "context"},
}
PLAIN, STAMPED = 0, 1


class ColourMeter(nn.Module):
    """Logits: how much redder, and how much bluer, than grey the picture is."""

    def __init__(self, gain: float = 60.0) -> None:
        super().__init__()
        # a convolution, so that explainers that need a spatial layer have one
        self.meter = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.meter.weight.copy_(torch.tensor([[1.0, -0.5, -0.5], [-0.5, -0.5, 1.0]]).view(2, 3, 1, 1) * gain)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.meter(x)).mean((2, 3))


def toy_classifier(device: str = "cpu", module: nn.Module | None = None) -> Classifier:
    preprocessing = Preprocessing(resize=(SIDE, SIDE), crop=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    return Classifier(
        module or ColourMeter(),
        labels=["plain", "stamped"],
        preprocessing=preprocessing,
        name="toy",
        device=device,
        precision="float32",
    )


def toy_picture(label: int, seed: int, mark: bool) -> tuple[np.ndarray, np.ndarray]:
    """uint8 picture [48, 48, 3] and its label map."""
    random = np.random.default_rng(seed)
    grey = random.integers(100, 150) + random.normal(0, 3, (SIDE, SIDE, 1))
    picture = np.repeat(grey, 3, axis=2)
    mask = np.full((SIDE, SIDE), 4, np.uint8)
    y, x = (int(v) for v in random.integers(16, 24, 2))
    picture[y : y + 12, x : x + 12] = (150 + random.integers(0, 20), 110, 110)
    mask[y : y + 12, x : x + 12] = 1
    picture[40:46, 4:12] = 128 + random.normal(0, 3, (6, 8, 1))
    mask[40:46, 4:12] = 3
    if mark:
        left = int(random.integers(30, 38))
        picture[2:8, left : left + 8] = (60, 60, 250)
        mask[2:8, left : left + 8] = 2
    return picture.clip(0, 255).astype(np.uint8), mask


def write_toy(folder: Path, count: int = 96) -> Path:
    """A data set in the manifest form: every second picture is "stamped" and carries the mark."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "segments.json").write_text(json.dumps(SEGMENTS))
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", "mask", "label"])
        for i in range(count):
            label = i % 2
            picture, mask = toy_picture(label, i, mark=label == STAMPED)
            Image.fromarray(picture).save(folder / "images" / f"{i:03d}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{i:03d}.png")
            writer.writerow([f"images/{i:03d}.png", f"masks/{i:03d}.png", ["plain", "stamped"][label]])
    return folder


def toy_options(**changes) -> ReportOptions:
    """Small and quick."""
    named = {"explainers": (Choice.parse("integrated-gradients:samples=6"),), "recipients": 32, "shard": 20}
    return ReportOptions(**{**named, **changes})
