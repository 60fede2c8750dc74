"""What the margin does when a segment goes, comes, or changes place: one record a picture (or pair) and test.

    necessity    = margin with a placebo removed - margin with the segment removed      (same picture, same fill)
    sufficiency  = margin after pasting the segment - margin after pasting the same region without it

A record: image, group, target, segment, test, fill, donor, donor_group, effect, effect_probability, before, after,
placebo, and the same three as *_probability. `fill` is "transplant" or "context swap" where nothing is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, roll, zeros_like

from core.classifier import Classifier
from core.runtime.randomness import derived_seed
from core.sat.batch import Scene
from core.sat.interventions import (
    LARGE,
    context_swapped,
    dilate,
    margins,
    placebo_mask,
    placement,
    removed,
    transplanted,
)

PLACEBOS = 2


def removal_versions(scene: Scene, name: str, fill: str, seed: int) -> tuple[Tensor, list[Tensor]] | None:
    """The picture without the segment, and the same picture without a placebo or two; None where none fits."""
    mask = dilate(scene.masks[name])
    random = np.random.default_rng(derived_seed(seed, scene.id, name, "placebo"))
    # a context segment's placebo stays off the object, or it would hurt more than the segment itself
    avoid = scene.object_mask(name) if scene.kinds[name] == "context" else zeros_like(mask)
    masks = [placebo_mask(mask, avoid, random) for _ in range(PLACEBOS)]
    placebos = [removed(scene.image, found, fill) for found in masks if found is not None]
    return (removed(scene.image, mask, fill), placebos) if placebos else None


def necessity_records(
    scene: Scene, target: int, classifier: Classifier, fills: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Remove every segment of at most a quarter of the picture, under every fill."""
    images, plan = [scene.image], []
    for name in scene.masks:
        if scene.coverage(name) > LARGE:
            continue
        for fill in fills:
            versions = removal_versions(scene, name, fill, seed)
            if versions is not None:
                plan.append((name, fill, len(images), len(versions[1])))
                images += [versions[0], *versions[1]]
    margin, probability = margins(classifier, images, [target] * len(images))
    records = []
    for name, fill, at, count in plan:
        placebo = slice(at + 1, at + 1 + count)
        records.append(
            _record(
                scene, target, name, "necessity", fill, None,
                (margin[0], margin[at], float(np.mean(margin[placebo]))),
                (probability[0], probability[at], float(np.mean(probability[placebo]))),
            )
        )  # fmt: skip
    return records


@dataclass(frozen=True)
class Pair:
    """One transplant or swap to try: ids of the pictures that take part."""

    test: str  # "necessity" or "sufficiency"
    target: int
    segment: str
    recipient: str
    donor: str  # has the segment, shows the target
    other: str  # the placebo's donor: without the segment (transplant), or not showing the target (swap)
    large: bool


def pair_versions(pair: Pair, scene_of: Callable[[str], Scene], seed: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """(recipient as it is, with the segment, with the placebo); None where there is no place for it."""
    recipient, donor, other = scene_of(pair.recipient), scene_of(pair.donor), scene_of(pair.other)
    name = pair.segment
    if pair.large:
        if not all(name in scene.masks for scene in (recipient, donor, other)):
            return None
        own = recipient.masks[name]
        swapped = [context_swapped(recipient.image, own, d.image, d.masks[name]) for d in (donor, other)]
        return recipient.image, swapped[0], swapped[1]
    mask = donor.masks[name]
    random = np.random.default_rng(derived_seed(seed, pair.recipient, pair.donor, name, "place"))
    shift = placement(mask, recipient.object_mask(), random)
    if shift is None:
        return None
    pasted = transplanted(recipient.image, donor.image, mask, shift)
    if pair.other == pair.donor:
        return recipient.image, pasted, _from_elsewhere(recipient.image, donor.image, mask, shift, random)
    return recipient.image, pasted, transplanted(recipient.image, other.image, mask, shift)


def _from_elsewhere(
    recipient: Tensor, donor: Tensor, mask: Tensor, shift: tuple[int, int], random: np.random.Generator
) -> Tensor:
    """Where nobody lacks the segment: paste its shape with pixels from elsewhere in the donor."""
    moves = [tuple(int(random.integers(side)) for side in mask.shape) for _ in range(32)]
    best = min(moves, key=lambda move: float((roll(mask, move, (0, 1)) * mask).sum()))
    return transplanted(recipient, roll(donor, best, (1, 2)), mask, shift)


def pair_records(
    pairs: Sequence[Pair], scene_of: Callable[[str], Scene], classifier: Classifier, seed: int, batch: int = 32
) -> Iterator[list[dict[str, Any]]]:
    """Records of a list of pairs, a batch at a time; pairs without a place for the paste give none."""
    for start in range(0, len(pairs), batch):
        images: list[Tensor] = []
        done: list[Pair] = []
        for pair in pairs[start : start + batch]:
            versions = pair_versions(pair, scene_of, seed)
            if versions is not None:
                images += versions
                done.append(pair)
        margin, probability = margins(classifier, images, [pair.target for pair in done for _ in range(3)])
        records = []
        for i, pair in enumerate(done):
            before, after, placebo = margin[3 * i : 3 * i + 3]
            p_before, p_after, p_placebo = probability[3 * i : 3 * i + 3]
            if pair.test == "necessity":
                # the donor shares the target here: what is lost is what the stranger's context takes away
                after, placebo, p_after, p_placebo = placebo, after, p_placebo, p_after
            fill = "context swap" if pair.large else "transplant"
            records.append(
                _record(
                    scene_of(pair.recipient), pair.target, pair.segment, pair.test, fill, scene_of(pair.donor),
                    (before, after, placebo), (p_before, p_after, p_placebo),
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
    margin: tuple[float, float, float],
    probability: tuple[float, float, float],
) -> dict[str, Any]:
    sign = -1.0 if test == "necessity" else 1.0
    return {
        "image": scene.id,
        "group": scene.group,
        "target": target,
        "segment": segment,
        "test": test,
        "fill": fill,
        "donor": donor.id if donor else "",
        "donor_group": donor.group if donor else "",
        "effect": sign * (margin[1] - margin[2]),
        "effect_probability": sign * (probability[1] - probability[2]),
        "before": margin[0],
        "after": margin[1],
        "placebo": margin[2],
        "before_probability": probability[0],
        "after_probability": probability[1],
        "placebo_probability": probability[2],
    }


def choose_pairs(
    pictures: Sequence[dict[str, Any]], targets: Sequence[int], most: int, seed: int, names: Sequence[str]
) -> list[Pair]:
    """Who lends what to whom, decided by (seed, ids) alone.

    Args:
        pictures: one dict a picture: id, prediction, label_index (or None), coverage: {segment: part of the frame}.
        targets: class indices to test.
        most: recipients a (target, segment) at most.

    A recipient neither shows nor is taken for the target. Donors are used evenly, so that their number, which is
    what counts as independent, is as large as it can be.
    """
    pairs = []
    for target in targets:
        shows = [p for p in pictures if p["prediction"] == target and p["label_index"] in (None, target)]
        others = [p for p in pictures if p["prediction"] != target and p["label_index"] != target]
        for name in names:
            donors = _shuffled([p for p in shows if name in p["coverage"]], seed, target, name, "donor")
            if not donors or not others:
                continue
            large = float(np.median([p["coverage"][name] for p in donors])) > LARGE
            if large:
                pairs += _swap_pairs(target, name, shows, donors, others, most, seed)
            else:
                pairs += _transplant_pairs(target, name, shows, donors, others, most, seed)
    return pairs


def _transplant_pairs(
    target: int, name: str, shows: list[dict], donors: list[dict], others: list[dict], most: int, seed: int
) -> list[Pair]:
    # a recipient that has the segment already would show less of a rise than there is
    bare = [p for p in others if name not in p["coverage"]]
    recipients = _shuffled(bare if len(bare) >= 20 else others, seed, target, name, "recipient")[:most]
    without = [p for p in shows if name not in p["coverage"]]
    without = _shuffled(without or [p for p in others if name not in p["coverage"]], seed, target, name, "without")
    pairs = []
    for i, recipient in enumerate(recipients):
        donor = donors[i % len(donors)]
        spare = [p for p in without[i % max(1, len(without)) :] + without if p["id"] != recipient["id"]][:1]
        other = spare[0]["id"] if spare else donor["id"]
        pairs.append(Pair("sufficiency", target, name, recipient["id"], donor["id"], other, False))
    return pairs


def _swap_pairs(
    target: int, name: str, shows: list[dict], donors: list[dict], others: list[dict], most: int, seed: int
) -> list[Pair]:
    strangers = _shuffled([p for p in others if name in p["coverage"]], seed, target, name, "stranger")
    if len(strangers) < 2 or len(donors) < 2:
        return []
    pairs = []
    for i, recipient in enumerate(strangers[:most]):
        donor = donors[i % len(donors)]
        # the placebo's context comes from a third class where there is one
        third = [p for p in strangers if p["prediction"] != recipient["prediction"]] or strangers
        other = next((p for p in third[i % len(third) :] + third if p["id"] != recipient["id"]), None)
        if other is not None:
            pairs.append(Pair("sufficiency", target, name, recipient["id"], donor["id"], other["id"], True))
    for i, recipient in enumerate(donors[:most]):
        donor, other = donors[(i + 1) % len(donors)], strangers[i % len(strangers)]
        pairs.append(Pair("necessity", target, name, recipient["id"], donor["id"], other["id"], True))
    return pairs


def _shuffled(pictures: list[dict], seed: int, *salt: object) -> list[dict]:
    return sorted(pictures, key=lambda p: derived_seed(seed, p["id"], *salt))
