"""Open a finished evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from core.paths import user_path
from core.runtime.folders import open_finished, read_shards
from core.runtime.schema import (
    Wrong,
    anything,
    bounded,
    listed,
    manifest_of,
    maybe,
    named,
    number,
    record,
    text,
    truth,
    whole,
)

FORMAT = 2
MANIFEST = manifest_of(
    {
        "scorer": text(),
        "explainers": listed(
            record({"label": text(), "name": text(), "title": text(), "control": truth, "parameters": named(anything)}),
            least=1,
        ),
        "metrics": listed(
            record(
                {"label": text(), "name": text(), "title": text(), "summary": text(), "family": text(),
                 "higher_is_better": truth, "reference": text()}
            ),
            least=1,
        ),
        "warnings": listed(text()),
    },
    {"seed": whole(), "noticed": listed(text())},
)  # fmt: skip
ENTRY = bounded(
    record(
        {
            "metric": text(), "explainer": text(), "control": truth, "best": truth, "pictures": whole(),
            "undefined": whole(), "mean": maybe(number()), "low": maybe(number()), "high": maybe(number()),
            "behind": maybe(number()), "behind_low": maybe(number()), "behind_high": maybe(number()),
            "seconds": number(0), "passes": number(0), "saturated": maybe(number()), "alignment": maybe(number()),
        }
    ),
    ("mean", "low", "high"), ("behind", "behind_low", "behind_high"),
)  # fmt: skip
SHAPES = {"manifest.json": MANIFEST, "leaderboard.json": listed(ENTRY)}
SCORES = {
    "image": "text",
    "group": "text",
    "target": "whole",
    "explainer": "text",
    "metric": "text",
    "value": "number?",
}
COSTS = {
    "image": "text", "group": "text", "target": "whole", "explainer": "text", "seconds": "number",
    "forward_passes": "whole", "backward_passes": "whole", "saturated": "number?", "alignment": "number?",
}  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation; tables are read when asked for.

    Raises:
        UserError: (from a table) it is damaged.
    """

    path: Path
    manifest: dict[str, Any]
    leaderboard: list[dict[str, Any]]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """image, group, target, explainer, metric, value."""
        return read_shards(self.path / "scores", SCORES)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """image, group, target, explainer, seconds, forward_passes, backward_passes, saturated, alignment."""
        return read_shards(self.path / "costs", COSTS)


def open_evaluation(path: str | Path) -> Evaluation:
    """Open a finished evaluation.

    Raises:
        UserError: there is none, it is half written, damaged, or of a newer format.
    """
    folder = user_path(path)
    held = open_finished(folder, "evaluation", "satchel evaluate", FORMAT, SHAPES, _agree)
    return Evaluation(folder, held["manifest.json"], held["leaderboard.json"])


def _agree(held: dict[str, Any]) -> None:
    """The board has one entry for every metric and explainer of the manifest, and one best a metric at most."""
    manifest, board = held["manifest.json"], held["leaderboard.json"]
    explainers = {entry["label"]: entry["control"] for entry in manifest["explainers"]}
    metrics = [entry["label"] for entry in manifest["metrics"]]
    pairs = [(entry["metric"], entry["explainer"]) for entry in board]
    wanted = [(metric, explainer) for metric in metrics for explainer in explainers]
    if len(explainers) < len(manifest["explainers"]) or sorted(pairs) != sorted(wanted):
        raise Wrong("", "does not have one entry for every metric and explainer of the manifest")
    for metric in metrics:
        if sum(entry["best"] for entry in board if entry["metric"] == metric) > 1:
            raise Wrong("", f"has more than one best of {metric}")
    for i, entry in enumerate(board):
        if entry["control"] != explainers[entry["explainer"]]:
            raise Wrong(f"[{i}].control", "is not what the manifest says")
        if entry["best"] and entry["mean"] is None:
            raise Wrong(f"[{i}].best", "is true where nothing was measured")
