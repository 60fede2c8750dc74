"""`satchel report`: what a model leans on over a data set, as a folder."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from core.sat import DELTA
from dashboard.cli.common import (
    FOUND,
    CropOption,
    DataArgument,
    DeviceOption,
    EngineOption,
    ExplainerOption,
    InterpolationOption,
    LabelsOption,
    LimitOption,
    MeanOption,
    ModelOption,
    OutputOption,
    PrecisionOption,
    SeedOption,
    SegmentsOption,
    SizeOption,
    StdOption,
    TrainedOption,
    WorkersOption,
    check_asked,
    mistakes_told,
    open_classifier,
    show_stages,
    tell,
)
from dashboard.stated import stated

if TYPE_CHECKING:
    from core.sat.saved_report import Report


def report(
    data: DataArgument,
    model: ModelOption = "demo:biased",
    labels: LabelsOption = None,
    output: OutputOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    size: SizeOption = None,
    crop: CropOption = None,
    interpolation: InterpolationOption = None,
    segments: SegmentsOption = None,
    explainer: ExplainerOption = None,
    trained: TrainedOption = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the report.")] = Path("report"),
    context: Annotated[
        str, typer.Option(metavar="NAME,...", help="Segments that are context: relying on them is a shortcut.")
    ] = "",
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=CLASS,...",
            help="Classes to take together, or a JSON file of such groups; may be repeated.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="Judge apart by a column of manifest.csv, such as hospital; may be repeated."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Explain and test this class on every picture, whatever it says."),
    ] = None,
    stamp: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A patch to paste on pictures (a logo, a tag); may be repeated."),
    ] = None,
    stamp_width: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Part of a picture's width that stamps take up.")
    ] = 0.5,
    check: Annotated[bool, typer.Option(help="Test every segment by removing and transplanting it.")] = True,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    delta: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Smallest effect that matters, in log-odds.",
            show_default=f"{DELTA}, or a tenth of the model's median margin where that is less",
        ),
    ] = None,
    fail_on: Annotated[
        Literal["confirmed"] | None, typer.Option(help="Exit with code 3 if a shortcut is confirmed, for pipelines.")
    ] = None,
    workers: WorkersOption = None,
    engine: EngineOption = "local",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Report over a data set which named segments the model leans on, with tests and verdicts."""
    with mistakes_told(f"Run the same command again to go on where it stopped; what is done is kept in {out}."):
        check_asked(
            model=model,
            labels=labels,
            data=data,
            segments=segments,
            explainers=explainer or (),
            trained=trained or (),
        )
        asked = stated(mean, std, size, crop, interpolation)
        from core.choice import Choice, reported_choices
        from core.data import open_dataset
        from core.loading.groups import read_groups
        from core.sat.batch import label_warning
        from core.sat.redundancy import is_redundant_shortcut
        from core.sat.report import ReportOptions, build_report
        from core.sat.saved_report import open_report
        from core.sat.stamps import Stamp
        from core.sat.verdicts import is_shortcut
        from core.work.engines import engine_named

        groups = read_groups(group or ())
        stamps = tuple(Stamp.read(file, stamp_width) for file in stamp or ())
        chosen = [Choice.parse(text) for text in explainer or ()]
        opened = open_dataset(data, segments=segments, limit=limit, results=[out])
        classifier = open_classifier(model, labels, device, precision, output, asked, groups)
        if not chosen:
            chosen = reported_choices(classifier)
        options = ReportOptions(
            explainers=tuple(chosen),
            check=check,
            seed=seed,
            delta=delta,
            context=tuple(name.strip() for name in context.split(",") if name.strip()),
            stamps=stamps,
            by=tuple(by or ()),
            target=None if target is None else classifier.class_index(target),
        )
        notes = tuple(filter(None, (*classifier.notes, *opened.notes, label_warning(opened, classifier))))
        show_stages(build_report(opened, classifier, out, options, engine_named(engine, workers)), notes)
        finished = open_report(out)
    _summarise(finished, notes)
    redundant = map(is_redundant_shortcut, finished.manifest["redundant"])
    if fail_on == "confirmed" and any((*map(is_shortcut, finished.findings), *redundant)):
        raise typer.Exit(FOUND)


TOLD = 5  # sentences on whole pictures


def _summarise(report: Report, told: Container[str]) -> None:
    """What was noticed and not told before, how many of each verdict, and what is confirmed, said once though every
    explainer's line repeats it.
    """
    from core.sat.verdicts import LEAST_PICTURES
    from dashboard.words import plural

    manifest = report.manifest
    if bare := manifest["without_masks"]:
        tell(f"{bare} of {plural(manifest['pictures'], 'picture')} came without named masks; nothing is said of them.")
    if manifest["problem_count"]:
        first = manifest["problems"][0]
        count = manifest["problem_count"]
        tell(f"{plural(count, 'picture')} left out; the first is {first['image']}: {first['problem']}")
    for sentence in manifest.get("noticed", ()):
        if sentence not in told:
            tell(sentence)
    for sentence in manifest.get("warnings", ()):
        if sentence not in told:
            typer.echo(sentence)
    for verdict, count in manifest["verdicts"].items():
        typer.echo(f"{verdict:<15}{count:>5}")
    if {verdict for verdict, count in manifest["verdicts"].items() if count} == {"too few"}:
        typer.echo(
            f"No class has {LEAST_PICTURES} independent pictures taken for it that show one segment; "
            "take more pictures, or a larger --limit."
        )
    for sentence in dict.fromkeys(f["sentence"] for f in report.findings if f["verdict"] == "confirmed"):
        typer.echo(sentence)
    for entry in manifest.get("pooled", ()):
        if entry["verdict"] in ("confirmed", "speaks against") and (entry["column"] or len(manifest["targets"]) > 1):
            typer.echo(entry["sentence"])
    whole = [entry for entry in manifest["whole"] if entry["verdict"] in ("confirmed", "speaks against")]
    for entry in (*manifest["redundant"], *whole[:TOLD]):
        typer.echo(entry["sentence"])
    for entry in manifest.get("unnamed", ()):
        if entry["verdict"] in ("confirmed", "speaks against"):
            typer.echo(f"{entry['sentence']} Name it: satchel name-unnamed {report.path} --gallery {entry['number']}")
    for entry in manifest.get("stamps", ()):
        typer.echo(entry["sentence"])
    if len(whole) > TOLD:
        typer.echo(f"{len(whole) - TOLD} more of whole pictures stand in the report.")
    typer.echo(f"The report is in {report.path}; look at it with: satchel serve --report {report.path}")
