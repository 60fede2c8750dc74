"""`satchel explain`: maps of single pictures, as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UserError
from dashboard.cli.common import (
    MISTAKE,
    CropOption,
    DeviceOption,
    ExplainerOption,
    InterpolationOption,
    LabelsOption,
    MeanOption,
    ModelOption,
    OutputOption,
    PrecisionOption,
    SeedOption,
    SizeOption,
    StdOption,
    TrainedOption,
    check_asked,
    mistakes_told,
    open_classifier,
    progress_bar,
    tell,
)
from dashboard.stated import stated

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.choice import Choice
    from core.classifier import Classifier
    from core.explainer import BoundExplainer
    from core.export import MapFolder


def explain(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Picture files.")],
    model: ModelOption = "demo:biased",
    labels: LabelsOption = None,
    output: OutputOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    size: SizeOption = None,
    crop: CropOption = None,
    interpolation: InterpolationOption = None,
    explainer: ExplainerOption = None,
    trained: TrainedOption = None,
    target: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Class to explain; without it, each picture's predicted one.")
    ] = None,
    contrast: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Class to explain against: why the target and not this.")
    ] = None,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the maps.")] = Path("maps"),
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Explain pictures: an overlay (PNG), raw values (.npy) a map, and attribution.json with what they are."""
    with mistakes_told(f"Run the same command again for all maps; those made so far, if any, are in {out}."):
        check_asked(model=model, labels=labels, explainers=explainer or (), trained=trained or ())
        pictures = list(dict.fromkeys(pictures))  # named twice, as overlapping patterns do, is explained once
        if not _any_there(pictures):
            raise typer.Exit(MISTAKE)
        asked = stated(mean, std, size, crop, interpolation)
        from core.choice import Choice, default_choices
        from core.export import MapFolder
        from dashboard.words import plural

        chosen = [Choice.parse(text) for text in explainer or ()]
        folder = MapFolder(out)
        classifier = open_classifier(model, labels, device, precision, output, asked)
        for note in classifier.notes:
            tell(note)
        if not chosen:
            chosen = default_choices(classifier)
        bound = [(choice, choice.bind(classifier)) for choice in chosen]
        wanted = None if target is None else classifier.class_index(target)
        against = None if contrast is None else classifier.class_index(contrast)
        if wanted is not None and wanted == against:
            raise UserError("--target and --contrast are the same class; choose another class to explain against.")
        failed = 0
        with progress_bar() as bar:
            task = bar.add_task("", total=len(pictures) * len(bound))
            for number, path in enumerate(pictures, start=1):
                bar.update(task, description=path.name, completed=(number - 1) * len(bound))
                try:
                    line, problems = _explain_one(
                        path, classifier, bound, wanted, against, seed, folder, lambda: bar.advance(task)
                    )
                except UserError as error:
                    failed += 1
                    tell(_about(path.name, str(error)))
                else:
                    failed += len(problems)
                    for problem in problems:
                        tell(_about(path.name, problem))
                    if line:
                        typer.echo(line)
        if folder.records:
            typer.echo(f"{folder.finish()} lists {plural(len(folder.records), 'map')}.")
        if failed:
            raise typer.Exit(MISTAKE)


def _any_there(pictures: list[Path]) -> bool:
    """Whether there is a file for one of them at least; if not, why not is told of each."""
    from core.beforehand import picture_file
    from core.paths import user_path

    told: list[str] = []
    for path in pictures:
        try:
            picture_file(user_path(path))
            return True
        except UserError as error:
            told.append(_about(path.name, str(error)))
    for line in told:
        tell(line)
    return False


def _explain_one(
    path: Path,
    classifier: Classifier,
    bound: list[tuple[Choice, BoundExplainer]],
    wanted: int | None,
    against: int | None,
    seed: int,
    folder: MapFolder,
    step: Callable[[], object],
) -> tuple[str, list[str]]:
    """Write all maps of one picture; returns one line that says what the model sees in it, and what went wrong."""
    from core.images import read_picture
    from core.overlays import drawing
    from core.paths import user_path
    from core.runtime.randomness import picture_seeds
    from dashboard.explain.convergence import remark
    from dashboard.words import plural

    notes: list[str] = []
    problems: list[str] = []
    picture = read_picture(user_path(path))
    if picture.notes:
        tell(f"{path.name}: {' '.join(picture.notes)}")
    prepared = classifier.prepare(picture)
    images = prepared.tensor.unsqueeze(0)
    predictions = classifier.predict(images, k=len(classifier.labels))[0]
    target = predictions[0].index if wanted is None else wanted
    probability = next(p.probability for p in predictions if p.index == target)
    contrasts = None if against is None else [against]
    seeds = picture_seeds(seed, images)
    for choice, explainer in bound:
        try:
            (attribution,) = explainer.explain(images, [target], contrasts=contrasts, seeds=seeds)
        except UserError as error:
            problems.append(f"{choice.label}: {error}")
            continue
        drawn = drawing(picture, attribution, prepared.geometry)
        folder.add(str(path), attribution, classifier, probability, choice, seed, drawn, picture.notes)
        if (words := remark(attribution)) is not None:
            notes.append(f"; {choice.label} {words}")
        step()
    top, made = predictions[0], len(bound) - len(problems)
    maps = f"{plural(made, 'map')} of {classifier.labels[target]}"
    return (f"{path}: {top.label} {top.probability:.2f}, {maps}{''.join(notes)}" if made else ""), problems


def _about(name: str, problem: str) -> str:
    """The problem with the picture's name in front, where it does not say it."""
    return problem if name in problem else f"{name}: {problem}"
