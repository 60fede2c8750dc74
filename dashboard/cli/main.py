"""The `satchel` command. What is heavy is imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from dashboard.cli.common import (
    CropOption,
    InterpolationOption,
    LabelsOption,
    MeanOption,
    ModelOption,
    OneLineGroup,
    OutputOption,
    SizeOption,
    StdOption,
    TrainedOption,
    check_asked,
    mistakes_told,
    show_table,
    tell,
)
from dashboard.cli.compare import compare
from dashboard.cli.evaluate import evaluate
from dashboard.cli.explain import explain
from dashboard.cli.export import export
from dashboard.cli.name import name
from dashboard.cli.name_unnamed import name_unnamed
from dashboard.cli.repair import repair
from dashboard.cli.report import report
from dashboard.cli.segment import segment
from dashboard.cli.train import app as train
from dashboard.stated import stated

app = typer.Typer(
    name="satchel",
    cls=OneLineGroup,
    help="See what an image classifier looks at, by name, and test it by removing it.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"satchel {version('satchel')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def satchel(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and end.")
    ] = False,
) -> None:
    """See what an image classifier looks at, by name, and test it by removing it.

    Without a command the page opens on the demo.
    """
    if context.invoked_subcommand is None:
        serve()


@app.command()
def serve(
    model: ModelOption = "demo:biased",
    labels: LabelsOption = None,
    output: OutputOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    size: SizeOption = None,
    crop: CropOption = None,
    interpolation: InterpolationOption = None,
    trained: TrainedOption = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A finished report to show; without it the demo's.")
    ] = None,
    evaluation: Annotated[Path | None, typer.Option(metavar="DIR", help="A finished evaluation to show.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="The data set to begin with; others are chosen on the page.")
    ] = None,
    data_root: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Whose folders are offered as data sets on the page; may be repeated."),
    ] = None,
    segments: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its segments are kept; else in your data folder.")
    ] = None,
    allow: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Whose models and reports may be named on the page; may be repeated."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    share: Annotated[
        bool, typer.Option("--share", help="Make a public link, for a week, to your pictures too.")
    ] = False,
    auth: Annotated[
        str | None,
        typer.Option(metavar="USER:PASSWORD", help="Ask for it; the variable SATCHEL_AUTH keeps it from other users."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name that the page answers to, as a proxy's; may be repeated."),
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="Path or address under which a proxy shows the page.")
    ] = None,
    max_upload: Annotated[
        int, typer.Option(min=1, metavar="MB", help="That one upload may have; a single picture may have 256.")
    ] = 1024,
    model_memory: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="GB", help="That loaded models may take; else a third of the memory, at most 4."),
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Offer predict, explain and report_findings to agents (extra satchel[mcp]).")
    ] = False,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(help="Log every event to standard error, a line each; without it defects only."),
    ] = None,
) -> None:
    """Open the page."""
    with mistakes_told("Run the same command to open the page again."):
        told = {"output": output, "preprocessing": stated(mean, std, size, crop, interpolation)}
        check_asked(model=model, labels=labels, data=data, trained=trained or ())
        _check_finished(report, evaluation)
        from dashboard import log
        from dashboard.app import launch

        with log.written(log_format):
            launch(
                model_spec=model,
                labels=labels,
                stated=told,
                report=report,
                evaluation=evaluation,
                data=data,
                segments=segments,
                allow=allow or (),
                roots=data_root or (),
                host=host,
                port=port,
                open_browser=open_browser,
                share=share,
                auth=auth,
                allow_hosts=allow_host or (),
                root_path=root_path,
                max_upload=max_upload * 2**20,
                model_memory=None if model_memory is None else int(model_memory * 2**30),
                mcp=mcp,
            )


def _check_finished(report: Path | None, evaluation: Path | None) -> None:
    from core.beforehand import finished_folder
    from core.paths import user_path

    for folder, what in ((report, "report"), (evaluation, "evaluation")):
        if folder is not None:
            finished_folder(user_path(folder), what, "satchel report" if what == "report" else "satchel evaluate")


app.command()(explain)
app.command()(segment)
app.command()(name)
app.command()(export)
app.command()(report)
app.command()(evaluate)
app.command()(compare)
app.command()(repair)
app.command()(name_unnamed)
app.add_typer(train)


@app.command("list")
def list_(
    what: Annotated[
        Literal["explainers", "metrics", "models", "segmenters"],
        typer.Argument(help="explainers, metrics, models or segmenters"),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs: every detail as JSON.")] = False,
) -> None:
    """List the explainers, metrics or segmenters with their parameters, or the forms of a model's spec."""
    with mistakes_told("Run the same command again."):
        if what == "explainers":
            entries = explainer_entries()
            rows = [(e["name"], e["summary"], _defaults(e["parameters"])) for e in entries]
            headings = ("name", "what it is", "parameters (defaults)")
        elif what == "metrics":
            entries = metric_entries()
            better = {True: "higher", False: "lower"}
            rows = [
                (e["name"], e["summary"], better[e["higher_is_better"]], _defaults(e["parameters"])) for e in entries
            ]
            headings = ("name", "what it asks", "better", "parameters (defaults)")
        elif what == "segmenters":
            entries = segmenter_entries()
            rows = [(e["name"], e["summary"], ", ".join(e["specs"]), _defaults(e["parameters"])) for e in entries]
            headings = ("name", "what it finds", "specs", "parameters (defaults)")
        else:
            from core.loading import known_models

            entries = known_models()
            rows = [(e["spec"], e["title"], e["needs"]) for e in entries]
            headings = ("spec", "what it is", "needs")
        if as_json:
            typer.echo(json.dumps(entries, indent=2))
        else:
            _table(headings, rows)


def _defaults(parameters: list[dict[str, Any]]) -> str:
    return ", ".join(f"{p['name']}={p['default']}" for p in parameters)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, heading in enumerate(headings):
        table.add_column(heading, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    show_table(table)


def explainer_entries() -> list[dict[str, Any]]:
    """The registry, and captum's where it is installed, as plain values, one dictionary an explainer."""
    from dataclasses import asdict

    from core.explainer import explainers
    from core.explainers.captum_adapter import captum_explainers

    return [
        {
            "name": method.name,
            "title": method.title,
            "summary": method.summary,
            "family": method.family,
            "signed": method.signed,
            "unit": method.unit,
            "class_specific": method.class_specific,
            "needs_weights": method.needs_weights,
            "default": method.default,
            "reported": method.reported,
            "parameters": [asdict(spec) for spec in method.parameters.specs()],
        }
        for method in (*explainers().values(), *captum_explainers().values())
    ]


def metric_entries() -> list[dict[str, Any]]:
    """The registry of metrics as plain values, one dictionary a metric."""
    from dataclasses import asdict

    from core.metrics.metric import metrics

    return [
        {
            "name": metric.name,
            "title": metric.title,
            "summary": metric.summary,
            "family": metric.family,
            "higher_is_better": metric.higher_is_better,
            "reference": metric.reference,
            "needs_mask": metric.needs_mask,
            "usual": metric.usual,
            "slow": metric.slow,
            "parameters": [asdict(spec) for spec in metric.parameters.specs()],
        }
        for metric in metrics().values()
    ]


def segmenter_entries() -> list[dict[str, Any]]:
    """The registry of segmenters as plain values, one dictionary a segmenter."""
    from dataclasses import asdict

    from core.segments.registry import segmenters

    return [
        {
            "name": segmenter.name,
            "title": segmenter.title,
            "summary": segmenter.summary,
            "family": segmenter.family,
            "specs": list(segmenter.specs),
            "parameters": [asdict(spec) for spec in segmenter.parameters.specs()],
        }
        for segmenter in segmenters().values()
    ]


def main() -> None:
    """Entry point of the `satchel` command."""
    import warnings

    from core.plugins import PluginWarning

    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, PluginWarning):
            tell(str(message))
        else:
            usual(message, category, filename, lineno, file, line)

    warnings.showwarning = show  # ty: ignore[invalid-assignment]
    app()
