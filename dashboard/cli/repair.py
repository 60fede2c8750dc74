"""`satchel repair`: pictures without a shortcut, a model re-fit on them, and whether the report clears it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboard.cli.common import (
    DeviceOption,
    EngineOption,
    LabelsOption,
    PrecisionOption,
    SeedOption,
    SegmentsOption,
    WorkersOption,
    check_asked,
    mistakes_told,
    open_classifier,
    show_stages,
    tell,
)

if TYPE_CHECKING:
    from core.repair.faults import Fault
    from core.repair.repair import Outcome


def repair(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A finished report.")],
    finding: Annotated[
        int | None, typer.Option(min=1, help="Which finding, by its number; without it they are listed.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for pictures, model and report.")] = Path("repair"),
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="The report's data set; else where the report says it lay.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="SPEC", help="The report's model; else as the report says.")
    ] = None,
    labels: LabelsOption = None,
    segments: SegmentsOption = None,
    learn: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Pictures to learn from, with masks; else half of the data, judged on the other half."
        ),
    ] = None,
    copies: Annotated[int, typer.Option(min=1, max=100, help="Changed pictures of each picture.")] = 3,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    engine: EngineOption = "local",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Repair what a report found: remove the segment where it is, paste it where it is not, learn from both."""
    with mistakes_told(f"Run the same command again to go on where it stopped; what is done is kept in {out}."):
        check_asked(model=model, labels=labels, data=data, segments=segments)
        if learn is not None:
            check_asked(data=learn)
        from core.beforehand import finished_folder
        from core.paths import user_path
        from core.repair.faults import chosen_fault, faults
        from core.sat.saved_report import open_report

        finished_folder(user_path(report), "report", "satchel report")
        opened = open_report(report)
        if finding is None:
            _list(faults(opened), report)
            return
        fault = chosen_fault(opened, finding)
        from core.data import open_dataset
        from core.repair.repair import open_repair
        from core.repair.repair import repair as repaired
        from core.sat.fed_back import data_of
        from core.work.engines import engine_named

        made = opened.made_from
        classifier = open_classifier(
            model or made["model"], labels or made["labels"], device, precision, made["output"], made["preprocessing"],
            made["groups"],
        )  # fmt: skip
        pictures = data_of(opened, data, segments, [out])
        lessons = None if learn is None else open_dataset(learn, results=[out])
        work = repaired(
            opened, fault, pictures, classifier, out,
            learn=lessons, copies=copies, seed=seed, engine=engine_named(engine, workers),
        )  # fmt: skip
        show_stages(work, classifier.notes)
        _tell(open_repair(out), fault, report, out)


def _list(found: list[Fault], report: Path) -> None:
    from core.repair.faults import listed

    if not found:
        typer.echo("The report confirms reliance on nothing but objects; nothing is to repair.")
        return
    for line in listed(found):
        typer.echo(line)
    tell(f"repair one with: satchel repair {report} --finding N --out DIR")


def _tell(found: Outcome, fault: Fault, report: Path, out: Path) -> None:
    typer.echo(f"{found.learned:,} pictures were changed in their {fault.name}; they are a data set: {out}")
    if found.model is None:
        tell(found.why)
        return
    for kind, (before, after, gained) in found.accuracy.items():
        typer.echo(
            f"right on {found.held_out:,} held-out pictures, {kind}: {before:.1%} before, {after:.1%} after "
            f"({100 * gained.estimate:+.1f} points [{100 * gained.low:+.1f}, {100 * gained.high:+.1f}])"
        )
    typer.echo(f"The repaired model: {found.model}")
    typer.echo(f"What changed in its report: satchel compare {report} {out / 'report'}")
