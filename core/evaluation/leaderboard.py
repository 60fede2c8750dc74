"""Scores of many pictures -> who leads on which yardstick, and whether the lead is more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from core.sat.statistics import Interval, bootstrap_interval


def leaderboard(
    scores: pd.DataFrame, costs: pd.DataFrame, higher: Mapping[str, bool], controls: Sequence[str], seed: int = 0
) -> list[dict[str, Any]]:
    """One entry a metric and explainer, each metric's best first.

    Args:
        scores: image, group, explainer, metric, value; one line a picture.
        costs: image, explainer, seconds, forward_passes, backward_passes, saturated, alignment.
        higher: metric -> higher is better.
        controls: explainers that are only there to compare with.

    Returns:
        Keys: metric, explainer, control, mean, low, high (95 % bootstrap over groups), pictures, undefined (pictures
        where the metric says nothing), best (no other explainer but controls has a better mean), behind, behind_low,
        behind_high (how much worse than the best one on the same pictures, paired bootstrap; null for the best itself),
        seconds (median a picture), passes, saturated and alignment (means; null where there are no samples).
    """
    price = {str(name): part for name, part in costs.groupby("explainer")}
    board: list[dict[str, Any]] = []
    for metric, upward in higher.items():
        part = scores[scores["metric"] == metric]
        entries = [
            _entry(metric, str(name), lines, price[str(name)], controls, seed)
            for name, lines in part.groupby("explainer", sort=False)
        ]
        entries.sort(key=lambda e: (e["mean"] is None, -(e["mean"] or 0) if upward else (e["mean"] or 0)))
        leader = next((e for e in entries if not e["control"] and e["mean"] is not None), None)
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


def warnings(board: Sequence[Mapping[str, Any]], controls: Sequence[str]) -> list[str]:
    """One sentence for each yardstick that a control, which knows nothing of the model, wins or nearly wins."""
    said = []
    for metric in dict.fromkeys(entry["metric"] for entry in board):
        entries = [e for e in board if e["metric"] == metric and e["mean"] is not None]
        leader = next((e for e in entries if e["best"]), None)
        winners = [
            e["explainer"]
            for e in entries
            if e["explainer"] in controls and leader is not None and not surely_behind(e)
        ]
        if winners:
            said.append(
                f"{metric} does not measure trust on these pictures: {' and '.join(winners)}, which never "
                f"{'looks' if len(winners) == 1 else 'look'} at the model, "
                f"{'does' if len(winners) == 1 else 'do'} as well as the best explainer."
            )
    return said


def surely_behind(entry: Mapping[str, Any]) -> bool:
    """Worse than the best explainer by more than chance; with one picture, which has no interval, worse at all."""
    low = entry["behind"] if entry["behind_low"] is None else entry["behind_low"]
    return low is not None and low > 0


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
        "undefined": len(lines) - len(known),
        "seconds": float(costs["seconds"].median()),
        "passes": float(passes.mean()),
        "saturated": _known(pd.to_numeric(costs["saturated"]).mean()),
        "alignment": _known(pd.to_numeric(costs["alignment"]).mean()),
    }


def _known(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else float(value)
