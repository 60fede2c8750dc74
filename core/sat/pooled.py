"""Over all answers together: what a segment does to whatever a picture is taken for.

With many classes, each has too few pictures for a verdict of its own; pooled, every picture is asked about its own
answer (a paste about its donor's). Over all pictures, and by the values of a column of the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core.runtime.streams import streamed
from core.sat.evidence import Evidence, gather
from core.sat.judging import judged, strongest_first
from core.sat.sentences import bounds, pooled_sentence
from core.sat.statistics import bootstrap_interval
from core.sat.tables import by_picture

ALL = ""  # of a column: all pictures


def pooled(
    out: Path,
    pictures: pd.DataFrame,
    delta: float,
    planned: Mapping[tuple[int, str, str], int],
    columns: Mapping[str, Mapping[str, str]],
) -> list[dict[str, Any]]:
    """One entry a segment, and one a segment and value of a column, strongest first, for JSON.

    Args:
        out: a report's folder, with its shards.
        planned: pairs by (target, segment, test).
        columns: by name, each picture's value.
    """
    parts = list(_parts(pictures, columns))
    tests: dict[tuple[str, str, str], Evidence] = {}
    about: dict[tuple[str, str, str], dict[str, Any]] = {}
    for segment, rows, records in _side_by_side(out):
        coverage = float(rows["coverage"].median())
        for column, value, images in parts:
            own = rows[rows["image"].isin(images)]
            if own.empty:
                continue
            key, shown = (column, value, segment), own["image"].nunique()
            pairs = _pairs(planned, segment) if column == ALL else {}
            tests[key] = gather(records[records["image"].isin(images)], coverage, delta, shown, pairs)
            about[key] = {
                "column": column, "value": value, "segment": segment, "kind": rows["kind"].iloc[0], "pictures": shown,
                "groups": own["group"].nunique(), "answers": own["target"].nunique(), "density": _densities(own),
            }  # fmt: skip
    verdicts = judged(tests, {key: known["groups"] for key, known in about.items()}, delta)
    entries = []
    for key, test in tests.items():
        entry = {
            **about[key],
            **verdicts[key],
            "necessity": {effect.fill: bounds(effect) for effect in test.necessity},
            "sufficiency": bounds(test.sufficiency) if test.sufficiency else None,
        }
        entries.append({**entry, "sentence": pooled_sentence(entry, test, delta)})
    return strongest_first(
        entries, lambda e: (*e["necessity"].values(), e["sufficiency"]), lambda e: (e["column"], e["value"])
    )


def _side_by_side(out: Path) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """(segment, its rows by picture, its records), one segment in memory at a time; both come sorted."""
    effects = streamed([out / "effects", out / "pairs"], "segment")
    waiting = next(effects, None)
    for segment, rows in streamed([out / "rows"], "segment"):
        while waiting is not None and str(waiting[0]) < str(segment):
            waiting = next(effects, None)
        if waiting is not None and waiting[0] == segment:
            yield str(segment), by_picture(rows), waiting[1]


def _parts(pictures: pd.DataFrame, columns: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, set[str]]]:
    """(column, value, images)."""
    images = pictures["image"].tolist()
    yield ALL, "", set(images)
    for column, values in columns.items():
        for value in sorted({values[image] for image in images if image in values}):
            yield column, value, {image for image in images if values.get(image) == value}


def _pairs(planned: Mapping[tuple[int, str, str], int], segment: str) -> dict[str, int]:
    sums = {
        test: sum(count for (_, name, which), count in planned.items() if name == segment and which == test)
        for test in ("necessity", "sufficiency")
    }
    return {test: count for test, count in sums.items() if count}


def _densities(rows: pd.DataFrame) -> dict[str, list[float]]:
    """Median density by explainer, with its interval."""
    found = {}
    for explainer, part in rows.dropna(subset=["density"]).groupby("explainer", sort=False):
        size = bootstrap_interval(part["density"].tolist(), part["group"].tolist(), "median")
        found[str(explainer)] = [size.estimate, size.low, size.high]
    return found
