"""`satchel export`: segments for other tools, or a report as one file or one picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from core.errors import UserError
from dashboard.cli.common import check_asked, mistakes_told, progress_bar, tell, tell_notes
from dashboard.cli.segment import BackgroundOption

if TYPE_CHECKING:
    from core.segments import Segments

ExportForm = Literal["coco", "coco-polygons", "label-maps", "folders"]


def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of `satchel segment`, or masks of any form that is read; with --html or --png a report.",
        ),
    ],
    form: Annotated[
        ExportForm,
        typer.Option(
            "--format", help="What to write; label maps hold no overlaps, polygons no holes (those stay runs)."
        ),
    ] = "coco",
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="COCO: a file; else a folder. Default: masks.json, or masks.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="The data set whose pictures they are of: only those are written, by their names there.",
        ),
    ] = None,
    background: BackgroundOption = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report as one file that needs no server and no network."),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report's answer, tests and pictures as one picture for slides."),
    ] = None,
) -> None:
    """Write segments in a form that other tools read, with their names, scores and where both came from; or a report as
    one HTML file or one picture."""
    if html is not None or png is not None:
        with mistakes_told("Run the same command again."):
            _write_report(source, html, png)
        return
    _write_masks(source, form, out, data, background)


def _write_report(report: Path, html: Path | None, png: Path | None) -> None:
    from core.beforehand import finished_folder
    from core.paths import kind_at, user_path

    folder = user_path(report)
    finished_folder(folder, "report", "satchel report")
    for out in map(user_path, filter(None, (html, png))):
        if kind_at(out, "place to write to") == "folder":
            raise UserError(f"{out} is a folder; name a file to write the report to.")
    from core.runtime.whole_files import whole_file
    from dashboard.report.document import document
    from dashboard.report.finished import open_finished
    from dashboard.report.slide import slide

    opened = open_finished(folder, _colours)
    if html is not None:
        with whole_file(user_path(html)) as part:
            part.write_text(document(opened), encoding="utf-8")
        typer.echo(f"The report is in {user_path(html)}; it opens in any browser.")
    if png is not None:
        with whole_file(user_path(png)) as part:
            part.write_bytes(slide(opened))
        typer.echo(f"The report's answer is in {user_path(png)}.")


def _colours(source: str, names: Iterable[str]) -> Mapping[str, int]:
    """Of segments, as the page of this machine has them."""
    from dashboard.project.data_sets import DataSets, is_demo, segments_of_page
    from dashboard.segment_colours import kept

    return kept(segments_of_page() if is_demo(source) else DataSets().segments_folder(source), names)


def _write_masks(segments: Path, form: ExportForm, out: Path | None, data: str | None, background: bool) -> None:
    out = out or Path("masks.json" if form.startswith("coco") else "masks")
    with mistakes_told("Run the same command again to write all of it."):
        check_asked(data=data, segments=segments)
        from core.data import open_dataset
        from core.paths import kind_at, user_path
        from core.segments.files import holds_store, match, open_segments, write_segments
        from dashboard.words import plural

        out = user_path(out)
        kind = kind_at(out, "place to write to")
        if kind == ("file" if not form.startswith("coco") else "folder"):
            raise UserError(f"{out} is a {kind}; give another place to write to.")
        if holds_store(out) or os.path.realpath(out) == os.path.realpath(segments):
            raise UserError(f"{out} holds segments already; give another place to write to.")
        files = open_segments(segments)
        for note in files.notes:
            tell(note)
        entries = {key: key for key in files}
        if data is not None and not (entries := match([item.id for item in open_dataset(data).items], files)):
            raise UserError(f"No masks in {segments} are of a picture of {data}; check both.")
        written, masks, problems = 0, 0, []
        with progress_bar() as bar:
            task = bar.add_task("writing", total=len(entries))

            def pictures() -> Iterator[tuple[str, Segments]]:
                nonlocal masks, written
                for picture, key in entries.items():
                    bar.advance(task)
                    try:
                        found = files[key].with_background() if background else files[key]
                    except UserError as error:  # costs no other picture
                        problems.append(f"{picture} ({error})")
                        continue
                    written, masks = written + 1, masks + len(found)
                    yield picture, found
                if problems and not written:
                    raise UserError(f"No masks of {segments} could be read; the first is of {problems[0]}.")

            write_segments(out, form, pictures())
        tell_notes(files.noted, files.path.name)
        if problems:
            tell(f"{plural(len(problems), 'picture')} left out; the first is {problems[0]}")
        typer.echo(f"{plural(masks, 'mask')} of {plural(written, 'picture')} written to {out}.")
