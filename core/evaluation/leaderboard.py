"""Scores of many pictures -> who leads on which yardstick, and whether the lead is more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from core.sat.statistics import Interval, bootstrap_interval

#: With fewer independent pictures (groups) a bootstrap has too little to draw from: numbers only, no comparison.
FEW = 8


def leaderboard(
    scores: pd.DataFrame, costs: pd.DataFrame, higher: Mapping[str, bool], controls: Sequence[str], seed: int = 0
) -> list[dict[str, Any]]:
    """One entry a metric and explainer, each metric's best first, over the pictures on which all could be scored.

    Args:
        scores: image, group, explainer, metric, value; one line a picture.
        costs: image, explainer, seconds, forward_passes, backward_passes, saturated, alignment.
        higher: metric -> higher is better.
        controls: explainers that are only there to compare with.

    Returns:
        Keys: metric, explainer, control, mean, low, high (95 % bootstrap over groups), pictures, independent (groups),
        undefined (pictures
        where the metric says nothing), best (the first that is no control and is scored on at least half of the
        pictures), behind, behind_low, behind_high (how much worse than the best one where both were scored, paired
        bootstrap; null for the best itself), seconds (median a picture), passes, saturated and alignment (means; null
        where there are no samples).
    """
    price = {str(name): part for name, part in costs.groupby("explainer")}
    board: list[dict[str, Any]] = []
    for metric, upward in higher.items():
        part = scores[scores["metric"] == metric]
        entries = [
            _entry(metric, str(name), lines, price[str(name)], controls, seed)
            for name, lines in part.groupby("explainer", sort=False)
        ]
        contest = _contest(entries)
        ranks = _on_the_same_pictures(part, contest)
        entries.sort(key=lambda e: (e["mean"] is None, -ranks.get(e["explainer"], 0) * (1 if upward else -1)))
        leader = next((e for e in entries if e["explainer"] in contest), None)
        for entry in entries:
            entry["best"] = entry is leader
            behind = Interval(math.nan, math.nan, math.nan, 0)
            if leader is not None and entry is not leader:
                first, second = (leader, entry) if upward else (entry, leader)
                behind = paired_difference(part, first["explainer"], second["explainer"], seed)
            names = ("behind", "behind_low", "behind_high")
            entry |= dict(zip(names, map(_known, (behind.estimate, behind.low, behind.high))))
        board += entries
    return board


def paired_difference(scores: pd.DataFrame, first: str, second: str, seed: int = 0) -> Interval:
    """Mean of first minus second over the pictures that both were scored on, 95 % bootstrap over groups.

    Args:
        scores: of one metric.
    """
    a, b = (scores[scores["explainer"] == name].set_index("image") for name in (first, second))
    both = a.join(b["value"], how="inner", rsuffix="_other").dropna(subset=["value", "value_other"])
    difference = both["value"] - both["value_other"]
    return bootstrap_interval(difference.tolist(), both["group"].tolist(), "mean", seed=seed)


def _contest(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Who may lead: explainers but controls that are scored on at least half as many pictures as any of them."""
    able = [e for e in entries if not e["control"] and e["mean"] is not None]
    most = max((e["pictures"] for e in able), default=0)
    return [e["explainer"] for e in able if 2 * e["pictures"] >= most]


def _on_the_same_pictures(scores: pd.DataFrame, contest: Sequence[str]) -> dict[str, float]:
    """Explainer -> mean over the pictures on which all of the contest are scored (all of its own where there are none).

    Else whoever has no score on the hard pictures would lead.
    """
    table = scores.pivot_table(index="image", columns="explainer", values="value")
    shared = table.dropna(subset=list(contest))
    means = shared.mean().fillna(table.mean()) if len(shared) else table.mean()
    return {str(name): float(mean) for name, mean in means.items()}


def warnings(board: Sequence[Mapping[str, Any]], masked: Sequence[str] = ()) -> list[str]:
    """One sentence for each yardstick that is won, or nearly won, by a control, or that judges nothing here.

    Args:
        masked: metrics that look at where the object is.

    Nothing is compared on fewer than FEW independent pictures.
    """
    said = []
    for metric in dict.fromkeys(entry["metric"] for entry in board):
        entries = [e for e in board if e["metric"] == metric and e["mean"] is not None]
        leader = next((e for e in entries if e["best"]), None)
        if leader is None:
            empty = metric in masked and not entries
            why = "no mask names an object" if empty else "all are flat or hold values that are not numbers"
            said.append(f"{metric} could score no explainer's map on these pictures: {why}.")
            continue
        if too_few(entries):
            continue
        level = [e for e in entries if e["control"] and not surely_behind(e)]
        ahead = [e["explainer"] for e in level if e["behind"] is not None and e["behind"] <= 0]
        close = [e["explainer"] for e in level if e["explainer"] not in ahead]
        if ahead:
            look, do = ("looks", "does") if len(ahead) == 1 else ("look", "do")
            said.append(
                f"{metric} does not measure trust on these pictures: {' and '.join(ahead)}, which never {look} at the "
                f"model, {do} as well as the best explainer."
            )
        elif close:
            look = "looks" if len(close) == 1 else "look"
            count = f"{leader['pictures']} picture{'s' if leader['pictures'] != 1 else ''}"
            said.append(
                f"{metric} cannot tell the best explainer from {' and '.join(close)}, which never {look} at the model, "
                f"on {count}: the lead may be chance."
            )
    return said


def too_few(entries: Iterable[Mapping[str, Any]]) -> bool:
    """Whether nothing may be said of who is better: all were scored on fewer than FEW independent pictures."""
    return max((independent(entry) for entry in entries), default=0) < FEW


def independent(entry: Mapping[str, Any]) -> int:
    """Groups that an entry of a leaderboard is made from; older ones say how many pictures only."""
    return entry.get("independent", entry["pictures"])


def surely_behind(entry: Mapping[str, Any]) -> bool:
    """Worse than the best explainer by more than chance."""
    return entry["behind_low"] is not None and entry["behind_low"] > 0


def _entry(
    metric: str, explainer: str, lines: pd.DataFrame, costs: pd.DataFrame, controls: Sequence[str], seed: int
) -> dict[str, Any]:
    known = lines.dropna(subset=["value"])
    interval = bootstrap_interval(known["value"].tolist(), known["group"].tolist(), "mean", seed=seed)
    passes = costs[["forward_passes", "backward_passes"]].max(axis=1)
    return {
        "metric": metric,
        "explainer": explainer,
        "control": explainer in controls,
        "mean": _known(interval.estimate),
        "low": _known(interval.low),
        "high": _known(interval.high),
        "pictures": len(known),
        "independent": interval.count,
        "undefined": len(lines) - len(known),
        "seconds": float(costs["seconds"].median()),
        "passes": float(passes.mean()),
        "saturated": _known(pd.to_numeric(costs["saturated"]).mean()),
        "alignment": _known(pd.to_numeric(costs["alignment"]).mean()),
    }


def _known(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else float(value)
