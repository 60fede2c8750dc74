"""A report as a folder: Parquet tables, findings as JSON, example pictures, and a manifest written last.

settings.json           what was asked for; a run with the same settings goes on where it was killed
pictures/ rows/ effects/ pairs/ noticed/   one Parquet file a shard
controls.parquet        rows under randomised weights and of the control explainers
table.parquet           the Segment Attribution Table
findings.json           verdicts with their numbers
examples.json, examples/   pictures behind the cells
manifest.json           last: a folder without it is half written
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import UserError
from core.paths import user_path
from core.runtime.folders import open_finished, read_shards, read_table

FORMAT = 2
AGAIN = "make it again with `satchel report`, in another folder"


@dataclass(frozen=True)
class Report:
    """A finished report; tables are read when asked for."""

    path: Path
    manifest: dict[str, Any]
    findings: list[dict[str, Any]]

    @cached_property
    def table(self) -> pd.DataFrame:
        return read_table(self.path / "table.parquet")

    @cached_property
    def pictures(self) -> pd.DataFrame:
        return read_shards(self.path / "pictures")

    @cached_property
    def examples(self) -> dict[str, Any]:
        return json.loads((self.path / "examples.json").read_text(encoding="utf-8"))

    def rows(self, target: int | None = None, segment: str | None = None) -> pd.DataFrame:
        """SAT rows, all or of one target and segment, straight from the Parquet shards."""
        return self._select("rows", target, segment)

    def effects(self, target: int | None = None, segment: str | None = None) -> pd.DataFrame:
        """Effect records (removals, transplants, swaps), all or of one target and segment."""
        parts = [self._select(kind, target, segment) for kind in ("effects", "pairs")]
        return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)

    def _select(self, kind: str, target: int | None, segment: str | None) -> pd.DataFrame:
        import duckdb

        files = [str(p) for p in sorted((self.path / kind).glob("*.parquet"))]
        if not files:
            return pd.DataFrame()
        wanted = [("target", target), ("segment", segment)]
        where = " and ".join(f"{column} = ?" for column, value in wanted if value is not None) or "true"
        values = [value for _, value in wanted if value is not None]
        try:
            with duckdb.connect() as connection:
                relation = connection.execute(
                    f"select * from read_parquet(?, union_by_name=true) where {where}", [files, *values]
                )
                return relation.df()
        except duckdb.Error as error:
            raise UserError(f"The report in {self.path} is damaged ({str(error).splitlines()[0]}); {AGAIN}.") from error


def open_report(path: str | Path) -> Report:
    """Open a finished report.

    Raises:
        UserError: there is none, it is half written, damaged, or of another format.
    """
    folder = user_path(path)
    more = ("table.parquet", "examples.json")
    report = Report(folder, *open_finished(folder, "report", "satchel report", FORMAT, "findings.json", more))
    if report.manifest["format"] < FORMAT:
        raise UserError(f"The report in {folder} was made by an older Satchel, whose verdicts meant less; {AGAIN}.")
    return report
