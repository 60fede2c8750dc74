"""Segments that stand in for each other: either is enough, so that neither shows anything when it goes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.sat.effects import CONTEXT, OBJECT
from core.sat.evidence import STAYS, Evidence, Together
from core.sat.sentences import bounds, redundancy_sentence
from core.sat.statistics import LEAST_UNITS

ALONE = 0.25  # of a segment's effect where the other is gone, that it may have while the other stands in for it
Pair = tuple[int, str]  # target, segment


About = Mapping[Pair, dict[str, Any]]


@dataclass(frozen=True)
class StandIn:
    """What shows its effect only where something else is gone."""

    pair: Pair
    test: Evidence
    together: Together

    @property
    def key(self) -> tuple:
        """Of the hypothesis, equal for two segments from either side."""
        return (self.pair[0], *sorted((self.pair[1], self.together.beside)))


def stand_ins(tests: Mapping[Pair, Evidence], about: About, delta: float) -> dict[tuple, StandIn]:
    """By key; of two segments, the side that says less."""
    best: dict[tuple, StandIn] = {}
    for pair, test in tests.items():
        if about[pair]["kind"] == "object":
            continue
        alone = test.necessity[0].margin.estimate if test.necessity else math.nan
        for one in test.together:
            known = one.beside in (OBJECT, CONTEXT) or (pair[0], one.beside) in about
            enough = one.excess.count >= LEAST_UNITS and one.stays >= STAYS and not math.isnan(one.p)
            found = StandIn(pair, test, one)
            hidden = alone <= max(delta, ALONE * one.effect.margin.estimate)
            if known and enough and hidden and (found.key not in best or one.p > best[found.key].together.p):
                best[found.key] = found
    return best


def redundancies(found: Mapping[tuple, StandIn], q: Mapping, about: About, labels: Sequence[str]) -> list[dict]:
    """For JSON, strongest first: groups of which any one is enough. Where all of the other context must be gone, those
    that show it are one group.

    Args:
        found: that are significant, with their q.
    """
    paired = {(one.pair[0], name) for one in found.values() if one.together.beside != CONTEXT for name in one.key[1:]}
    groups: dict[Any, list[StandIn]] = {}
    for key, one in found.items():
        if one.together.beside != CONTEXT:
            groups[key] = [one]
        elif one.pair not in paired:
            groups.setdefault((one.pair[0], CONTEXT), []).append(one)
    entries = [_entry(several, max(q[one.key] for one in several), about, labels) for several in groups.values()]
    return sorted(entries, key=lambda e: -e["effect"][0])


def _entry(several: Sequence[StandIn], q: float, about: About, labels: Sequence[str]) -> dict[str, Any]:
    least = min(several, key=lambda one: one.together.effect.margin.estimate)
    target, effect = least.pair[0], least.together.effect
    members = [least.pair[1], *(one.pair[1] for one in several if one is not least)]
    if len(members) == 1:
        members.append(least.together.beside)
    kinds = {OBJECT: "object", CONTEXT: "context"}
    entry = {
        "target": labels[target],
        "members": members,
        "kinds": [kinds.get(name) or about[target, name]["kind"] for name in members],
        "effect": bounds(effect),
        "alone": bounds(least.test.necessity[0]),
        "fill": effect.fill,
        "pictures": effect.placed,
        "stays": round(least.together.stays * effect.placed),
        "changed": effect.changed,
        "q": q,
    }
    return {**entry, "sentence": redundancy_sentence(entry)}


def is_redundant_shortcut(entry: dict[str, Any]) -> bool:
    """Of `Judged.redundant`: context that is enough, although it can be missed."""
    return "context" in entry["kinds"]
