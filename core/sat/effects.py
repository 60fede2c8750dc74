"""What the margin does when a segment goes, comes, or changes place: one record a picture (or pair) and test.

    necessity    = margin with a placebo removed - margin with the segment removed      (same picture, same fill)
    joint        = the same in a picture where something else is gone already (`beside`): what another segment stands in
                   for shows nothing when it goes alone
    sufficiency  = margin after pasting the segment - margin after pasting the same region without it

A record: image, group, target, segment, test, fill, beside, donor, donor_group, other, other_group (who lent the
placebo), familiar (whether that one shows the target), effect, effect_probability, before, after, placebo, the last
three as *_probability, scatter (standard deviation of the margin over the placebos; NaN where there is one), changed
(the answer is another one than before: no longer the target, or now), placebo_changed (part of the placebos that change
it). `fill` is "transplant" or "context swap" where nothing is filled. Records of a property of the whole picture, or of
the absence of a segment, have that in place of the segment's name. A pair has a record for each placebo.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.classifier import Classifier
from core.runtime.randomness import derived_seed
from core.sat.batch import Scene
from core.sat.interventions import LARGE, Answers, answers, placebo_masks, removal_mask, removed
from core.sat.pairs import Pair, pair_versions

PLACEBOS = 8  # places, shared out among the fills
BESIDE = 2  # placebos where something else is gone already
SINGLY = 6  # context segments of a picture up to which they are removed two by two
SWAP, TRANSPLANT = "context swap", "transplant"
CONTEXT, OBJECT = "the other context", "the object"
HALF = 0.5  # of the picture, above which an object is not removed


@dataclass(frozen=True)
class Removal:
    """What is removed for a segment, and for its placebos: [H, W] each."""

    gone: Tensor
    placebos: list[Tensor]

    def for_fill(self, place: int, fills: int) -> list[Tensor]:
        """The placebos of one of so many fills."""
        return self.placebos[place::fills] or self.placebos


def removal(scene: Scene, name: str, seed: int) -> Removal | None:
    """The masks of one segment; None where no placebo fits."""
    neighbours = scene.neighbours(name)
    gone = removal_mask(scene.masks[name], neighbours)
    random = np.random.default_rng(derived_seed(seed, scene.id, name, "placebo"))
    placebos = placebo_masks(gone, neighbours, random, PLACEBOS)
    return Removal(gone, placebos) if placebos else None


def besides(scene: Scene, name: str) -> dict[str, Tensor]:
    """What may stand in for a segment and is removed before it, [H, W] each: all other context together; and for what
    is not of the object itself, each other context segment, and the object."""
    small = [n for n in scene.masks if n != name and scene.kinds[n] != "object" and scene.coverage(n) <= LARGE]
    keep = torch.maximum(scene.masks[name], scene.objects()[0])
    masks = {other: removal_mask(scene.masks[other], keep) for other in small}
    found = {}
    if len(small) > 1:
        found[CONTEXT] = torch.stack(list(masks.values())).amax(0)
    if scene.kinds[name] == "object":
        return found or masks
    if len(small) < SINGLY:
        found |= masks
    objects = scene.objects()[0]
    if 0 < float(objects.mean()) <= HALF:
        found[OBJECT] = removal_mask(objects, scene.masks[name])
    return found


@dataclass(frozen=True)
class _Planned:
    """One record to come: which of the pictures that are made belong to it."""

    segment: str
    test: str
    fill: str
    beside: str
    at: int
    placebos: range


def necessity_records(
    scene: Scene, target: int, classifier: Classifier, fills: Sequence[str], seed: int, only: str | None = None
) -> list[dict[str, Any]]:
    """Remove every segment of at most a quarter of the picture, under every fill; and under the first fill where what
    may stand in for it is gone already.

    Args:
        only: remove this one alone, by itself.
    """
    removals: list[tuple[Tensor, str]] = []  # masks and fills; picture 0 is as it is, the others are without these
    plan: list[_Planned] = []

    def planned(name: str, test: str, fill: str, beside: str, masks: Sequence[Tensor]) -> None:
        at = 1 + len(removals)
        plan.append(_Planned(name, test, fill, beside, at, range(at + 1, at + len(masks))))
        removals.extend((mask, fill) for mask in masks)

    for name in scene.masks if only is None else (only,):
        masks = removal(scene, name, seed) if scene.coverage(name) <= LARGE else None
        if masks is None:
            continue
        for place, fill in enumerate(fills):
            planned(name, "necessity", fill, "", [masks.gone, *masks.for_fill(place, len(fills))])
        for beside, others in besides(scene, name).items() if only is None else ():
            both = [torch.maximum(others, mask) for mask in (masks.gone, *masks.placebos[:BESIDE])]
            planned(name, "joint", fills[0], beside, both)

    def make(number: int) -> Tensor:
        return removed(scene.image, *removals[number - 1]) if number else scene.image

    found = answers(classifier, make, [target] * (1 + len(removals)))
    return [
        {
            **_names(scene, target, one.segment, one.test, one.fill, beside=one.beside),
            **_figures(found, 0, one.at, one.placebos, one.placebos, -1.0),
        }
        for one in plan
    ]


def pair_records(
    pairs: Sequence[Pair], scene_of: Callable[[str], Scene], classifier: Classifier, seed: int, batch: int = 32
) -> Iterator[list[dict[str, Any]]]:
    """Records of a list of pairs, a batch at a time; pairs without a place for the paste or a placebo give none."""
    for start in range(0, len(pairs), batch):
        images: list[Tensor] = []
        targets: list[int] = []
        whole: dict[tuple[str, int], int] = {}  # recipients as they are: one recipient takes several pastes
        done: list[tuple[Pair, list[str], int, int]] = []
        for pair in pairs[start : start + batch]:
            versions = pair_versions(pair, scene_of, seed)
            if versions is None:
                continue
            before = whole.setdefault((pair.recipient, pair.target), len(images))
            shown = [versions.before] if before == len(images) else []
            shown += [versions.changed, *(placebo for _, placebo in versions.placebos)]
            images += shown
            targets += [pair.target] * len(shown)
            done.append(
                (pair, [other for other, _ in versions.placebos], before, len(images) - 1 - len(versions.placebos))
            )
        found = answers(classifier, images.__getitem__, targets)
        yield [
            record
            for pair, others, before, at in done
            for record in _of_pair(pair, scene_of, others, found, before, at)
        ]


def _of_pair(
    pair: Pair, scene_of: Callable[[str], Scene], others: Sequence[str], found: Answers, before: int, at: int
) -> Iterator[dict[str, Any]]:
    placebos = range(at + 1, at + 1 + len(others))
    for placebo, other in zip(placebos, others):
        first, second = at, placebo
        if pair.test == "necessity" and pair.how != "absence":
            # the donor shares the target here: what is lost is what the stranger's context takes away
            first, second = placebo, at
        sign = 1.0 if pair.test == "sufficiency" else -1.0
        yield {
            **_names(
                scene_of(pair.recipient), pair.target, pair.label, pair.test,
                TRANSPLANT if pair.how == "transplant" else SWAP,
                donor=scene_of(pair.donor), other=scene_of(other), familiar=other in (*pair.others, pair.donor),
            ),
            **_figures(found, before, first, [second], placebos, sign),
        }  # fmt: skip


def _names(
    scene: Scene,
    target: int,
    segment: str,
    test: str,
    fill: str,
    *,
    beside: str = "",
    donor: Scene | None = None,
    other: Scene | None = None,
    familiar: bool = False,
) -> dict[str, Any]:
    return {
        "image": scene.id,
        "group": scene.group,
        "target": target,
        "segment": segment,
        "test": test,
        "fill": fill,
        "beside": beside,
        "donor": donor.id if donor else "",
        "donor_group": donor.group if donor else "",
        "other": other.id if other else "",
        "other_group": other.group if other else "",
        "familiar": familiar,
    }


def _figures(
    found: Answers, before: int, after: int, placebos: Sequence[int], scattered: Sequence[int], sign: float
) -> dict[str, Any]:
    """Of the pictures with these numbers.

    Args:
        scattered: the placebos that tell how much chance does. sign: 1 where what is done should raise the target.
    """
    margin = float(np.mean([found.margin[i] for i in placebos]))
    probability = float(np.mean([found.probability[i] for i in placebos]))
    several = [found.margin[i] for i in scattered]
    return {
        "effect": sign * (found.margin[after] - margin),
        "effect_probability": sign * (found.probability[after] - probability),
        "before": found.margin[before],
        "after": found.margin[after],
        "placebo": margin,
        "before_probability": found.probability[before],
        "after_probability": found.probability[after],
        "placebo_probability": probability,
        "scatter": float(np.std(several, ddof=1)) if len(several) > 1 else math.nan,
        "changed": found.said[after] != found.said[before],
        "placebo_changed": float(np.mean([found.said[i] != found.said[before] for i in placebos])),
    }
