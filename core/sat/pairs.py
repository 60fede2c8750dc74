"""Who lends what to whom: which segments are pasted (or swapped) from which pictures onto which, and how that looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor, maximum, roll

from core.runtime.randomness import derived_seed
from core.sat.batch import Scene
from core.sat.interventions import LARGE, context_swapped, overlaps, placement, shifts_to, transplanted
from core.sat.properties import MIRROR, PROPERTIES
from core.sat.statistics import LEAST_UNITS

# Of how pairs are chosen: raised when the same pictures give others, so that no report goes on with a mixture.
REVISION = 4
PLACEBOS = 2  # a pair
CANDIDATES = 8  # placebo donors of each kind that may be tried for them
A_DONOR = 6  # recipients of each donor, where there are too few donors to confirm anything
LEAST_BARE = 20  # recipients without the segment, below which those that have it serve too
TOUCHING = 0.1  # part of a placebo's region that may show other named segments


ABSENCE = "absence of "
How = Literal["transplant", "swap", "property", "absence"]
ChoosePairs = Callable[[Sequence[dict[str, Any]], Sequence[int], int, int, Sequence[str]], "list[Pair]"]


@dataclass(frozen=True)
class Pair:
    """One transplant or swap to try: ids of the pictures that take part.

    Attributes:
        how: a "transplant" of the segment; a "swap" of one too large for that; a "property" (its name is in `segment`),
            given to the recipient; or the "absence" of the segment undone, in a picture of the target.
    """

    test: str  # "necessity" or "sufficiency"
    target: int
    segment: str
    recipient: str
    donor: str  # has the segment, shows the target
    others: tuple[str, ...]  # show the target and may lend a placebo, being without the segment
    strangers: tuple[str, ...]  # of other classes, and may: without the segment (transplant), or with it (swap)
    how: How = "transplant"

    @property
    def label(self) -> str:
        """What the records are of."""
        return f"{ABSENCE}{self.segment}" if self.how == "absence" else self.segment

    @property
    def images(self) -> tuple[str, ...]:
        """All that may take part."""
        return (self.recipient, self.donor, *self.others, *self.strangers)


class Versions(NamedTuple):
    """A recipient as it is, with the segment, and with placebos and who lent them."""

    before: Tensor
    changed: Tensor
    placebos: list[tuple[str, Tensor]]


def pair_versions(pair: Pair, scene_of: Callable[[str], Scene], seed: int) -> Versions | None:
    """Make the pictures of a pair; None where there is no place for the paste or nobody to lend a placebo."""
    recipient, donor = scene_of(pair.recipient), scene_of(pair.donor)
    name = pair.segment
    if pair.how == "property":
        return _given(pair, recipient, donor, scene_of(pair.strangers[0]))
    if pair.how == "swap":
        other = scene_of(pair.strangers[0])
        if not all(name in scene.masks for scene in (recipient, donor, other)):
            return None
        own = recipient.masks[name]
        swapped = [context_swapped(recipient.image, own, d.image, d.masks[name]) for d in (donor, other)]
        return Versions(recipient.image, swapped[0], [(other.id, swapped[1])])
    mask = donor.masks[name]
    random = np.random.default_rng(derived_seed(seed, pair.recipient, pair.donor, name, "place"))
    shift = placement(mask, recipient.objects(), random)
    pasted = transplanted(recipient.image, donor.image, mask, shift)
    # one of each where there are both: a placebo of the target's own pictures brings some of the target along
    fit = ((c for c in some if _shows_nothing(scene_of(c), name, mask)) for some in (pair.others, pair.strangers))
    lenders = (one for several in zip_longest(*fit) for one in several if one is not None)
    found = [(one, scene_of(one).image) for one in islice(lenders, PLACEBOS)]
    if not found:
        found = [(donor.id, roll(donor.image, move, (1, 2))) for move in _elsewhere(donor, name, random)]
    if not found:
        return None
    placebos = [(one, transplanted(recipient.image, image, mask, shift)) for one, image in found]
    return Versions(recipient.image, pasted, placebos)


def _given(pair: Pair, recipient: Scene, donor: Scene, other: Scene) -> Versions | None:
    if pair.segment == MIRROR:
        turned = recipient.image.flip(2)
        own, placebo = (recipient.image, turned) if pair.test == "necessity" else (turned, recipient.image)
        return Versions(recipient.image, own, [(other.id, placebo)])
    give = PROPERTIES[pair.segment].give
    given, placebo = (give(recipient, lender) for lender in (donor, other))
    if (given if pair.test == "sufficiency" else placebo) is None:  # nothing is learned without that one
        return None
    given, placebo = (recipient.image if image is None else image for image in (given, placebo))
    return Versions(recipient.image, given, [(other.id, placebo)])


def _shows_nothing(scene: Scene, name: str, mask: Tensor) -> bool:
    """A placebo that shows another mark there would hide the effect of this one."""
    return float((mask * scene.neighbours(name, float(mask.mean()))).sum()) <= TOUCHING * float(mask.sum())


def _elsewhere(donor: Scene, name: str, random: np.random.Generator) -> list[tuple[int, int]]:
    """Where nobody can lend a placebo, the shape is filled with pixels from elsewhere in the donor: by which shifts."""
    mask = donor.masks[name]
    cost = overlaps(mask, maximum(mask, donor.neighbours(name)))
    found = shifts_to(np.where(cost <= TOUCHING, cost, np.inf), random, PLACEBOS)
    return [(-down, -right) for down, right in found]


def choose_pairs(
    pictures: Sequence[dict[str, Any]], targets: Sequence[int], most: int, seed: int, names: Sequence[str]
) -> list[Pair]:
    """Who lends what to whom, decided by (seed, ids) alone.

    Args:
        pictures: one dict a picture: id, prediction, label_index (or None), coverage: {segment: part of the frame}.
        targets: class indices to test.
        most: recipients a (target, segment) at most; fewer where there are few donors, whose number is what counts.

    A recipient neither shows nor is taken for the target. Donors, and those who lend placebos, are used evenly, so that
    their numbers, which are what counts as independent, are as large as they can be.
    """
    ranked, shows = in_order(pictures, targets, seed)
    having = {name: [p for p in ranked if name in p["coverage"]] for name in names}
    bare = {name: [p for p in ranked if name not in p["coverage"]] for name in names}
    pairs = []
    for target in targets:
        for name in names:
            donors = [p for p in shows[target] if name in p["coverage"]]
            if not donors:
                continue
            start = derived_seed(seed, target, name, "start")
            asked = most if len(donors) >= LEAST_UNITS else min(most, A_DONOR * len(donors))
            if float(np.median([p["coverage"][name] for p in donors])) > LARGE:
                strangers = strangers_to(having[name], target, start, asked)
                pairs += swap_pairs(target, name, donors, strangers, asked, "swap")
                continue
            # a recipient that has the segment already would show less of a rise than there is
            without = strangers_to(bare[name], target, start, asked)
            recipients = without if len(without) >= LEAST_BARE else strangers_to(ranked, target, start, asked)
            own = [p for p in shows[target] if name not in p["coverage"]]
            strangers = strangers_to(bare[name], target, start + len(without), asked)
            for i, recipient in enumerate(recipients):
                others, apart = (some_from(some, i, recipient["id"]) for some in (own, strangers))
                donor = donors[i % len(donors)]["id"]
                pairs.append(Pair("sufficiency", target, name, recipient["id"], donor, others, apart))
    return pairs


def in_order(
    pictures: Sequence[dict[str, Any]], targets: Sequence[int], seed: int
) -> tuple[list[dict], dict[int, list[dict]]]:
    """(all pictures, those of each target that are rightly taken for it), in an order of the seed's."""
    # put in order once: every (target, segment) begins at a place of its own in it, and takes what it needs
    ranked = sorted(pictures, key=lambda p: (derived_seed(seed, p["id"], "pairs"), p["id"]))
    shows: dict[int, list[dict]] = {target: [] for target in targets}
    for p in ranked:
        if p["prediction"] in shows and p["label_index"] in (None, p["prediction"]):
            shows[p["prediction"]].append(p)
    return ranked, shows


def strangers_to(pictures: list[dict], target: int, start: int, most: int) -> list[dict]:
    """Of those that neither show nor are taken for the target so many, from a place of the list on, round its end."""
    found = []
    for step in range(len(pictures)):
        p = pictures[(start + step) % len(pictures)]
        if p["prediction"] != target and p["label_index"] != target:
            found.append(p)
            if len(found) == most:
                break
    return found


def swap_pairs(target: int, name: str, donors: list[dict], strangers: list[dict], most: int, how: How) -> list[Pair]:
    """Both ways: what the target's pictures have is given to strangers, and what strangers have to the target's."""
    if len(strangers) < 2 or len(donors) < 2:
        return []
    pairs = []
    for i, recipient in enumerate(strangers):
        donor = donors[i % len(donors)]
        # the placebo's context comes from a third class where there is one
        third = [p for p in strangers if p["prediction"] != recipient["prediction"]] or strangers
        lenders = some_from(third, i, recipient["id"])[:1]
        if lenders:
            pairs.append(Pair("sufficiency", target, name, recipient["id"], donor["id"], (), lenders, how))
    for i, recipient in enumerate(donors[:most]):
        donor, other = donors[(i + 1) % len(donors)], strangers[i % len(strangers)]
        pairs.append(Pair("necessity", target, name, recipient["id"], donor["id"], (), (other["id"],), how))
    return pairs


def some_from(pictures: list[dict], start: int, but: str) -> tuple[str, ...]:
    """The ids of the next few pictures, beginning at another one for every pair."""
    count = len(pictures)
    turned = (pictures[(start + k) % count]["id"] for k in range(min(count, CANDIDATES + 1)))
    return tuple(name for name in turned if name != but)[:CANDIDATES]
