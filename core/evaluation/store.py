"""Open a finished evaluation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import UserError
from core.runtime.folders import read_shards

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
    folder = Path(path)
    if not (folder / "manifest.json").is_file():
        if (folder / "settings.json").is_file():
            raise UserError(f"The evaluation in {folder} is half written; run the same command again to finish it.")
        raise UserError(f"{folder} holds no evaluation; make one with `satchel evaluate`.")
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        board = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))
        version = manifest["format"]
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"The evaluation in {folder} is damaged ({error}); make it again.") from error
    if version > FORMAT:
        raise UserError(f"The evaluation in {folder} was made by a newer Satchel; update Satchel to open it.")
    return Evaluation(folder, manifest, board)
