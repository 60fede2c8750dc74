"""`satchel train`: explainers that learn beside a classifier."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from core.learning import OPTIONS
from dashboard.cli.common import (
    CropOption,
    DeviceOption,
    InterpolationOption,
    LabelsOption,
    LimitOption,
    MeanOption,
    ModelOption,
    OneLineGroup,
    OutputOption,
    PrecisionOption,
    SegmentsOption,
    SizeOption,
    StdOption,
    check_asked,
    mistakes_told,
    open_classifier,
    progress_bar,
    tell,
)
from dashboard.stated import stated
from dashboard.words import duration

if TYPE_CHECKING:
    from core.parameters import Parameters
    from core.training.loop import Training

DataOption = Annotated[
    str, typer.Option(metavar="DATA", help="Pictures to learn from: a folder, or demo:birds; labels are not needed.")
]

app = typer.Typer(name="train", cls=OneLineGroup, help="Train an explainer of a classifier.", no_args_is_help=True)


def with_options(of: type[Parameters]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: the command takes an option for each parameter, and is called with them in a dictionary `options`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        names = {}
        added = []
        for spec in of.specs():
            names[spec.name] = spec
            kind: Any = {"int": int, "float": float, "bool": bool}.get(spec.kind) or Literal[spec.choices]  # ty: ignore[invalid-type-form]
            bounds: dict[str, Any] = {} if spec.kind in ("bool", "choice") else {"min": spec.low, "max": spec.high}
            annotation = Annotated[kind, typer.Option(help=f"{spec.help}.", **bounds)]
            added.append(
                inspect.Parameter(
                    spec.name, inspect.Parameter.KEYWORD_ONLY, default=spec.default, annotation=annotation
                )
            )

        def run(**given: Any) -> None:
            command(**{name: value for name, value in given.items() if name not in names},
                    options={name: value for name, value in given.items() if name in names})  # fmt: skip

        kept = [parameter for parameter in own.parameters.values() if parameter.name != "options"]
        taken = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in kept]
        run.__signature__ = inspect.Signature([*taken, *added])  # ty: ignore[missing-attribute]
        run.__annotations__ = {p.name: p.annotation for p in (*taken, *added)}
        run.__doc__ = command.__doc__
        run.__name__ = getattr(command, "__name__", "train")
        return run

    return decorate


def _command(kind: str, what: str) -> None:
    """Add `satchel train KIND`."""

    def train(
        data: DataOption,
        model: ModelOption = "demo:biased",
        labels: LabelsOption = None,
        output: OutputOption = None,
        mean: MeanOption = None,
        std: StdOption = None,
        size: SizeOption = None,
        crop: CropOption = None,
        interpolation: InterpolationOption = None,
        segments: SegmentsOption = None,
        out: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="The .safetensors file; else where Satchel finds it by itself."),
        ] = None,
        fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, whatever was trained before.")] = False,
        card: Annotated[
            bool, typer.Option(help="Measure at the end how faithful it is, beside other explainers.")
        ] = True,
        limit: LimitOption = None,
        device: DeviceOption = "auto",
        precision: PrecisionOption = "auto",
        options: dict[str, Any] | None = None,
    ) -> None:
        place = out or "your data folder"
        with mistakes_told(f"Run the same command again to go on where it stopped; checkpoints are beside {place}."):
            check_asked(model=model, labels=labels, data=data, segments=segments)
            chosen = OPTIONS[kind].parse(options or {})
            chosen.check()
            asked = stated(mean, std, size, crop, interpolation)
            from core.data import open_dataset
            from core.training import together

            opened = open_dataset(data, segments=segments, limit=limit)
            classifier = open_classifier(model, labels, together.device_for(device), precision, output, asked)
            for note in (*classifier.notes, *opened.notes) if together.is_first() else ():
                tell(note)
            file = _trained(classifier, opened, chosen, out, fresh=fresh, card=card)
        if not together.is_first():
            return  # one of several processes speaks
        from core.explainers.learned.files import about_trained

        for line in card_lines(about_trained(file).card):
            typer.echo(line)
        typer.echo(f"The explainer is in {file}; use it with: --explainer {kind}@{file}")

    train.__doc__ = what
    app.command(kind)(with_options(OPTIONS[kind])(train))


_command("salvage", "Train a Salvage explainer: one pass then tells what each part of a picture adds to each class.")
_command("masking", "Train a masking model: one pass then marks what the model needs to keep its answer.")


def _trained(classifier: Any, data: Any, options: Any, out: Path | None, *, fresh: bool, card: bool) -> Path:
    """Train with a bar, and a line at the end of every epoch."""
    from core.training import together
    from core.training.start import started

    with progress_bar() as bar:
        task = bar.add_task("reading pictures", total=len(data))
        steps = started(
            classifier, data, options, out, fresh=fresh, card=card,
            reading=lambda done, total: bar.update(task, completed=done, total=total),
            each=lambda what: bar.update(task, description=what),
        )  # fmt: skip
        told: list[str] = []
        seen = 0
        while True:
            try:
                state = next(steps)
            except StopIteration as finished:
                return finished.value
            if not together.is_first():
                continue
            for note in state.notes:
                if note not in told:
                    told.append(note)
                    tell(note)
            bar.update(task, description=_doing(state), completed=state.step, total=state.steps)
            for point in state.points[seen:]:
                typer.echo(_line(point))
            seen = len(state.points)


def _doing(state: Training) -> str:
    left = "" if state.left is None else f", {duration(state.left)} left"
    return f"{state.stage}{left}"


def _line(point: Any) -> str:
    drawn = ""
    if point.low is not None:
        drawn = f", subsets {point.low:.0%} unlikely, {point.middle:.0%} between, {point.high:.0%} likely"
    if point.area is not None:
        drawn = f", masks {point.area:.0%}, class kept {point.inside:.0%}, left outside {point.outside:.0%}"
    return f"{point.stage:<10} step {point.step:>6}  loss {point.loss:.4f}, held out {point.held_out:.4f}{drawn}"


def card_lines(card: Mapping[str, Any]) -> list[str]:
    """The results card for a terminal."""
    lines = []
    for name, scores in card.get("faithfulness", {}).items():
        told = [f"{metric} {value:.3f} ({scorer})" for metric in ("insertion", "deletion")
                for scorer, value in scores[metric].items()]  # fmt: skip
        lines.append(f"{name:<24} {', '.join(told)}, {scores['passes']:g} passes a picture")
    for name, own in card.get("masks", {}).items():
        if name == "area":
            lines.append(f"masks are {own:.0%} of the picture")
        else:
            lines.append(
                f"the {name}'s answer: kept by {own['kept']:.0%} of masked-in, {own['lost']:.0%} of masked-out"
            )
    for name, own in card.get("boxes", {}).items():
        lines.append(f"{name:<24} localisation error {own['localisation-error']:.3f}, F1 {own['box-f1']:.3f}")
    if subsets := card.get("subsets"):
        lines.append(f"held-out subsets: KL {subsets['kl']:.4f}, Brier {subsets['brier']:.4f}")
    if own := card.get("classifier"):
        known = (
            ""
            if own["accuracy"] is None
            else (
                f"accuracy {own['own_accuracy']:.3f} beside the classifier's {own['accuracy']:.3f}, calibration error "
                f"{own['own_calibration_error']:.3f} beside {own['calibration_error']:.3f}, "
            )
        )
        lines.append(f"as a classifier: {known}agreement {own['agreement']:.3f}")
    return lines
