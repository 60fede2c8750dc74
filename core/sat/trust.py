"""How far an explainer's values of segments agree with what removing them does to the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from core.choice import Choice
from core.sat.statistics import bootstrap_interval

LEAST_SEGMENTS = 3  # of a picture, below which a rank correlation says nothing


def trust(
    rows: Iterable[tuple[int, pd.DataFrame]],
    effects: Iterable[tuple[int, pd.DataFrame]],
    explainers: dict[str, Choice],
    fills: Sequence[str],
) -> list[dict[str, Any]]:
    """Spearman's correlation within each picture between a segment's signed sum and the margin lost when it goes.

    Args:
        rows: (target, SAT rows), effects: (target, records of `core.sat.effects`), each one target at a time, in order.
        explainers: by label. fills: of the removals; an explainer is held against the first that it does not use.

    Returns:
        One entry an explainer, in their order, for JSON: explainer, fill, pictures, correlation (mean over pictures,
        low, high: 95 % bootstrap over groups), null where no picture has three segments.
    """
    held_against = {label: _other_fill(choice, fills) for label, choice in explainers.items()}
    found: dict[str, list[pd.DataFrame]] = {label: [] for label in explainers}
    for part, removals in _side_by_side(rows, effects):
        removals = removals[removals["test"] == "necessity"]
        for label, own in part.groupby("explainer"):
            if label in found:
                fitting = removals[removals["fill"] == held_against[str(label)]]
                found[str(label)].append(_correlations(own, fitting))
    return [
        {"explainer": label, "fill": held_against[label], **_pooled(pd.concat(parts) if parts else pd.DataFrame())}
        for label, parts in found.items()
    ]


def _side_by_side(
    rows: Iterable[tuple[int, pd.DataFrame]], effects: Iterable[tuple[int, pd.DataFrame]]
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Of each target that both have, one in memory at a time."""
    others = iter(effects)
    waiting = next(others, None)
    for target, part in rows:
        while waiting is not None and waiting[0] < target:
            waiting = next(others, None)
        if waiting is not None and waiting[0] == target:
            yield part, waiting[1]


def _other_fill(choice: Choice, fills: Sequence[str]) -> str:
    own = getattr(choice.parameters, "fill", None)
    return next((fill for fill in fills if fill != own), fills[0])


def _correlations(rows: pd.DataFrame, removals: pd.DataFrame) -> pd.DataFrame:
    """One line a picture: group, correlation."""
    sums = rows.assign(sum=rows["mean"] * rows["coverage"]).groupby(["image", "segment"])["sum"].sum().reset_index()
    both = sums.merge(removals[["image", "group", "segment", "effect"]], on=["image", "segment"])
    both = both[both.groupby("image")["segment"].transform("size") >= LEAST_SEGMENTS]
    if both.empty:
        return pd.DataFrame()
    ranks = both.groupby("image")[["sum", "effect"]].rank()
    ranks -= ranks.groupby(both["image"]).transform("mean")
    moments = pd.DataFrame(
        {"both": ranks["sum"] * ranks["effect"], "one": ranks["sum"] ** 2, "other": ranks["effect"] ** 2}
    ).groupby(both["image"]).sum()  # fmt: skip
    known = moments[(moments["one"] > 0) & (moments["other"] > 0)]
    correlation = known["both"] / (known["one"] * known["other"]) ** 0.5
    return pd.DataFrame({"group": both.groupby("image")["group"].first(), "correlation": correlation}).dropna()


def _pooled(found: pd.DataFrame) -> dict[str, Any]:
    if found.empty:
        return {"pictures": 0, "correlation": None}
    interval = bootstrap_interval(found["correlation"].tolist(), found["group"].tolist(), "mean")
    return {"pictures": len(found), "correlation": [interval.estimate, interval.low, interval.high]}


def disagreements(table: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """Where explainers contradict each other about attention beyond the controls, one sentence each."""
    notes = []
    for cell in table[["target", "segment"]].drop_duplicates().to_dict("records"):
        target, segment = cell["target"], cell["segment"]
        part = table[(table["target"] == target) & (table["segment"] == segment)]
        flagged = part.loc[part["flagged"], "explainer"].tolist()
        if 0 < len(flagged) < len(part):
            others = ", ".join(sorted(set(part["explainer"]) - set(flagged)))
            notes.append(f"{labels[target]}, {segment}: above the controls for {', '.join(flagged)}, not for {others}.")
    return notes
