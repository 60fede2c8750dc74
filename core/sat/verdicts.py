"""From effects and attribution to a verdict on each (target, segment), with one plain sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.sat.interventions import LARGE
from core.sat.statistics import Interval, benjamini_hochberg, group_means, mean_interval, p_above

VERDICTS = ("confirmed", "suspected", "inconclusive", "cleared", "too few")
SIGNIFICANCE = 0.05
LEAST_PICTURES = 20


@dataclass(frozen=True)
class Effect:
    """One test of one (target, segment): margin with its interval, probability beside it, p against delta."""

    fill: str
    margin: Interval
    probability: Interval
    p: float


def effect_of(records: pd.DataFrame, fill: str, cluster: str, delta: float) -> Effect:
    """Mean effect over independent units (`cluster`: "group" for removals, "donor_group" for transplants)."""
    margin = group_means(records["effect"].tolist(), records[cluster].tolist())
    probability = group_means(records["effect_probability"].tolist(), records[cluster].tolist())
    return Effect(fill, mean_interval(margin), mean_interval(probability).within(-1.0, 1.0), p_above(margin, delta))


def effects_for(records: pd.DataFrame, coverage: float, delta: float) -> tuple[list[Effect], Effect | None]:
    """Necessity (one a fill) and sufficiency of one (target, segment).

    Above a quarter of the picture, removals do not count, only context swaps.
    """
    large = coverage > LARGE
    necessity = []
    chosen = records[(records["test"] == "necessity") & ((records["fill"] == "context swap") == large)]
    for fill, part in chosen.groupby("fill", sort=False):
        necessity.append(effect_of(part, str(fill), "group", delta))
    pasted = records[(records["test"] == "sufficiency") & ((records["fill"] == "context swap") == large)]
    sufficiency = effect_of(pasted, str(pasted["fill"].iloc[0]), "donor_group", delta) if len(pasted) else None
    return necessity, sufficiency


def combined_p(necessity: Sequence[Effect], sufficiency: Effect | None) -> float:
    """One p for "it relies on it": necessity must hold under every fill (the largest p), either test may tell (twice
    the smaller p)."""
    tests = []
    if necessity and not any(math.isnan(e.p) for e in necessity):
        tests.append(max(e.p for e in necessity))
    if sufficiency is not None and not math.isnan(sufficiency.p):
        tests.append(sufficiency.p)
    return min(1.0, len(tests) * min(tests)) if tests else math.nan


def verdict_of(
    *, groups: int, q: float, necessity: Sequence[Effect], sufficiency: Effect | None, flagged: bool, delta: float
) -> str:
    """See `VERDICTS`. Without tests nothing is ever confirmed or cleared, nor cleared where a test knows too little.

    Args:
        groups: independent pictures that show the segment.
    """
    if groups < LEAST_PICTURES:
        return "too few"
    effects = [*necessity, *([sufficiency] if sufficiency else [])]
    known = [e for e in effects if e.margin.count >= LEAST_PICTURES / 2 and not math.isnan(e.margin.high)]
    if not math.isnan(q) and q <= SIGNIFICANCE:
        return "confirmed"
    if effects and len(known) == len(effects) and all(e.margin.high < delta for e in known):
        return "cleared"
    if flagged or any(e.margin.estimate > delta for e in known):
        return "suspected"
    return "inconclusive"


def flag_by_controls(table: pd.DataFrame, controls: pd.DataFrame) -> pd.Series:
    """True where a segment's density interval lies above that of the same segment under every control.

    Args:
        table: of the report's explainers.
        controls: the same table made with randomised weights (explainer names as in `table`) and of the control
            explainers; a control without its own line for (target, segment) is taken over all targets.
    """
    pooled = controls.groupby(["explainer", "segment"])["density_high"].median()
    exact = controls.set_index(["explainer", "target", "segment"])["density_high"]
    names = controls["explainer"].unique()
    flags = []
    for line in table.to_dict("records"):
        bars = []
        for control in names:
            same_method = control == f"{line['explainer']} (randomised)"
            if control.endswith("(randomised)") and not same_method:
                continue
            bar = exact.get((control, line["target"], line["segment"]), math.nan)
            bar = pooled.get((control, line["segment"]), math.nan) if math.isnan(bar) else bar
            bars.append(bar)
        known = [bar for bar in bars if not math.isnan(bar)]
        flags.append(bool(known) and not math.isnan(line["density_low"]) and line["density_low"] > max(known))
    return pd.Series(flags, index=table.index, dtype=bool)


def findings(table: pd.DataFrame, effects: pd.DataFrame, labels: Sequence[str], delta: float) -> list[dict[str, Any]]:
    """The list, strongest first: an entry per (target, segment, explainer), a verdict per (target, segment).

    Args:
        table: attribution table with a `flagged` column.
        effects: records of `core.sat.effects`; may be empty.
    """
    tests: dict[tuple[int, str], tuple[list[Effect], Effect | None]] = {}
    coverage = table.groupby(["target", "segment"])["coverage"].first().to_dict()
    by_pair = dict(list(effects.groupby(["target", "segment"]))) if len(effects) else {}
    for pair in coverage:
        records = by_pair.get(pair)
        tests[pair] = ([], None) if records is None else effects_for(records, coverage[pair], delta)
    groups = table.groupby(["target", "segment"])["groups"].max().to_dict()
    enough = [pair for pair in coverage if groups[pair] >= LEAST_PICTURES]
    p = {pair: combined_p(*test) for pair, test in tests.items()}
    q = dict(zip(enough, benjamini_hochberg([p[pair] for pair in enough])))
    flagging = table[table["flagged"]].groupby(["target", "segment"])["explainer"].agg(list).to_dict()
    explainers = table["explainer"].nunique()
    out = []
    for line in table.to_dict("records"):
        pair = (line["target"], line["segment"])
        necessity, sufficiency = tests[pair]
        verdict = verdict_of(
            groups=groups[pair],
            q=q.get(pair, math.nan),
            necessity=necessity,
            sufficiency=sufficiency,
            flagged=pair in flagging,
            delta=delta,
        )
        # the weakest fill speaks for all: necessity has to hold under each
        weakest = min(necessity, key=lambda e: e.margin.estimate, default=None)
        entry = _entry(line, labels, necessity, weakest, sufficiency, p[pair], q.get(pair), verdict)
        entry["sentence"] = sentence(entry, weakest, sufficiency, delta, flagging.get(pair, []), explainers)
        out.append(entry)
    place = {verdict: i for i, verdict in enumerate(VERDICTS)}
    return sorted(out, key=lambda e: (place[e["verdict"]], e["kind"] == "object", -(_strength(e)), e["target"]))


def _strength(entry: dict[str, Any]) -> float:
    return max([v for v in (entry["necessity"], entry["sufficiency"]) if v is not None], default=0.0)


def _entry(
    line: dict[str, Any],
    labels: Sequence[str],
    necessity: Sequence[Effect],
    weakest: Effect | None,
    sufficiency: Effect | None,
    p: float,
    q: float | None,
    verdict: str,
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "target": labels[line["target"]],
        "segment": line["segment"],
        "kind": line["kind"],
        "explainer": line["explainer"],
        "pictures": line["pictures"],
        "groups": line["groups"],
        "presence": line["presence"],
        "share": line["share"],
        "coverage": line["coverage"],
        "density": line["density"],
        "density_low": line["density_low"],
        "density_high": line["density_high"],
    }
    for name, effect in (("necessity", weakest), ("sufficiency", sufficiency)):
        intervals = (effect.margin, effect.probability) if effect is not None else (None, None)
        for suffix, interval in zip(("", "_probability"), intervals):
            entry[f"{name}{suffix}"] = interval.estimate if interval else None
            entry[f"{name}_low{suffix}"] = interval.low if interval else None
            entry[f"{name}_high{suffix}"] = interval.high if interval else None
    entry["fills"] = {e.fill: [e.margin.estimate, e.margin.low, e.margin.high] for e in necessity}
    entry["pairs"] = sufficiency.margin.count if sufficiency else 0
    entry["p"], entry["q"], entry["flagged"], entry["verdict"] = p, q, bool(line["flagged"]), verdict
    return _without_nan(entry)


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN: what cannot be known (an interval from one picture) is null."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def is_shortcut(entry: dict[str, Any]) -> bool:
    """Confirmed reliance on context; what nobody has set a kind for is no shortcut, but its sentence says so."""
    return entry["verdict"] == "confirmed" and entry["kind"] == "context"


def sentence(
    entry: dict[str, Any],
    necessity: Effect | None,
    sufficiency: Effect | None,
    delta: float,
    flagging: Sequence[str],
    explainers: int,
) -> str:
    """What a person would say, with its numbers.

    Args:
        flagging: the explainers, of so many, whose maps lie above the controls.
    """
    target, segment = entry["target"], entry["segment"]
    unset = " (nobody has said whether it is part of the object)" if entry["kind"] == "unset" else ""
    facts = []
    if sufficiency is not None and not math.isnan(sufficiency.margin.low):
        what = f"giving other pictures its {segment}" if sufficiency.fill == "context swap" else "pasting it elsewhere"
        facts.append(f"{what} {_change(sufficiency.margin, 'adds', 'takes')} the log-odds of {target}")
    if necessity is not None and not math.isnan(necessity.margin.low):
        what = "swapping it for another class's" if necessity.fill == "context swap" else "removing it"
        whose = "them" if facts else f"the log-odds of {target}"
        facts.append(f"{what} {_change(necessity.margin, 'takes', 'adds')} {whose}")
    evidence = " and ".join(facts)
    verdict = entry["verdict"]
    if verdict == "too few":
        if entry["groups"] < entry["pictures"]:
            return (
                f"The {entry['pictures']} pictures taken for {target} that show {segment} belong to "
                f"{entry['groups']} groups: too few to judge."
            )
        if entry["pictures"] == 1:
            return f"Only one picture taken for {target} shows {segment}: too few to judge."
        return f"Only {entry['pictures']} pictures taken for {target} show {segment}: too few to judge."
    if verdict == "confirmed":
        return f"The model relies on {segment}{unset} for {target}: {evidence}."
    if verdict == "cleared":
        below = f"every effect lies below {delta:g} in log-odds"
        return f"No reliance on {segment} for {target}: {below}. {evidence[:1].upper()}{evidence[1:]}."
    if verdict == "suspected":
        why = f"has an effect on {target} that may be chance"
        if flagging:
            alone = " alone" if len(flagging) < explainers else ""
            why = f"draws more attention for {target} than its look explains, in {' and '.join(flagging)}{alone}"
        return f"{segment[:1].upper() + segment[1:]}{unset} {why}" + (f": {evidence}." if facts else ".")
    return f"Nothing can be said yet about {segment} for {target}" + (f": {evidence}." if facts else ".")


def _change(interval: Interval, up: str, down: str) -> str:
    """ "adds 3.1 [2.7, 3.5] to", with the verb that fits the estimate's sign."""
    verb, size, link = in_words(interval, up, down)
    # adding zero turns -0.0 into 0.0
    numbers = [round(value, 1) + 0.0 for value in (size.estimate, size.low, size.high)]
    return f"{verb} {numbers[0]:.1f} [{numbers[1]:.1f}, {numbers[2]:.1f}] {link}"


def in_words(interval: Interval, up: str, down: str) -> tuple[str, Interval, str]:
    """(verb that fits the sign of the estimate as it will be printed, to one decimal; the interval turned to that verb;
    "to" or "from"). By the printed sign, so that an effect of nothing reads the same whatever the last bit says.
    """
    verb, sign = (up, 1.0) if round(interval.estimate, 1) >= 0 else (down, -1.0)
    low, high = sorted((sign * interval.low, sign * interval.high))
    turned = Interval(sign * interval.estimate, low, high, interval.count)
    return verb, turned, "to" if verb == "adds" else "from"
