"""What no segment holds, tested: properties of the whole picture, its orientation, and the absence of segments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from core.sat.evidence import Evidence, gather
from core.sat.interventions import LARGE
from core.sat.judging import judged, strongest_first
from core.sat.pairs import ABSENCE, Pair, in_order, some_from, strangers_to, swap_pairs
from core.sat.properties import MIRROR, PROPERTIES
from core.sat.sentences import Lack, bounds, whole_sentence
from core.sat.statistics import LEAST_UNITS
from core.sat.verdicts import LEAST_PICTURES, lacking

MAY_BE_SAME = ("proportions", "compression")
SAME = 0.01  # relative spread of these, below which all pictures have the same
SELDOM = 0.5  # part of a class's pictures that show a segment, above which its absence is no property of the class
UNTESTED = (
    "a colour cast over the whole picture, its brightness or sharpness",
    "where in the picture something stands, and how large",
    "the proportions, orientation, compression or border of the picture",
    "the absence of something",
    "anything no segment covers",
)  # where nothing is tested
UNSEEN = "what no segment covers and the first explainer's maps do not show"
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
            few = "too few pictures" if len(pictures) < 2 * LEAST_PICTURES else PROPERTIES[name].few
            why.append(f"the {name} ({few})")
        elif name in MAY_BE_SAME and np.ptp(np.log([value[0] for value in known])) < SAME:
            why.append(f"the {name} (all pictures have the same)")
        else:
            names.append(name)
    return [*names, MIRROR], why


def blind_spots(pictures: Sequence[dict[str, Any]], pairs: Sequence[Pair], tested: bool, whole_only: bool) -> list[str]:
    """What a report with these pairs cannot see, a clause each.

    Args:
        tested: whether anything is. whole_only: there are no segments, and so no maps.
    """
    if not tested:
        return list(UNTESTED)
    names, why = differing_properties(pictures)
    tried = {pair.segment for pair in pairs if pair.how == "property"}
    alone = [f"the {name} (no two classes of {LEAST_PICTURES} pictures have it)" for name in names if name not in tried]
    return [*why, *alone, UNTESTED[-1] if whole_only else UNSEEN]


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

    def lacks_of(key: tuple[int, str], test: Evidence) -> list[Lack]:
        lacks = [replace(lack, test=DONE.get(lack.test, lack.test)) for lack in lacking(test, delta)]
        if key[1].startswith(ABSENCE):  # which cannot be given to a picture
            lacks = [lack for lack in lacks if lack.kind != "untested"]
        return lacks

    verdicts = judged(tests, dict.fromkeys(tests, LEAST_PICTURES), delta, lacks_of)
    relation = _Relation(pictures)
    entries = []
    for (target, name), test in tests.items():
        sizes = {"necessity": test.weakest, "sufficiency": test.sufficiency}
        entry = {
            "target": labels[target],
            "property": name,
            **verdicts[target, name],
            **{what: bounds(effect) if effect else None for what, effect in sizes.items()},
            "changed": {what: [effect.changed, effect.placed] for what, effect in sizes.items() if effect},
            "relation": relation.of(target, name),
        }
        entries.append({**entry, "sentence": whole_sentence(entry, test, delta)})
    return strongest_first(entries, lambda e: (e["necessity"], e["sufficiency"]))


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
