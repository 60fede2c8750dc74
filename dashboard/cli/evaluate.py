"""`satchel evaluate`: which explainer to trust on a data set, as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboard.cli.common import (
    CropOption,
    DataArgument,
    DeviceOption,
    EngineOption,
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
    show_table,
    tell,
)
from dashboard.stated import stated

if TYPE_CHECKING:
    from core.classifier import Classifier
    from dashboard.evaluate.standing import Standing


def evaluate(
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
    explainers: Annotated[
        list[str] | None,
        typer.Option(
            "--explainers",
            "-e",
            metavar="NAME[:key=value,...],...",
            help="Who is compared; may be repeated. Without it those that are marked as default in "
            "`satchel list explainers --json`.",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAME[:key=value,...],...",
            help="By what; may be repeated. `satchel list metrics` shows them. Without it those that are marked as "
            "usual in `satchel list metrics --json`, and those that need masks where every picture has some.",
        ),
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Another model of the same classes that scores masked pictures."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the evaluation.")] = Path("evaluation"),
    limit: LimitOption = None,
    trained: TrainedOption = None,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    engine: EngineOption = "local",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Compare explainers over a data set by metrics, beside controls that never look at the model."""
    with mistakes_told(f"Run the same command again to go on where it stopped; what is done is kept in {out}."):
        from core.parameters import separated

        named = separated(explainers or ())
        check_asked(model=model, labels=labels, data=data, segments=segments, explainers=named, trained=trained or ())
        if scorer is not None:
            check_asked(model=scorer)
        asked = stated(mean, std, size, crop, interpolation)
        from core.choice import Choice
        from core.data import open_dataset
        from core.evaluation.evaluate import EvaluationOptions, Yardstick
        from core.evaluation.evaluate import evaluate as run
        from core.evaluation.saved_evaluation import open_evaluation
        from core.metrics.metric import usual_metrics
        from core.work.engines import engine_named
        from dashboard.evaluate.standing import Standing

        contenders = [Choice.parse(text) for text in named]
        yardsticks = [Yardstick.parse(text) for text in separated(metrics or ())]
        opened = open_dataset(data, segments=segments, limit=limit, results=[out])
        classifier = open_classifier(model, labels, device, precision, output, asked)
        if not contenders:
            contenders = [Choice.parse(name) for name in _usual_explainers(classifier)]
        if not yardsticks:
            masked = opened.first_without_masks is None
            yardsticks = [Yardstick.parse(metric.name) for metric in usual_metrics(masked)]
        options = EvaluationOptions(
            contenders=tuple(contenders),
            yardsticks=tuple(yardsticks),
            seed=seed,
            scorer=None if scorer is None else open_classifier(scorer, labels, device, precision),
        )
        notes = (*classifier.notes, *opened.notes)
        show_stages(run(opened, classifier, out, options, engine_named(engine, workers)), notes)
        finished = open_evaluation(out)
        for sentence in finished.manifest.get("noticed", ()):
            if sentence not in notes:
                tell(sentence)
        _summarise(Standing(finished))


def _usual_explainers(classifier: Classifier) -> list[str]:
    """Names; who refuses the classifier is told and left out."""
    from core.explainer import explainers

    found = []
    for name, explainer in explainers().items():
        reason = explainer.supports(classifier) if explainer.default else None
        if reason is not None:
            tell(f"{name} is left out: {reason}")
        elif explainer.default:
            found.append(name)
    return found


def _summarise(standing: Standing) -> None:
    """The answer, a table, what to beware of, and where it all is."""
    from dashboard.evaluate.standing import caveat, headline
    from dashboard.words import plural

    manifest = standing.manifest
    if manifest["problem_count"]:
        first, count = manifest["problems"][0], manifest["problem_count"]
        others = "" if count == 1 else f" and {count - 1} more"
        tell(f"{plural(count, 'picture')} left out: {first['image']}{others} ({first['problem']})")
    for sentence in headline(standing):
        typer.echo(sentence)
    _show_table(standing)
    for sentence in filter(None, (*manifest["warnings"], caveat(standing))):
        typer.echo(sentence)
    typer.echo(
        f"Scored by {manifest['scorer']} on {plural(standing.pictures, 'picture')}; * is the best, controls come last."
    )
    path = standing.evaluation.path
    typer.echo(f"The evaluation is in {path}; look at it with: satchel serve --evaluation {path}")


def _show_table(standing: Standing) -> None:
    """Explainers by metrics: the mean, and below it the 95 % interval."""
    from rich.markup import escape
    from rich.table import Table

    from dashboard.evaluate.standing import ARROWS
    from dashboard.words import number

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("explainer", overflow="fold")
    for metric in standing.metrics:
        table.add_column(f"{metric['label']} {ARROWS[metric['higher_is_better']]}", justify="right", overflow="fold")
    table.add_column("samples saturated", justify="right")
    table.add_column("distance to natural spectrum", justify="right")
    for label in standing.ranked:
        cells = []
        for metric in standing.metrics:
            entry = standing.entries[metric["label"], label]
            mean, interval = standing.interval(entry)
            counted = f" n={entry['pictures']}" if entry["undefined"] and entry["pictures"] else ""
            cells.append(f"{mean}{'*' if entry['best'] else ' '}\n{interval}{counted} ")
        cost = standing.entries[standing.metrics[0]["label"], label]
        cells += ["–" if cost[name] is None else number(cost[name], 2) for name in ("saturated", "alignment")]
        table.add_row(*map(escape, (label, *cells)), style="dim" if standing.is_control(label) else None)
    show_table(table)
