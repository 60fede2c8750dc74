"""What the margin does when a segment goes, comes, or changes place: one record a picture (or pair) and test.

    necessity    = margin with a placebo removed - margin with the segment removed      (same picture, same fill)
    joint        = the same in a picture whose other context is gone already: a mark that another one stands in for
                   shows nothing when it goes alone
    sufficiency  = margin after pasting the segment - margin after pasting the same region without it

A record: image, group, target, segment, test, fill, donor, donor_group, other, other_group (who lent the placebo),
effect, effect_probability, before, after, placebo, and the last three as *_probability. `fill` is "transplant" or
"context swap" where nothing is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.classifier import Classifier
from core.runtime.randomness import derived_seed
from core.sat.batch import Scene
from core.sat.interventions import LARGE, margins, placebo_mask, removal_mask, removed
from core.sat.pairs import Pair, pair_versions

PLACEBOS = 2
SWAP, TRANSPLANT = "context swap", "transplant"


class Removal(NamedTuple):
    """What is removed for a segment, and for its placebos: [H, W] each."""

    gone: Tensor
    placebos: list[Tensor]


def removal(scene: Scene, name: str, seed: int) -> Removal | None:
    """The masks of one segment, whatever the fill; None where no placebo fits."""
    neighbours = scene.neighbours(name)
    gone = removal_mask(scene.masks[name], neighbours)
    random = np.random.default_rng(derived_seed(seed, scene.id, name, "placebo"))
    tried = (placebo_mask(gone, neighbours, random) for _ in range(PLACEBOS))
    placebos = [mask for mask in tried if mask is not None]
    return Removal(gone, placebos) if placebos else None


def joint_removal(scene: Scene, name: str, masks: Removal) -> tuple[Tensor, Tensor, Tensor] | None:
    """What is removed, [H, W] each: the other context, with the segment, with a placebo; None where there is no other
    context."""
    beside = [n for n in scene.masks if n != name and scene.kinds[n] != "object" and scene.coverage(n) <= LARGE]
    if not beside:
        return None
    keep = torch.maximum(scene.masks[name], scene.objects()[0])
    others = torch.zeros_like(masks.gone)
    for other in beside:
        others = torch.maximum(others, removal_mask(scene.masks[other], keep))
    return others, torch.maximum(others, masks.gone), torch.maximum(others, masks.placebos[0])


def necessity_records(
    scene: Scene, target: int, classifier: Classifier, fills: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Remove every segment of at most a quarter of the picture, under every fill; and once, under the first fill, after
    the picture's other context."""
    removals: list[tuple[Tensor, str]] = []  # masks and fills; picture 0 is as it is, the others are without these
    plan = []
    for name in scene.masks:
        masks = removal(scene, name, seed) if scene.coverage(name) <= LARGE else None
        if masks is None:
            continue
        for fill in fills:
            plan.append((name, "necessity", fill, 0, 1 + len(removals), len(masks.placebos)))
            removals += [(mask, fill) for mask in (masks.gone, *masks.placebos)]
        together = joint_removal(scene, name, masks)
        if together is not None:
            plan.append((name, "joint", fills[0], 1 + len(removals), 2 + len(removals), 1))
            removals += [(mask, fills[0]) for mask in together]

    def make(number: int) -> Tensor:
        return removed(scene.image, *removals[number - 1]) if number else scene.image

    margin, probability = margins(classifier, make, [target] * (1 + len(removals)))
    records = []
    for name, test, fill, before, at, count in plan:
        placebo = slice(at + 1, at + 1 + count)
        records.append(
            _record(
                scene, target, name, test, fill, None, None,
                (margin[before], margin[at], float(np.mean(margin[placebo]))),
                (probability[before], probability[at], float(np.mean(probability[placebo]))),
            )
        )  # fmt: skip
    return records


def pair_records(
    pairs: Sequence[Pair], scene_of: Callable[[str], Scene], classifier: Classifier, seed: int, batch: int = 32
) -> Iterator[list[dict[str, Any]]]:
    """Records of a list of pairs, a batch at a time; pairs without a place for the paste or a placebo give none."""
    for start in range(0, len(pairs), batch):
        images: list[Tensor] = []
        done: list[tuple[Pair, str]] = []
        for pair in pairs[start : start + batch]:
            versions = pair_versions(pair, scene_of, seed)
            if versions is not None:
                images += versions[:3]
                done.append((pair, versions.other))
        targets = [pair.target for pair, _ in done for _ in range(3)]
        margin, probability = margins(classifier, images.__getitem__, targets)
        records = []
        for i, (pair, other) in enumerate(done):
            before, after, placebo = margin[3 * i : 3 * i + 3]
            p_before, p_after, p_placebo = probability[3 * i : 3 * i + 3]
            if pair.test == "necessity":
                # the donor shares the target here: what is lost is what the stranger's context takes away
                after, placebo, p_after, p_placebo = placebo, after, p_placebo, p_after
            records.append(
                _record(
                    scene_of(pair.recipient), pair.target, pair.segment, pair.test, SWAP if pair.large else TRANSPLANT,
                    scene_of(pair.donor), scene_of(other), (before, after, placebo), (p_before, p_after, p_placebo),
                )
            )  # fmt: skip
        yield records


def _record(
    scene: Scene,
    target: int,
    segment: str,
    test: str,
    fill: str,
    donor: Scene | None,
    other: Scene | None,
    margin: tuple[float, float, float],
    probability: tuple[float, float, float],
) -> dict[str, Any]:
    sign = 1.0 if test == "sufficiency" else -1.0
    return {
        "image": scene.id,
        "group": scene.group,
        "target": target,
        "segment": segment,
        "test": test,
        "fill": fill,
        "donor": donor.id if donor else "",
        "donor_group": donor.group if donor else "",
        "other": other.id if other else "",
        "other_group": other.group if other else "",
        "effect": sign * (margin[1] - margin[2]),
        "effect_probability": sign * (probability[1] - probability[2]),
        "before": margin[0],
        "after": margin[1],
        "placebo": margin[2],
        "before_probability": probability[0],
        "after_probability": probability[1],
        "placebo_probability": probability[2],
    }
