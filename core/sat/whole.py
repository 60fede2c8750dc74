"""What no segment holds, tested: properties of the whole picture, its orientation, and the absence of segments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from core.sat.evidence import Evidence, combined_p, gather
from core.sat.interventions import LARGE
from core.sat.pairs import ABSENCE, Pair, in_order, some_from, strangers_to, swap_pairs
from core.sat.properties import MIRROR, PROPERTIES
from core.sat.sentences import bounds, in_clause, whole_sentence
from core.sat.statistics import LEAST_UNITS, benjamini_hochberg
from core.sat.verdicts import LEAST_PICTURES, SIDES, VERDICTS, lacking, verdict_of, without_nan

SAME = 0.01  # relative spread of the proportions, below which all pictures have the same
SELDOM = 0.5  # part of a class's pictures that show a segment, above which its absence is no property of the class
DONE = {"removal": "replacing it", "pasting": "giving it"}


def shown(pictures: pd.DataFrame) -> list[dict[str, Any]]:
    """Of a report's pictures, what pairs are chosen by."""
    return [
        {
            "id": line["image"],
            "target": int(line["target"]),
            "prediction": line["prediction"],
            "label_index": None if pd.isna(line["label_index"]) else int(line["label_index"]),
            "coverage": json.loads(line["coverage"]),
            "properties": json.loads(line["properties"]),
        }
        for line in pictures.to_dict("records")
    ]


def differing_properties(pictures: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """(names of the properties in which pictures differ, and why others are not tested, a clause each).

    Args:
        pictures: with "properties", as of `core.sat.properties.measures`.
    """
    names, why = [], []
    for name in PROPERTIES:
        known = [p["properties"][name] for p in pictures if name in p["properties"]]
        if len(known) < 2 * LEAST_PICTURES:
            few = "too few pictures" if len(pictures) < 2 * LEAST_PICTURES else "too few pictures have an object marked"
            why.append(f"the {name} ({few})")
        elif name == "proportions" and np.ptp(np.log([value[0] for value in known])) < SAME:
            why.append("the proportions (all pictures have the same)")
        else:
            names.append(name)
    return [*names, MIRROR], why


def untested(pictures: Sequence[dict[str, Any]], pairs: Sequence[Pair]) -> list[str]:
    """What a report with these pairs cannot see, a clause each."""
    names, why = differing_properties(pictures)
    tried = {pair.segment for pair in pairs if pair.how == "property"}
    alone = [f"the {name} (no two classes of {LEAST_PICTURES} pictures have it)" for name in names if name not in tried]
    return [*why, *alone, "anything no segment covers"]


def choose_whole_pairs(
    pictures: Sequence[dict[str, Any]], targets: Sequence[int], most: int, seed: int, names: Sequence[str]
) -> list[Pair]:
    """Who gives what to whom; arguments as of `core.sat.pairs.choose_pairs`, pictures with "properties" beside."""
    ranked, shows = in_order(pictures, targets, seed)
    properties, _ = differing_properties(pictures)
    pairs = []
    for number, target in enumerate(targets):
        if len(shows[target]) < LEAST_PICTURES:
            continue
        for place, name in enumerate(properties):
            having = [p for p in ranked if name == MIRROR or name in p["properties"]]
            own = [p for p in shows[target] if name == MIRROR or name in p["properties"]]
            strangers = strangers_to(having, target, (number * len(PROPERTIES) + place) * most, most)
            pairs += swap_pairs(target, name, own, strangers, most, "property")
        for name in names:
            pairs += _absence_pairs(ranked, shows[target], target, name, most)
    return pairs


def _absence_pairs(ranked: list[dict], shows: list[dict], target: int, name: str, most: int) -> list[Pair]:
    """A segment that few of the target's pictures show is pasted into those that do not."""
    bare = [p for p in shows if name not in p["coverage"]]
    donors = [p for p in strangers_to(ranked, target, 0, len(ranked)) if p["coverage"].get(name, 1.0) <= LARGE]
    if len(donors) < LEAST_UNITS or len(bare) < max(LEAST_PICTURES, (1 - SELDOM) * len(shows)):
        return []
    lenders = [p for p in strangers_to(ranked, target, 0, len(ranked)) if name not in p["coverage"]]
    pairs = []
    for i, recipient in enumerate(bare[:most]):
        # to itself, whoever it is, a placebo would change nothing
        others = some_from(bare, i + 1, recipient["id"])
        donor = donors[i % len(donors)]["id"]
        strangers = some_from(lenders, i, recipient["id"])
        pairs.append(Pair("necessity", target, name, recipient["id"], donor, others, strangers, "absence"))
    return pairs


def judge_whole(
    effects: Iterable[tuple[int, pd.DataFrame]],
    pictures: pd.DataFrame,
    labels: Sequence[str],
    delta: float,
    planned: Mapping[tuple[int, str, str], int],
) -> list[dict[str, Any]]:
    """One entry a (target, property), strongest first, for JSON.

    Args:
        effects: (target, records of `core.sat.effects` of these pairs), one target at a time.
        pictures: a report's lines. planned: pairs by (target, property or absence, test).
    """
    tests: dict[tuple[int, str], Evidence] = {}
    for target, records in effects:
        for name, part in records.groupby("segment"):
            key = (target, str(name))
            pairs = {test: n for test in ("necessity", "sufficiency") if (n := planned.get((*key, test)))}
            tests[key] = gather(part, 1.0, delta, len(part), pairs)
    p = {(key, side): combined_p(test, side) for key, test in tests.items() for side in SIDES}
    q = dict(zip(p, benjamini_hochberg(list(p.values()))))
    relation = _Relation(pictures)
    entries = []
    for key, test in tests.items():
        target, name = key
        above, below = (q[key, side] for side in SIDES)
        lacks = [replace(lack, test=DONE.get(lack.test, lack.test)) for lack in lacking(test, delta)]
        if name.startswith(ABSENCE):  # which cannot be given to a picture
            lacks = [lack for lack in lacks if lack.kind != "untested"]
        verdict = verdict_of(
            groups=LEAST_PICTURES, above=above, below=below, tests=test, flagged=False, lacks=lacks, delta=delta
        )
        against = verdict == "speaks against"
        sizes = {"necessity": test.weakest, "sufficiency": test.sufficiency}
        entry = {
            "target": labels[target],
            "property": name,
            "verdict": verdict,
            **{what: bounds(effect) if effect else None for what, effect in sizes.items()},
            "changed": {what: [effect.changed, effect.placed] for what, effect in sizes.items() if effect},
            "p": p[key, "below" if against else "above"],
            "q": below if against else above,
            "relation": relation.of(target, name),
            "lacking": [in_clause(lack) for lack in lacks] if verdict in ("suspected", "inconclusive") else [],
        }
        entries.append(without_nan({**entry, "sentence": whole_sentence(entry, test, delta)}))
    place = {verdict: i for i, verdict in enumerate(VERDICTS)}
    return sorted(entries, key=lambda e: (place[e["verdict"]], -_strength(e)))


def _strength(entry: dict[str, Any]) -> float:
    return max(abs(value[0]) for value in (entry["necessity"], entry["sufficiency"]) if value)


class _Relation:
    """How a property goes with the classes of the data: labels, or predictions where there are none."""

    def __init__(self, pictures: pd.DataFrame) -> None:
        self.classes = pictures["label_index"].fillna(pictures["prediction"]).to_numpy(int)
        self.properties = [json.loads(text) for text in pictures["properties"]]
        self.coverage = [json.loads(text) for text in pictures["coverage"]]

    def of(self, target: int, name: str) -> dict[str, float] | None:
        """ "auc": how well the property tells the class from all others, 0.5 to 1; or of an absence "here" and
        "elsewhere": part of the class's and of the other pictures that show the segment."""
        own = self.classes == target
        if not own.any() or own.all():
            return None
        if name.startswith(ABSENCE):
            shown = np.array([name.removeprefix(ABSENCE) in coverage for coverage in self.coverage])
            return {"here": float(shown[own].mean()), "elsewhere": float(shown[~own].mean())}
        if name == MIRROR:
            return None
        known = np.array([name in found for found in self.properties])
        values = np.array([found[name] for found in self.properties if name in found])
        first, rest = values[own[known]], values[~own[known]]
        if not len(first) or not len(rest):
            return None
        return {"auc": max(_auc(a, b) for a, b in zip(first.T, rest.T))}


def _auc(first: np.ndarray, rest: np.ndarray) -> float:
    """How often a value of the first lies beyond one of the rest, whichever way that is more often."""
    from scipy import stats

    ranks = stats.rankdata(np.concatenate([first, rest]))
    above = (ranks[: len(first)].sum() - len(first) * (len(first) + 1) / 2) / (len(first) * len(rest))
    return float(max(above, 1 - above))
