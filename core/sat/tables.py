"""Rows of many pictures -> the Segment Attribution Table: one line per target, segment and explainer."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pandas as pd

from core.runtime.streams import streamed
from core.sat.statistics import bootstrap_interval

KEYS = ["target", "segment", "explainer"]
COLUMNS = {
    "target": int, "segment": str, "explainer": str, "kind": str, "pictures": int, "groups": int,
    **dict.fromkeys(
        ("presence", "coverage", "mean", "scaled_mean", "share", "share_low", "share_high", "density", "density_low",
         "density_high", "density_mean", "first", "density_correct", "density_wrong"), float),
}  # fmt: skip


def by_picture(rows: pd.DataFrame) -> pd.DataFrame:
    """Instances of one name in one picture joined: shares and coverages add, means are weighted by area."""
    if rows.empty:
        return rows
    area = rows["coverage"]
    weighted = rows.assign(_weighted=rows["scaled_mean"] * area, _raw=rows["mean"] * area)
    grouped = weighted.groupby(["image", *KEYS], sort=False)
    joined = grouped.agg(
        group=("group", "first"),
        kind=("kind", "first"),
        correct=("correct", "first"),
        coverage=("coverage", "sum"),
        share=("share", lambda s: s.sum(min_count=1)),
        positive_share=("positive_share", lambda s: s.sum(min_count=1)),
        rank=("rank", "min"),
        _weighted=("_weighted", "sum"),
        _raw=("_raw", "sum"),
    ).reset_index()
    joined["density"] = joined["share"] / joined["coverage"]
    joined["scaled_mean"] = joined.pop("_weighted") / joined["coverage"]
    joined["mean"] = joined.pop("_raw") / joined["coverage"]
    return joined


def table_of(folder: Path, pictures: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """As `attribution_table`, from the shards of rows in a folder, one target in memory at a time."""
    parts = [attribution_table(rows, pictures, seed) for _, rows in streamed([folder], "target")]
    return pd.concat(parts, ignore_index=True) if parts else attribution_table(pd.DataFrame(), pictures)


def attribution_table(rows: pd.DataFrame, pictures: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Aggregate rows.

    Args:
        rows: as made by `segment_rows`, with image, group, target, explainer and correct beside them.
        pictures: one line a picture with its `target`.

    Returns:
        Per target, segment, explainer: kind, pictures, groups (how many of them are independent), presence (part of
        the target's pictures that show it), coverage, mean and scaled_mean (the paper's value, raw and per-picture
        scaled), share and density (medians) with bootstrap intervals over groups, first (part of pictures where it
        ranks densest), and density among correct and wrong pictures.
    """
    if rows.empty:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
    totals = pictures.groupby("target").size()
    out = []
    for key, part in by_picture(rows).groupby(KEYS, sort=True):
        target, segment, explainer = cast("tuple[int, str, str]", key)
        known = part.dropna(subset=["density"])
        density = bootstrap_interval(known["density"].tolist(), known["group"].tolist(), "median", seed=seed)
        share = bootstrap_interval(known["share"].tolist(), known["group"].tolist(), "median", seed=seed)
        right = part["correct"].astype("boolean")
        out.append(
            {
                "target": target,
                "segment": segment,
                "explainer": explainer,
                "kind": part["kind"].iloc[0],
                "pictures": len(part),
                "groups": part["group"].nunique(),
                "presence": len(part) / int(totals[target]),
                "coverage": float(part["coverage"].median()),
                "mean": float(part["mean"].mean()),
                "scaled_mean": float(part["scaled_mean"].mean()),
                "share": share.estimate,
                "share_low": share.low,
                "share_high": share.high,
                "density": density.estimate,
                "density_low": density.low,
                "density_high": density.high,
                "density_mean": float(known["density"].mean()),
                "first": float((part["rank"] == 1).mean()),
                "density_correct": float(known.loc[right[known.index].fillna(False), "density"].median()),
                "density_wrong": float(known.loc[(~right[known.index]).fillna(False), "density"].median()),
            }
        )
    return pd.DataFrame(out)
