"""What the commands share: how mistakes are told, how progress is shown, how options are named."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from core.errors import UserError
from core.runtime.progress import OnProgress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

    from core.classifier import Classifier
    from core.runtime.progress import Progress as StageProgress

MISTAKE, FOUND, INTERRUPTED = 2, 3, 130
"""Exit codes: the user can mend it; `--fail-on` found what it looks for; Ctrl-C."""

MINUTE = 60.0
WIDE = 200  # columns of a table where it goes into a file or a pipe

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A folder of class folders, a folder with manifest.csv, or demo:birds (rendered)."
    ),
]
SegmentsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH", help="Masks: a folder of `satchel segment`, COCO, CVAT, Label Studio, label maps, ..."
    ),
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="At most this many pictures, spread evenly over the data.")
]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", metavar="SPEC", help="The classifier; `satchel list models` shows the forms.")
]
LabelsOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Class names, one a line or as JSON, in the model's order.")
]
OutputOption = Annotated[
    Literal["softmax", "sigmoid"] | None,
    typer.Option(help="softmax: classes exclude each other; sigmoid: each stands on its own. Mostly found out."),
]
MeanOption = Annotated[
    str | None,
    typer.Option(metavar="R,G,B", help="Mean of pictures in [0, 1], or one number; else as the model's own file says."),
]
StdOption = Annotated[
    str | None, typer.Option(metavar="R,G,B", help="Standard deviation of pictures in [0, 1], or one number.")
]
SizeOption = Annotated[
    str | None,
    typer.Option(metavar="N|HxW", help="Pictures are resized to a shorter side of N pixels, or to exactly HxW."),
]
CropOption = Annotated[
    str | None, typer.Option(metavar="N|HxW", help="Then the middle is taken; without it the middle NxN of --size.")
]
InterpolationOption = Annotated[
    Literal["nearest", "bilinear", "bicubic", "lanczos"] | None, typer.Option(help="How pictures are resized.")
]
ExplainerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--explainer",
        "-e",
        metavar="NAME[:key=value,...]",
        help="How to explain; may be repeated. `satchel list explainers` shows them.",
    ),
]
TrainedOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR", help="Folder of trained explainers, besides your own and the shipped ones; may be repeated."
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, same maps.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Processes that share the work; with --engine ray actors, without it one a device."
    ),
]
EngineOption = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where the work is done: on this machine, or on a Ray cluster (extra satchel[ray])."),
]
PrecisionOption = Annotated[str, typer.Option(help="Of the passes: auto, float32 or bfloat16.")]


def words_of(texts: Iterable[str]) -> list[str]:
    """The words of an option that may be given several times, each time with commas between words."""
    return [word.strip() for text in texts for word in text.split(",")]


def tell(sentence: str) -> None:
    """One line on standard error."""
    typer.echo(f"satchel: {' '.join(sentence.split())}", err=True)


def tell_notes(noted: Mapping[str, Sequence[str]], where: str) -> None:
    """What was left out of or changed in masks as they were read, a line a kind of note; nothing if nothing was.

    Args:
        noted: picture -> its notes.
    """
    from core.sat.noticed import summed

    for sentence in summed((picture, note) for picture, notes in noted.items() for note in notes):
        tell(f"Masks in {where}: {sentence}")


class OneLineGroup(TyperGroup):
    """Commands whose wrong usage is told in one line, as every other mistake is."""

    def main(self, *args: Any, standalone_mode: bool = True, **given: Any) -> Any:
        try:
            code = super().main(*args, standalone_mode=False, **given)
        except Exception as error:
            # typer carries a click of its own and exports none of the base classes of what that raises
            message = getattr(error, "format_message", None)
            if not standalone_mode or message is None:
                raise
            context = getattr(error, "ctx", None)
            told = message().strip().replace("Value error, ", "")
            stop = "" if told.endswith((".", "?")) else "."
            tell(f"{told}{stop} See `{context.command_path if context else 'satchel'} --help`.")
            raise SystemExit(MISTAKE) from error
        if standalone_mode:
            raise SystemExit(code if isinstance(code, int) else 0)
        return code


@contextmanager
def mistakes_told(resume: str) -> Generator[None]:
    """A user's mistake becomes one line and exit code 2; Ctrl-C becomes exit code 130 and how to go on."""
    try:
        yield
    except UserError as error:
        tell(str(error))
        raise typer.Exit(MISTAKE) from error
    except KeyboardInterrupt as error:
        tell(f"Stopped. {resume}")
        raise typer.Exit(INTERRUPTED) from error


def progress_bar(counted: bool = True) -> Progress:
    """Bars on standard error; nothing at all where that is a file or a pipe."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    amount = MofNCompleteColumn() if counted else TaskProgressColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def show_table(table: Table) -> None:
    """On standard output, as wide as the terminal is."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)


def show_stages(
    work: Iterator[StageProgress], notes: Iterable[str] = (), clock: Callable[[], float] = monotonic
) -> None:
    """Run the work with one bar a stage; where no bar can be seen, with a line a minute.

    Args:
        notes: told after the first step: a mistake that is found before it stays one line.
    """
    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}
        told = clock()
        for progress in work:
            for note in notes if not tasks else ():
                tell(note)
            if progress.stage not in tasks:
                tasks[progress.stage] = bar.add_task(progress.stage, total=progress.total)
            bar.update(tasks[progress.stage], completed=progress.done, total=progress.total)
            if bar.disable and clock() - told >= MINUTE:
                tell(f"{progress.stage} {progress.done:,} of {progress.total:,}")
                told = clock()


@contextmanager
def loading_bar() -> Generator[OnProgress]:
    """A bar for weights that are fetched: what to call with (fraction in [0, 1], text)."""
    with progress_bar(counted=False) as bar:
        tasks: list[TaskID] = []

        def show(part: float, what: str) -> None:
            if not tasks:
                tasks.append(bar.add_task(what, total=1.0))
            bar.update(tasks[0], description=what, completed=part)

        yield show


def check_asked(
    *,
    model: str | None = None,
    labels: str | Path | None = None,
    data: str | None = None,
    segments: str | Path | None = None,
    explainers: Iterable[str] = (),
    cutters: Iterable[str | None] = (),
    trained: Iterable[Path] = (),
) -> None:
    """What can be known to be wrong at once, before torch is imported.

    Args:
        cutters: specs of segmenters' models, NAME[@FILE].
        trained: folders of trained explainers, in which this process, and those it starts, look from now on.

    Raises:
        UserError: a file or folder is not there, or the text of a spec is none.
    """
    from core.beforehand import PREFIXES, data_folder, masks_place
    from core.learning import VARIABLE
    from core.loading.specs import check_file, check_model, labels_file
    from core.parameters import named_options
    from core.paths import existing_folder, user_path

    for text in explainers:
        named_options(text, PREFIXES)
    folders = [str(existing_folder(user_path(one), "folder of trained explainers")) for one in trained]
    if folders:
        os.environ[VARIABLE] = os.pathsep.join([*folders, *filter(None, [os.environ.get(VARIABLE)])])
    if data is not None:
        data_folder(data)
    if segments is not None:
        masks_place(segments)
    for spec in filter(None, cutters):
        check_file(spec, spec)
    if model is not None:
        check_model(model)
    if labels is not None:
        labels_file(labels)


def open_classifier(
    model: str,
    labels: Path | None,
    device: str,
    precision: str,
    output: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Classifier:
    """Load the model, with a bar where its weights are downloaded.

    Raises:
        UserError: the spec, its file, its labels or what is stated of it do not fit.
    """
    from core.loading import load_classifier

    with loading_bar() as show:
        return load_classifier(
            model,
            labels=labels,
            device=device,
            precision=precision,
            progress=show,
            allow_python=True,
            output=output,
            preprocessing=preprocessing,
            groups=groups,
        )
