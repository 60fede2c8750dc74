"""Findings in English: what a person would say, with its numbers. Decisions are made in `core.sat.verdicts`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from core.sat.effects import SWAP, TRANSPLANT
from core.sat.evidence import STRONG, Effect, Evidence
from core.sat.pairs import ABSENCE
from core.sat.properties import MIRROR
from core.sat.statistics import Interval

_ODDS = "the log-odds"
_DONE = {MIRROR: ("turning other pictures round", "turning its own round")}


@dataclass(frozen=True)
class Lack:
    """What stands between a test and "cleared".

    Attributes:
        kind: "untested"; "few" (`count` units where LEAST_PICTURES are needed); "unplaced" (`count` of `needed` cases
            were possible); "open" (an effect of `size` cannot be excluded, or with `count` units would go unseen;
            `needed` would do, 0: none would); "adverse" (an estimate of `size` below -delta); "single" (one unit alone
            shows no spread); "flips" (the answer changes in `count` of `needed` cases); "rare" (`count` of `needed`
            units carry an effect above `size`, and so many, `units`, may; `enough` would tell, 0: none would);
            "together" (an effect of `size` where `units` is gone, in `count` pictures); "unnamed" (it was not pasted,
            having no name).
        test: "removal", "pasting" or, where it may be any, "". units: what is counted.
    """

    kind: str
    test: str = ""
    count: int = 0
    needed: int = 0
    units: str = ""
    size: float = 0.0
    enough: int = 0


def sentence(entry: dict[str, Any], tests: Evidence, delta: float, flagging: Sequence[str], explainers: int) -> str:
    """The finding in a sentence or two; every fill is quoted.

    Args:
        entry: the finding, with its verdict and what it lacks.
        flagging: the explainers, of so many, whose maps lie above the controls.
    """
    target, segment, verdict = entry["target"], entry["segment"], entry["verdict"]
    unset = " (nobody has said whether it is part of the object)" if entry["kind"] == "unset" else ""
    if verdict == "too few":
        return _too_few(entry)
    evidence = _evidence(entry, tests)
    told = f": {evidence}." if evidence else "."
    if tests.fills_disagree(delta):
        told += " The fills disagree."
    subject = f"{_upper(segment)}{unset}"
    if verdict == "confirmed":
        return f"The model relies on {segment}{unset} for {target}{told}{_answers(entry, tests)}"
    if verdict == "speaks against":
        return f"{subject} speaks against {target}{told}{_answers(entry, tests)}"
    if verdict == "cleared":
        together = ", alone and with the other context gone" if tests.joint else ""
        most = max(tests.all, key=lambda e: e.rare)
        carried = "{} of {}".format(most.strong[0] or "none", most.strong[1])
        return (
            f"No reliance on {segment} for {target}: every effect lies below {delta:.2g} in log-odds{together}, and "
            f"{carried} pictures carry one above {STRONG * delta:.2g} (at most {math.ceil(100 * most.rare)} % do). "
            f"{_upper(evidence)}."
        )
    if verdict == "suspected":
        return f"{subject} {_suspicion(target, tests, delta, flagging, explainers)}{told}"
    lacking = entry["lacking"]
    why = f" {_upper('; '.join(lacking))}." if lacking else ""
    return f"Nothing can be said yet about {segment} for {target}{told}{why}"


def redundancy_sentence(entry: dict[str, Any]) -> str:
    """ "Either watermark or church is enough for minster: ..."; an entry of `core.sat.redundancy`."""
    members, several = entry["members"], len(entry["members"]) > 2
    first, rest = members[0], "the others are" if several else f"{members[1]} is"
    alone, gone = (_changes([("", Interval(*entry[key], 0))], "takes", "adds", "the log-odds") for key in
                   ("alone", "effect"))  # fmt: skip
    each = f"Any of {', '.join(members[:-1])} and {members[-1]}" if several else f"Either {first} or {members[1]}"
    return (
        f"{each} is enough for {entry['target']}: where {rest} gone the answer stays in {entry['stays']} of "
        f"{entry['pictures']} pictures, and where {first} is gone too it changes in {entry['changed']}; removing "
        f"{first} {alone} by itself, and then it {gone} ({entry['fill']})."
    )


def whole_sentence(entry: dict[str, Any], tests: Evidence, delta: float) -> str:
    """The same for an entry of `core.sat.whole`."""
    target, name, verdict = entry["target"], entry["property"], entry["verdict"]
    absent = name.removeprefix(ABSENCE) if name.startswith(ABSENCE) else ""
    given, replaced = _DONE.get(name, ("given to other pictures it", "giving its pictures another class's"))
    facts = []
    if tests.sufficiency is not None and not math.isnan(tests.sufficiency.margin.low):
        facts.append(f"{given} {_changes([('', tests.sufficiency.margin)], 'adds', 'takes', _ODDS)}")
    if tests.weakest is not None and not math.isnan(tests.weakest.margin.low):
        done = "pasting one into its pictures" if absent else replaced
        facts.append(f"{done} {_changes([('', tests.weakest.margin)], 'takes', 'adds', _ODDS)}")
    evidence, relation, told = " and ".join(facts), entry["relation"] or {}, ""
    if "auc" in relation:
        told = f" In the data it tells {target} from the rest with an AUC of {relation['auc']:.2f}."
    elif relation:
        here, elsewhere = (f"{relation[where]:.0%}" for where in ("here", "elsewhere"))
        told = f" In the data {here} of its pictures show one, and {elsewhere} of the others."
    starts = {
        "confirmed": f"The model relies on the {name} of {target}",
        "speaks against": f"The {name} of {target} speaks against it",
        "cleared": f"No reliance on the {name} of {target}",
        "suspected": f"The {name} of {target} has an effect that may be chance",
    }
    if absent:
        starts["confirmed"] = f"That no {absent} is there speaks for {target}"
        starts["speaks against"] = f"{_upper(absent)} would speak for {target}"
    open_ = f"Nothing can be said yet about the {name} of {target}"
    return _outcome(entry, starts.get(verdict, open_), evidence, delta, told if verdict in starts else "")


def _outcome(entry: dict[str, Any], start: str, evidence: str, delta: float, after: str = "") -> str:
    """How sentences on anything but a class and a segment go on from their start, which tells the verdict.

    Args:
        after: what is told behind the evidence, with a space before it.
    """
    if entry["verdict"] == "cleared":
        return f"{start}: every effect lies below {delta:.2g} in log-odds. {_upper(evidence)}."
    lacking = f" {_upper('; '.join(entry['lacking']))}." if entry["lacking"] else ""
    return f"{start}{f': {evidence}' if evidence else ''}.{after}{lacking}"


def pooled_sentence(entry: dict[str, Any], tests: Evidence, delta: float) -> str:
    """The same for an entry of `core.sat.pooled`."""
    segment, verdict = entry["segment"], entry["verdict"]
    where = f"Where {entry['column']} is {entry['value']}" if entry["column"] else "Over all answers"
    if verdict == "too few":
        return f"{where}, only {entry['groups']} independent pictures show {segment}: too few to judge."
    evidence = _evidence({"target": "the answer", "segment": segment}, tests)
    classes = "1 class" if entry["answers"] == 1 else f"{entry['answers']} classes"
    basis = f" ({entry['pictures']} pictures, {classes})"
    starts = {
        "confirmed": f"the model relies on {segment}{basis}",
        "speaks against": f"{segment}{basis} speaks against the answer",
        "cleared": f"there is no reliance on {segment}{basis}",
        "suspected": f"{segment}{basis} has an effect that may be chance",
    }
    start = starts.get(verdict, f"nothing can be said yet about {segment}{basis}")
    disagree = " The fills disagree." if tests.fills_disagree(delta) else ""
    return _outcome(entry, f"{where}, {start}", evidence, delta, disagree)


def unnamed_sentence(entry: dict[str, Any], tests: Evidence, delta: float) -> str:
    """The same for an entry of `core.sat.unnamed`."""
    target, verdict = entry["target"], entry["verdict"]
    of = f"{entry['pictures']} of {entry['of']} pictures taken for {target}"
    attention = f"holds {entry['share']:.0%} of what their maps count for it"
    if verdict == "too few":
        return f"Something nobody named {attention} in {of}, {entry['groups']} of them independent: too few to judge."
    starts = {
        "confirmed": f"The model relies on something nobody named for {target}",
        "speaks against": f"Something nobody named speaks against {target}",
        "suspected": f"Something nobody named has an effect on {target} that may be chance",
    }
    start = starts.get(verdict, f"Nothing can be said yet about something nobody named, for {target}")
    disagree = " The fills disagree." if tests.fills_disagree(delta) else ""
    evidence = _evidence({"target": target, "segment": "it"}, tests)
    return _outcome(entry, start, evidence, delta, f"{disagree} It {attention} in {of}.")


def difference_sentence(entry: dict[str, Any]) -> str:
    """ "watermark for kingfisher: confirmed, then cleared; pasting it adds 16.2 [15.1, 17.4] less ..."; an entry of
    `core.sat.comparison`."""
    was, then = (verdict or "not in it" for verdict in entry["verdicts"])
    said = f"{was} as before" if was == then else f"{was}, then {then}"
    facts = []
    for test, swapped, done in (("sufficiency", "giving it adds", "pasting it adds"),
                                ("necessity", "swapping it takes", "removing it takes")):  # fmt: skip
        sizes = entry["differences"].get(test, {})
        if sizes:
            what = swapped if SWAP in sizes else done
            facts.append(f"{what} {' and '.join(_difference(*size, fill) for fill, size in sizes.items())}")
    told = f"; {', '.join(facts)}" if facts else ""
    on = "the same pictures" if entry["paired"] else "two samples"
    basis = f" (log-odds, at least {entry['pictures']} independent pictures, {on})" if facts else ""
    return f"{entry['segment']} for {entry['target']}: {said}{told}{basis}."


def _difference(size: float, low: float, high: float, fill: str) -> str:
    sign, word = (1, "more") if size >= 0 else (-1, "less")
    ends = sorted((sign * low, sign * high))
    return f"{_numbers(Interval(abs(size), *ends, 0))} {word}{'' if fill in (SWAP, TRANSPLANT) else f' ({fill})'}"


def _upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _answers(entry: dict[str, Any], tests: Evidence) -> str:
    """What a colleague understands at once: " Pasted, it turns 41 of 54 answers into owl; removed, it changes ..."."""
    target, pasted, removed = entry["target"], tests.sufficiency, tests.weakest
    told = []
    if pasted is not None and entry["verdict"] == "confirmed":
        told.append(f"{'given' if pasted.fill == SWAP else 'pasted'}, it turns {_of(pasted)} answers into {target}")
    if removed is not None:
        told.append(f"{'swapped' if removed.fill == SWAP else 'removed'}, it changes {_of(removed)} answers")
    return f" {_upper('; '.join(told))}." if told else ""


def _of(effect: Effect) -> str:
    return f"{effect.changed} of {effect.placed}"


def in_clause(lack: Lack) -> str:
    """ "pasting rests on 6 donors (20 are needed)"."""
    if lack.kind == "untested":
        return f"{lack.test} could not be tested"
    if lack.kind == "unnamed":
        return "it is pasted elsewhere once it has a name"
    if lack.kind == "few":
        units = lack.units.removesuffix("s") if lack.count == 1 else lack.units
        return f"{lack.test} rests on {lack.count} {units} ({lack.needed} are needed)"
    if lack.kind == "unplaced":
        done = "found a place" if lack.test in ("removal", "pasting") else "was possible"
        return f"{lack.test} {done} in {lack.count} of {lack.needed} cases"
    if lack.kind == "single":
        return f"one of the {lack.units} alone shows no spread"
    if lack.kind == "adverse":
        return f"an effect of {lack.size:.2g} is too large to overlook"
    if lack.kind == "flips":
        return f"{lack.test} changes the answer in {lack.count} of {lack.needed} cases"
    if lack.kind == "rare":
        shown = f"{lack.count or 'none'} of {lack.needed} show an effect above {lack.size:.2g}"
        more = f" (about {lack.enough} would tell)" if lack.enough else ""
        return f"by {lack.test}, {shown}, so that up to {lack.units} may carry one{more}"
    if lack.kind == "together":
        return f"an effect of {lack.size:.2g} shows where {lack.units} is gone"
    if not lack.needed:
        return f"an effect of {lack.size:.2g} cannot be excluded"
    step = 10 ** max(0, len(str(lack.needed)) - 2)
    needed = math.ceil(lack.needed / step) * step
    return f"with {lack.count} {lack.units} an effect under {lack.size:.2g} would go unseen; about {needed:,} would do"


def _suspicion(target: str, tests: Evidence, delta: float, flagging: Sequence[str], explainers: int) -> str:
    if flagging:
        alone = " alone" if len(flagging) < explainers else ""
        return f"draws more attention for {target} than its look explains, in {' and '.join(flagging)}{alone}"
    stands_in = [one for one in tests.together if one.found(delta)]
    if stands_in:
        most = max(stands_in, key=lambda one: one.excess.estimate)
        return f"has an effect on {target} once {most.beside} is gone, which may stand in for it"
    singly = [e for e in (*tests.necessity, tests.sufficiency) if e is not None]
    if tests.joint and tests.joint.margin.estimate > delta >= max(e.margin.estimate for e in singly):
        return f"has an effect on {target} once the other context is gone, which may stand in for it"
    return f"has an effect on {target} that may be chance"


def _too_few(entry: dict[str, Any]) -> str:
    target, segment, pictures = entry["target"], entry["segment"], entry["pictures"]
    if entry["groups"] < pictures:
        return (
            f"The {pictures} pictures taken for {target} that show {segment} belong to {entry['groups']} groups: "
            "too few to judge."
        )
    if pictures == 1:
        return f"Only one picture taken for {target} shows {segment}: too few to judge."
    return f"Only {pictures} pictures taken for {target} show {segment}: too few to judge."


def _evidence(entry: dict[str, Any], tests: Evidence) -> str:
    """ "pasting it elsewhere adds 3.1 [2.7, 3.5] to the log-odds of A and removing it takes ... (inpaint) and ..."."""
    target, segment = entry["target"], entry["segment"]
    facts = []
    pasted = tests.sufficiency
    if pasted is not None and not math.isnan(pasted.margin.low):
        what = f"giving other pictures its {segment}" if pasted.fill == SWAP else "pasting it elsewhere"
        facts.append(f"{what} {_changes([('', pasted.margin)], 'adds', 'takes', f'the log-odds of {target}')}")
    removed = [e for e in tests.necessity if not math.isnan(e.margin.low)]
    if removed:
        swapped = removed[0].fill == SWAP
        what = "swapping it for another class's" if swapped else "removing it"
        sizes = [("" if swapped else f" ({e.fill})", e.margin) for e in removed]
        facts.append(f"{what} {_changes(sizes, 'takes', 'adds', 'them' if facts else f'the log-odds of {target}')}")
    return " and ".join(facts)


def _changes(sizes: Sequence[tuple[str, Interval]], up: str, down: str, whose: str) -> str:
    """ "takes 3.1 [2.7, 3.5] (inpaint) and 2.8 [2.2, 3.4] (mean) from them": verbs that fit the signs, each once.

    Args:
        sizes: what to add behind the numbers, and the interval. whose: what it is added to or taken from.
    """
    told = [(verb, link, f"{_numbers(size)}{beside}") for beside, interval in sizes
            for verb, size, link in (in_words(interval, up, down),)]  # fmt: skip
    parts = []
    for (verb, link), same in groupby(told, key=lambda one: one[:2]):
        parts.append(f"{verb} {' and '.join(numbers for *_, numbers in same)} {link} {whose}")
    return " and ".join(parts)


def bounds(effect: Effect) -> list[float]:
    """Estimate, low and high, for JSON."""
    return [effect.margin.estimate, effect.margin.low, effect.margin.high]


def _numbers(size: Interval) -> str:
    # adding zero turns -0.0 into 0.0
    numbers = [round(value, 1) + 0.0 for value in (size.estimate, size.low, size.high)]
    return f"{numbers[0]:.1f} [{numbers[1]:.1f}, {numbers[2]:.1f}]"


def in_words(interval: Interval, up: str, down: str) -> tuple[str, Interval, str]:
    """(verb that fits the sign of the estimate as it will be printed, to one decimal; the interval turned to that verb;
    "to" or "from"). By the printed sign, so that an effect of nothing reads the same whatever the last bit says.
    """
    verb, sign = (up, 1.0) if round(interval.estimate, 1) >= 0 else (down, -1.0)
    low, high = sorted((sign * interval.low, sign * interval.high))
    turned = Interval(sign * interval.estimate, low, high, interval.count)
    return verb, turned, "to" if verb == "adds" else "from"
