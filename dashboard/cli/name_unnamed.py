"""`satchel name-unnamed`: a name for what a report found and nobody had named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from core.errors import UserError
from dashboard.cli.common import SegmentsOption, check_asked, mistakes_told, show_stages, tell
from dashboard.cli.segment import KEPT_IN, StoreOption

if TYPE_CHECKING:
    from core.sat.saved_report import Report


def name_unnamed(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A finished report.")],
    gallery: Annotated[
        int | None, typer.Option(min=1, help="Which gallery, by its number; without it they are listed.")
    ] = None,
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="What its pictures show.")] = "",
    kind: Annotated[
        Literal["object", "context", "unset"] | None, typer.Option(help="Whether it is part of the object.")
    ] = None,
    out: StoreOption = KEPT_IN,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="The report's data set; else where the report says it lay.")
    ] = None,
    segments: SegmentsOption = None,
) -> None:
    """Name what a report found and nobody had named; a new report on those segments tests it like any other."""
    with mistakes_told(f"Run the same command again to go on where it stopped; what is done is kept in {out}."):
        check_asked(data=data, segments=segments)
        from core.beforehand import finished_folder
        from core.paths import user_path
        from core.sat.saved_report import open_report

        finished_folder(user_path(report), "report", "satchel report")
        opened = open_report(report)
        if gallery is None:
            _list(opened)
            return
        from core.sat.fed_back import data_of, name_gallery, next_report
        from core.segments.saved.store import Store

        pictures = data_of(opened, data, segments, [out])
        store = Store(out, by="satchel name-unnamed", data=pictures.source)
        show_stages(name_gallery(opened, gallery, name, pictures, store, kind))
        count = opened.areas(gallery)["image"].nunique()
    typer.echo(f"{name.strip()} is named in {count} pictures; the segments are in {store.folder}")
    typer.echo(f"Test it with: {next_report(opened, store.folder)}")


def _list(report: Report) -> None:
    entries = report.manifest.get("unnamed")
    if entries is None:
        raise UserError(f"The report in {report.path} was made by an older Satchel, which did not look; make it again.")
    if not entries:
        typer.echo("No recurring thing draws attention and lies outside of all named segments.")
        return
    for entry in sorted(entries, key=lambda entry: entry["number"]):
        typer.echo(f"{entry['number']}  {entry['verdict']}: {entry['sentence']}")
    tell(f"name one with: satchel name-unnamed {report.path} --gallery N --as NAME --out DIR")
