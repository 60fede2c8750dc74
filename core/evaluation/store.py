"""Open a finished evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from core.paths import user_path
from core.runtime.folders import open_finished, read_shards

FORMAT = 1


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation; tables are read when asked for."""

    path: Path
    manifest: dict[str, Any]
    leaderboard: list[dict[str, Any]]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """image, group, target, explainer, metric, value."""
        return read_shards(self.path / "scores")

    @cached_property
    def costs(self) -> pd.DataFrame:
        """image, group, target, explainer, seconds, forward_passes, backward_passes, saturated, alignment."""
        return read_shards(self.path / "costs")


def open_evaluation(path: str | Path) -> Evaluation:
    """Open a finished evaluation.

    Raises:
        UserError: there is none, it is half written, damaged, or of a newer format.
    """
    folder = user_path(path)
    return Evaluation(
        folder, *open_finished(folder, "evaluation", "satchel evaluate", FORMAT, entries="leaderboard.json")
    )
