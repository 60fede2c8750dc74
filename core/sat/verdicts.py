"""From effects and attribution to a verdict on each (target, segment). What it says in words: `core.sat.sentences`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.sat import DELTA
from core.sat.evidence import STRONG, Effect, Evidence, combined_p, gather
from core.sat.redundancy import Pair, redundancies, stand_ins
from core.sat.sentences import Lack, bounds, in_clause, sentence
from core.sat.statistics import benjamini_hochberg, clopper_pearson

VERDICTS = ("confirmed", "speaks against", "suspected", "inconclusive", "cleared", "too few")
SIGNIFICANCE = 0.05
LEAST_PICTURES = 20  # independent ones that show the segment, before anything is said; units of a test that clears
LEAST_PLACED = 0.5  # part of the planned removals or pairs that could be made, before a test clears
OF_MARGIN = 0.1
FLIPS = 0.02  # of the answers that may change, beyond what placebos do, before a test clears
RARE = 0.1  # of the units that may carry a strong effect
MOST_MORE = 100  # times as many pictures, beyond which nobody would go for them
SIDES = ("above", "below")  # of Effect: relies on it, speaks against it


def lacking(tests: Evidence, delta: float) -> list[Lack]:
    """What stands between these tests and "cleared"; nothing if they clear."""
    out = []
    for name, effects in (("removal", tests.necessity), ("pasting", (tests.sufficiency,) if tests.sufficiency else ())):
        out += _lacking_one(name, effects, delta) if effects else [Lack("untested", name)]
    open_ones = [e for e in tests.all if not (e.margin.high < delta and e.margin.estimate >= -delta)]
    if open_ones:
        out.append(_still_open(max(open_ones, key=lambda e: (math.isnan(e.margin.high), e.margin.high)), delta))
    found = [one for one in tests.together if one.found(delta)]
    if found:
        most = max(found, key=lambda one: one.excess.estimate)
        out.append(Lack("together", "removal", most.excess.count, size=most.effect.margin.estimate, units=most.beside))
    return out


def _lacking_one(test: str, effects: Sequence[Effect], delta: float) -> Iterator[Lack]:
    few = min(effects, key=lambda e: e.margin.count)
    if few.margin.count < LEAST_PICTURES:
        yield Lack("few", test, few.margin.count, LEAST_PICTURES, few.scarce)
    unplaced = min(effects, key=lambda e: e.placed / max(1, e.planned))
    if unplaced.placed < LEAST_PLACED * unplaced.planned:
        yield Lack("unplaced", test, unplaced.placed, unplaced.planned)
    flipping = max(effects, key=lambda e: e.flips)
    if flipping.flips > FLIPS:
        yield Lack("flips", test, flipping.changed, flipping.placed, size=flipping.flips)
    rare = max(effects, key=lambda e: e.rare)
    if rare.rare >= RARE or not rare.by_chance:
        carriers, count = rare.strong
        enough = _enough(carriers, count)
        yield Lack("rare", test, carriers, count, f"{rare.rare:.0%}", STRONG * delta, enough)


def _enough(carriers: int, count: int) -> int:
    """How many units with as large a part of carriers would bound it below `RARE`; 0: none would."""
    larger = (round(count * factor, -1) for factor in np.geomspace(1, MOST_MORE, 60))
    return next((int(n) for n in larger if clopper_pearson(round(carriers / count * n), int(n))[1] < RARE), 0)


def _still_open(effect: Effect, delta: float) -> Lack:
    m = effect.margin
    if math.isnan(m.high):
        return Lack("single", count=m.count, units=effect.scarce)
    if m.high < delta:
        return Lack("adverse", size=m.estimate)
    if m.estimate >= delta:
        return Lack("open", size=m.high, units=effect.scarce)
    needed = m.count * ((m.high - m.estimate) / (delta - m.estimate)) ** 2  # an interval shrinks with the root
    if needed > MOST_MORE * m.count:
        return Lack("open", size=m.high, units=effect.scarce)
    return Lack("open", count=m.count, needed=math.ceil(needed), units=effect.scarce, size=effect.unseen)


def verdict_of(
    *,
    groups: int,
    above: float,
    below: float,
    tests: Evidence,
    flagged: bool,
    lacks: Sequence[Lack],
    delta: float,
) -> str:
    """See `VERDICTS`. Nothing is cleared that was not tested both ways, on enough, or that draws attention.

    Args:
        groups: independent pictures that show the segment.
        above, below: q of reliance, and of speaking against.
        lacks: of `lacking`.
    """
    if groups < LEAST_PICTURES:
        return "too few"
    relies, speaks = (not math.isnan(q) and q <= SIGNIFICANCE for q in (above, below))
    if relies and speaks:
        # one says that it counts, the other that it counts against: the larger effect gives the verdict
        return "confirmed" if _strongest(tests, 1.0) >= _strongest(tests, -1.0) else "speaks against"
    if relies or speaks:
        return "confirmed" if relies else "speaks against"
    if flagged or any(e.tells and e.margin.estimate > delta for e in tests.all):
        return "suspected"
    if any(one.found(delta) for one in tests.together):
        return "suspected"
    return "inconclusive" if lacks else "cleared"


def _strongest(tests: Evidence, sign: float) -> float:
    return max(sign * e.margin.estimate for e in (tests.weakest, tests.sufficiency) if e is not None)


def delta_for(margins: Sequence[float]) -> float:
    """The smallest effect that matters, in the model's own terms: `DELTA`, or a tenth of its median absolute margin,
    where its answers are never as far apart as that."""
    known = np.abs([margin for margin in margins if math.isfinite(margin)])
    return float(min(DELTA, max(1e-3, OF_MARGIN * np.median(known)))) if len(known) else DELTA


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


@dataclass(frozen=True)
class Judged:
    """What a report finds.

    Attributes:
        findings: strongest first, an entry per (target, segment, explainer), a verdict per (target, segment).
        redundant: segments of which either is enough, strongest first.
    """

    findings: list[dict[str, Any]]
    redundant: list[dict[str, Any]]


def judge(
    table: pd.DataFrame,
    effects: Iterable[tuple[int, pd.DataFrame]],
    labels: Sequence[str],
    delta: float,
    planned: Mapping[tuple[int, str, str], int] | None = None,
) -> Judged:
    """From effects to findings.

    Args:
        table: attribution table with a `flagged` column.
        effects: (target, records of `core.sat.effects`), one target at a time.
        planned: pairs that were to be made per (target, segment, test).
    """
    cells = table.groupby(["target", "segment"]).agg(
        kind=("kind", "first"), coverage=("coverage", "first"), groups=("groups", "max"), pictures=("pictures", "max")
    )
    about = cells.to_dict("index")
    tests = dict.fromkeys(about, Evidence())
    for target, records in effects:
        for segment, part in records.groupby("segment"):
            pair = (target, str(segment))
            if pair in about:
                pairs = {test: n for test in ("necessity", "sufficiency") if (n := (planned or {}).get((*pair, test)))}
                tests[pair] = gather(part, about[pair]["coverage"], delta, about[pair]["pictures"], pairs)
    p: dict[tuple, float] = {(pair, side): combined_p(test, side) for pair, test in tests.items() for side in SIDES}
    p = {key: value for key, value in p.items() if about[key[0]]["groups"] >= LEAST_PICTURES}
    tried = any(test.all for test in tests.values())
    standing_in = stand_ins(tests, about, delta)
    p |= {key: one.together.p for key, one in standing_in.items()}
    q = dict(zip(p, benjamini_hochberg(list(p.values()))))
    flagging = table[table["flagged"]].groupby(["target", "segment"])["explainer"].agg(list).to_dict()
    explainers = table["explainer"].nunique()
    judged: dict[Pair, dict[str, Any]] = {}
    for pair, test in tests.items():
        above, below = (q.get((pair, side), math.nan) for side in SIDES)
        lacks = lacking(test, delta)
        verdict = verdict_of(
            groups=about[pair]["groups"], above=above, below=below, tests=test, flagged=pair in flagging, lacks=lacks,
            delta=delta,
        )  # fmt: skip
        against = verdict == "speaks against"
        open_still = verdict in ("suspected", "inconclusive") and tried
        judged[pair] = {
            **_numbers(test),
            "p": p.get((pair, "below" if against else "above"), math.nan),
            "q": below if against else above,
            "verdict": verdict,
            "lacking": [in_clause(lack) for lack in lacks] if open_still else [],
        }
    out = []
    for line in table.to_dict("records"):
        pair = (line["target"], line["segment"])
        entry = {**_attribution(line, labels), **judged[pair]}
        entry["sentence"] = sentence(entry, tests[pair], delta, flagging.get(pair, []), explainers)
        out.append(without_nan(entry))
    place = {verdict: i for i, verdict in enumerate(VERDICTS)}
    out.sort(key=lambda e: (place[e["verdict"]], e["kind"] == "object", -(_strength(e)), e["target"]))
    shown = {k: one for k, one in standing_in.items() if q[k] <= SIGNIFICANCE and one.together.found(delta)}
    return Judged(out, redundancies(shown, q, about, labels))


def _strength(entry: dict[str, Any]) -> float:
    values = [v for v in (entry["necessity"], entry["sufficiency"]) if v is not None]
    return max((-v if entry["verdict"] == "speaks against" else v for v in values), default=0.0)


def _attribution(line: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """What one explainer's line of the table says."""
    kept = ("segment", "kind", "explainer", "pictures", "groups", "presence", "share", "coverage")
    shown = (*kept, "density", "density_low", "density_high")
    target = {"target": labels[line["target"]], "target_index": int(line["target"])}
    return {**target, **{key: line[key] for key in shown}, "flagged": bool(line["flagged"])}


def _numbers(tests: Evidence) -> dict[str, Any]:
    """What the tests say, the same for every explainer."""
    entry: dict[str, Any] = {}
    for name, effect in (("necessity", tests.weakest), ("sufficiency", tests.sufficiency)):
        intervals = (effect.margin, effect.probability) if effect is not None else (None, None)
        for suffix, interval in zip(("", "_probability"), intervals):
            entry[f"{name}{suffix}"] = interval.estimate if interval else None
            entry[f"{name}_low{suffix}"] = interval.low if interval else None
            entry[f"{name}_high{suffix}"] = interval.high if interval else None
    entry["fills"] = {e.fill: bounds(e) for e in tests.necessity}
    entry["joint"] = bounds(tests.joint) if tests.joint else None
    entry["together"] = {one.beside: bounds(one.effect) for one in tests.together}
    entry["changed"] = {e.fill: [e.changed, e.placed] for e in (*tests.necessity, tests.sufficiency) if e}
    singly = {"necessity": tests.weakest, "sufficiency": tests.sufficiency}
    entry["carriers"] = {name: list(effect.carriers) for name, effect in singly.items() if effect}
    entry["placebos"] = list(lent) if tests.sufficiency and (lent := tests.sufficiency.placebos) else None
    entry["pairs"] = tests.sufficiency.margin.count if tests.sufficiency else 0
    rarest = min(tests.necessity, key=lambda e: e.placed, default=None)
    cases = {"necessity": rarest, "sufficiency": tests.sufficiency}
    entry["cases"] = {name: [e.placed, e.planned] if e else [0, 0] for name, e in cases.items()}
    return entry


def without_nan(value: Any) -> Any:
    """JSON knows no NaN: what cannot be known (an interval from one picture) is null."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def is_shortcut(entry: dict[str, Any]) -> bool:
    """Confirmed reliance on context; what nobody has set a kind for is no shortcut, but its sentence says so."""
    return entry["verdict"] == "confirmed" and entry["kind"] == "context"
