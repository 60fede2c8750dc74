"""Models whose reliance is known exactly: detectors of small coloured patches on a plain sky, and pictures for them.

A detector is 1 where a whole patch of its colour stands anywhere, and 0 where none does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from core.choice import Choice
from core.classifier import Classifier
from core.data import Dataset, Item
from core.images import Picture
from core.preprocessing import Preprocessing
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import open_report
from core.segments import Segments

SIDE = 48
COLOURS = {
    "A": (230, 40, 40),
    "B": (40, 200, 40),
    "C": (40, 60, 230),
    "D": (220, 210, 40),
    "object": (200, 40, 200),
    "ring": (20, 20, 20),
}
PLACES = {"A": (4, 4), "B": (4, 36), "C": (4, 4), "D": (36, 4)}  # top left corners; C stands where A would
PATCH = 8
STAMPED, PLAIN = 1, 0
Presence = dict[str, Tensor]


class Detectors(nn.Module):
    """[B, 3, H, W] -> logits (0, margin), with the margin made of how present each colour is, in [0, 1] each."""

    def __init__(self, margin: Callable[[Presence], Tensor]) -> None:
        super().__init__()
        self.margin = margin
        self.colours = nn.Parameter(torch.tensor(list(COLOURS.values())) / 255)

    def forward(self, x: Tensor) -> Tensor:
        far = (x[:, None] - self.colours[None, :, :, None, None]).abs().sum(2)
        area = torch.relu(1 - 4 * far).sum((2, 3))
        present = (area / (0.75 * PATCH * PATCH)).clamp(max=1)
        margin = self.margin(dict(zip(COLOURS, present.unbind(1))))
        return torch.stack([torch.zeros_like(margin), margin], 1)


def either(*presence: Tensor) -> Tensor:
    return torch.stack(presence).amax(0)


def world_classifier(margin: Callable[[Presence], Tensor]) -> Classifier:
    preprocessing = Preprocessing(resize=(SIDE, SIDE), crop=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    return Classifier(
        Detectors(margin), labels=["plain", "stamped"], preprocessing=preprocessing, device="cpu", precision="float32"
    )


def world_item(number: int, label: int, marks: Sequence[str], kinds: Mapping[str, str], size: int = 12) -> Item:
    """One picture with these things in it; `size` is the object's side in pixels (48: a close-up)."""
    random = np.random.default_rng(number)
    picture = np.full((SIDE, SIDE, 3), random.integers(120, 140, 3), np.float32)
    masks: dict[str, np.ndarray] = {}

    def paint(name: str, top: int, left: int, side: int) -> None:
        picture[top : top + side, left : left + side] = COLOURS[name]
        for mask in masks.values():
            mask[top : top + side, left : left + side] = False
        masks[name] = np.zeros((SIDE, SIDE), bool)
        masks[name][top : top + side, left : left + side] = True

    masks["sky"] = np.ones((SIDE, SIDE), bool)
    if "object" in marks:
        top, left = random.integers(16, 24, 2) if size < SIDE else (0, 0)
        paint("object", top, left, size)
    if "ring" in marks:
        paint("ring", *(place - 1 for place in PLACES["A"]), PATCH + 2)
    for name in marks:
        if name in PLACES:
            paint(name, *PLACES[name], PATCH)
    picture = (picture + random.normal(0, 1, picture.shape)).clip(0, 255).astype(np.uint8)
    kept = {name: mask for name, mask in masks.items() if mask.any()}
    found = Segments.from_masks(
        np.stack(list(kept.values())), tuple(kept), tuple(kinds.get(n, "context") for n in kept), "known"
    )
    return Item(f"{number:03d}", ("plain", "stamped")[label], lambda: Picture(Image.fromarray(picture)), lambda: found)


KINDS = {"object": "object"}


def judged(
    margin: Callable[[Presence], Tensor], items: Sequence[Item], out: Path, **options
) -> dict[tuple[str, str], dict]:
    """(class, segment) -> finding of a whole report on these pictures."""
    settings = ReportOptions(explainers=(Choice.parse("integrated-gradients:samples=4"),), **options)
    for _ in build_report(Dataset("world", "known", tuple(items)), world_classifier(margin), out, settings):
        pass
    return {(entry["target"], entry["segment"]): entry for entry in open_report(out).findings}
