"""`satchel compare`: what a second report says otherwise than a first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboard.cli.common import mistakes_told, show_table, tell

if TYPE_CHECKING:
    from core.sat.comparison import Comparison

MOST = 30  # lines that are printed


def compare(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="A finished report: before, or model A.")],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Another one: after, or model B.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every difference as JSON.")] = None,
) -> None:
    """Say what changed between two reports: verdicts and effects, on the same pictures where both have them."""
    with mistakes_told("Run the same command again."):
        from core.beforehand import finished_folder
        from core.paths import user_path

        folders = [user_path(folder) for folder in (first, second)]
        for folder in folders:
            finished_folder(folder, "report", "satchel report")
        from core.sat.comparison import compare as compared
        from core.sat.saved_report import open_report

        found = compared(*map(open_report, folders))
        if out is not None:
            _write(found, user_path(out))
        _tell(found)


def _write(found: Comparison, out: Path) -> None:
    from dataclasses import asdict

    from core.runtime.whole_files import write_json
    from core.sat.verdicts import without_nan

    write_json(out, without_nan(asdict(found)))
    tell(f"Every difference is in {out}.")


def _tell(found: Comparison) -> None:
    from rich.markup import escape
    from rich.table import Table

    for line in found.summary():
        typer.echo(line)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("class", "segment", "before", "after", "what changed"):
        table.add_column(heading, overflow="fold")
    changed = found.changed
    for entry in changed[:MOST]:
        was, then = (verdict or "-" for verdict in entry["verdicts"])
        told = entry["sentence"].partition("; ")[2] or "-"
        table.add_row(*map(escape, (entry["target"], entry["segment"], was, then, told)))
    if changed:
        show_table(table)
    if len(changed) > MOST:
        typer.echo(f"{len(changed) - MOST} more; write all of them with --out FILE.")
