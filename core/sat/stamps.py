"""A patch pasted on all pictures: which classes does it push, beyond the same patch scrambled?

    effect on a class = its margin with the stamp - its margin with the stamp's own pieces in disorder (same place)

A logo, a ruler, a hospital's tag, a line of text; translucent ones by their alpha. No masks are needed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core.classifier import Classifier
from core.errors import UserError
from core.images import read_picture
from core.paths import user_path
from core.runtime.randomness import derived_seed
from core.sat.statistics import LEAST_UNITS, Mean, benjamini_hochberg, group_means

PLACEBOS = 2
PIECES = 20  # of a scrambled stamp, along its shorter side: fewer leave strokes that can be read
PICTURES = 200  # a stamp is tried on
SIGNIFICANCE = 0.05
TOLD = 5  # classes a stamp


@dataclass(frozen=True, eq=False)
class Stamp:
    """A patch.

    Attributes:
        name: of its file. pixels: [H, W, 4] uint8, RGBA. width: part of a picture's width that it takes up; less where
            it would be higher than the picture.
    """

    name: str
    pixels: np.ndarray
    width: float

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()

    @classmethod
    def read(cls, file: str | Path, width: float) -> Stamp:
        """From a picture file.

        Raises:
            UserError: it cannot be read, or shows nothing at all.
        """
        path = user_path(file)
        seen = read_picture(path).array()  # upright, deep grey scaled: as any picture is read, but without its alpha
        with Image.open(path) as image:
            clear = image.has_transparency_data
            pixels = np.asarray(image.convert("RGBA")) if clear else np.dstack([seen, np.full(seen.shape[:2], 255)])
        pixels = pixels.astype(np.uint8)
        if not pixels[..., 3].any():
            raise UserError(f"The stamp {path} is wholly transparent; save it with something to see.")
        return cls(path.name, pixels, width)

    def on(self, image: Tensor, random: np.random.Generator) -> tuple[Tensor, list[Tensor]]:
        """[3, H, W] -> the picture with the stamp, and with placebos, all at the same place."""
        height, width = image.shape[1:]
        wide = max(1, round(self.width * width))
        high = max(1, round(wide * self.pixels.shape[0] / self.pixels.shape[1]))
        if high > height:
            wide, high = max(1, round(wide * height / high)), height
        rgba = torch.from_numpy(self.pixels.copy()).permute(2, 0, 1)[None].to(image) / 255
        rgba = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], 1)  # so that clear pixels lend no colour
        small = F.interpolate(rgba, (high, wide), mode="area")[0]
        top, left = (int(random.integers(0, most + 1)) for most in (height - high, width - wide))
        patches = [small, *(scrambled(small, random) for _ in range(PLACEBOS))]
        made = []
        for patch in patches:
            copy = image.clone()
            under = copy[:, top : top + high, left : left + wide]
            under.mul_(1 - patch[3:]).add_(patch[:3])
            made.append(copy)
        return made[0], made[1:]


def scrambled(patch: Tensor, random: np.random.Generator) -> Tensor:
    """[C, H, W] with its pieces in disorder, and turned: the same pixels, and nothing to read."""
    height, width = patch.shape[1:]
    side = max(1, min(height, width) // PIECES)
    down, right = height // side, width // side
    cut = patch[:, : down * side, : right * side].reshape(-1, down, side, right, side).permute(1, 3, 0, 2, 4)
    pieces = cut.reshape(down * right, -1, side, side)[random.permutation(down * right)]
    turns = random.integers(0, 4, down * right).tolist()
    pieces = torch.stack([piece.rot90(turn, (1, 2)) for piece, turn in zip(pieces, turns)])
    joined = pieces.reshape(down, right, -1, side, side).permute(2, 0, 3, 1, 4)
    out = patch.clone()
    out[:, : down * side, : right * side] = joined.reshape(-1, down * side, right * side)
    return out


def margins(classifier: Classifier, logits: Tensor) -> Tensor:
    """[B, C] -> [B, C] float64: log-odds of each class, as of `Classifier.margin`."""
    if classifier.output == "sigmoid":
        return logits.double()
    likely = logits.double().log_softmax(-1).clamp(max=-1e-12)
    return likely - torch.log(-torch.expm1(likely))


@torch.no_grad()
def stamp_records(
    images: Sequence[tuple[str, str, Tensor]], stamps: Sequence[Stamp], classifier: Classifier, seed: int
) -> list[dict[str, Any]]:
    """One a picture and stamp.

    Args:
        images: (id, group, picture [3, H, W]).

    Returns:
        image, group, stamp, effects and raw (a number a class: beyond the placebo, and beyond the picture as it is),
        before, after, placebo (classes that are the answer).
    """
    records = []
    for image, group, picture in images:
        for stamp in stamps:
            random = np.random.default_rng(derived_seed(seed, image, stamp.name, "stamp"))
            marked, placebos = stamp.on(picture, random)
            logits = classifier.finite_logits(torch.stack([picture, marked, *placebos]))
            known = margins(classifier, logits).cpu()
            said = logits.argmax(1).tolist()
            effects, raw = ((known[1] - base).float().tolist() for base in (known[2:].mean(0), known[0]))
            records.append(
                {
                    "image": image, "group": group, "stamp": stamp.name, "effects": effects, "raw": raw,
                    "before": said[0], "after": said[1], "placebo": said[2],
                }
            )  # fmt: skip
    return records


def judge_stamps(records: Iterable[dict[str, Any]], labels: Sequence[str], delta: float) -> list[dict[str, Any]]:
    """One entry a stamp, for JSON: the classes that it pushes, strongest first, and a sentence."""
    by_stamp: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_stamp.setdefault(record["stamp"], []).append(record)
    found = []
    for stamp, told in by_stamp.items():
        groups = [record["group"] for record in told]
        effects = np.stack([np.asarray(record["effects"], float) for record in told])
        count = len(set(groups))
        means = np.stack([group_means(column.tolist(), groups) for column in effects.T], 1)
        strongest = np.argsort(-means.mean(0))
        p = _p_above(means, delta)
        for target in strongest[: 4 * TOLD].tolist():  # what is told rests on the more careful test
            p[target] = np.fmax(p[target], Mean(means[:, target]).p_above(delta))
        q = benjamini_hochberg(p.tolist()) if count >= LEAST_UNITS else [math.nan] * len(p)
        classes = []
        for target in strongest[:TOLD].tolist():
            size = Mean(means[:, target]).interval
            turned = sum(int(record["after"]) == target != int(record["placebo"]) for record in told)
            classes.append(
                {
                    "target": labels[target], "effect": [size.estimate, size.low, size.high], "q": q[target],
                    "raw": float(np.mean([record["raw"][target] for record in told])),
                    "confirmed": bool(q[target] <= SIGNIFICANCE), "turned": turned,
                }
            )  # fmt: skip
        entry = {"stamp": stamp, "pictures": len(told), "groups": count, "classes": classes}
        found.append({**entry, "sentence": stamp_sentence(entry)})
    return found


def _p_above(means: np.ndarray, delta: float) -> np.ndarray:
    """[N, C] -> [C]: Student's one-sided p of a mean of at most delta."""
    from scipy import stats

    if len(means) < 2:
        return np.full(means.shape[1], math.nan)
    error = means.std(0, ddof=1) / math.sqrt(len(means))
    above = means.mean(0) - delta
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.t.sf(above / error, len(means) - 1)
    return np.where(error > 0, p, np.where(above > 0, 0.0, 1.0))


def stamp_sentence(entry: dict[str, Any]) -> str:
    """ "Pasted on 100 pictures, zh.png adds 1.3 [1.1, 1.5] (1.8 in all) to the log-odds of carton and turns 7 answers
    into it; beyond the same patch scrambled."."""
    where = f"Pasted on {entry['pictures']} pictures, {entry['stamp']}"
    pushed = [one for one in entry["classes"] if one["confirmed"]]
    if not pushed:
        if entry["groups"] < LEAST_UNITS:
            return f"{where} was tried on too few independent pictures to say what it does."
        most = entry["classes"][0]
        size, low, high = most["effect"]
        return (
            f"{where} pushes no class by more than matters, beyond the same patch scrambled; the most is {size:.1f} "
            f"[{low:.1f}, {high:.1f}] for {most['target']}."
        )
    told = []
    for one in pushed:
        size, low, high = one["effect"]
        answers = f" and turns {one['turned']} of {entry['pictures']} answers into it" if one["turned"] else ""
        told.append(
            f"{size:.1f} [{low:.1f}, {high:.1f}] ({one['raw']:.1f} in all) to the log-odds of {one['target']}{answers}"
        )
    return f"{where} adds {'; '.join(told)}; beyond the same patch scrambled."
