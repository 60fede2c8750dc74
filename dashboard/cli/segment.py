"""`satchel segment`: cut every picture of a data set, as a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UserError
from dashboard.cli.common import (
    DataArgument,
    DeviceOption,
    LimitOption,
    PrecisionOption,
    check_asked,
    loading_bar,
    mistakes_told,
    show_stages,
    tell,
    words_of,
)

if TYPE_CHECKING:
    from core.data import Dataset
    from core.parameters import Parameters
    from core.segments.registry import Segmenter
    from core.segments.saved.store import Store

StoreOption = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder for the segments; what is there is gone on with.")
]
BackgroundOption = Annotated[
    bool,
    typer.Option("--background", help="One more segment a picture, background: everything that no named mask covers."),
]
KEPT_IN = Path("segments")


def segment(
    data: DataArgument,
    sam: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Everything that a SAM finds: compact, vit_b, vit_l, vit_h, or NAME@FILE."),
    ] = None,
    semantic: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="A model's own categories: deeplabv3_resnet50, ..., or NAME@FILE."),
    ] = None,
    superpixels: Annotated[bool, typer.Option("--superpixels", help="Regions of similar colour, without names.")] = (
        False
    ),
    concepts: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD,...", help="Whatever these words mean, found by a model that reads them."),
    ] = None,
    model_of_concepts: Annotated[
        str | None,
        typer.Option(metavar="DIR_OR_ID", help="That model: CLIPSeg, Grounding DINO (cuts with --sam) or SAM 3."),
    ] = None,
    segmenter: Annotated[
        str | None,
        typer.Option(metavar="NAME[:SPEC]", help="Any of `satchel list segmenters`, with its model after the colon."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Category names of --semantic NAME@FILE, one a line or as JSON.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="key=value,...", help="The segmenter's parameters; `satchel list segmenters` shows them."
        ),
    ] = None,
    out: StoreOption = KEPT_IN,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Cut every picture into segments. A run that was stopped goes on; names that people gave are kept."""
    with mistakes_told(f"Run the same command again to go on where it stopped; what is done is kept in {out}."):
        text, options = chosen(sam, semantic, superpixels, concepts, model_of_concepts, labels, segmenter)
        check_asked(data=data, labels=labels, cutters=(sam, semantic, segmenter))
        from core.data import open_dataset
        from core.segments.naming.spread import segment_dataset
        from core.segments.registry import Cutting, get_segmenter
        from core.segments.saved.store import Store

        opened = open_dataset(data, limit=limit, results=[out])
        with loading_bar() as show:
            cutter = get_segmenter(text, device=device, precision=precision, progress=show, **options)
            if "sam" in options and "sam" not in cutter.settings():
                raise UserError(f"{cutter.title} cuts by itself; leave --sam out.")
            parameters = parsed(cutter, settings or ())
            signature = cutter.signature(parameters)
            store = Store(out, by="satchel segment", data=opened.source)
            before = done_by(store, opened, signature)
            if before < len(opened):
                cutter.load()
        cutting = Cutting(cutter, parameters)
        show_stages(segment_dataset(opened, store, cutting, signature), opened.notes)
        _summarise(store, opened, cutter, signature, before)
        for note in cutting.notes:
            typer.echo(note)


def chosen(
    sam: str | None,
    semantic: str | None,
    superpixels: bool,
    concepts: Sequence[str] | None,
    model_of_concepts: str | None,
    labels: Path | None,
    segmenter: str | None = None,
) -> tuple[str, dict[str, Any]]:
    """What `get_segmenter` takes: the text, and the options that go with it.

    Raises:
        UserError: not exactly one segmenter, or an option of another one.
    """
    ways = {
        "--semantic": semantic is not None,
        "--superpixels": superpixels,
        "--concepts": concepts is not None,
        # beside --concepts it names the SAM that cuts out what was found
        "--sam": sam is not None and concepts is None,
        "--segmenter": segmenter is not None,
    }
    given = [option for option, there in ways.items() if there]
    if len(given) != 1:
        found = f"not {' and '.join(given)} together" if given else "and nothing was given"
        raise UserError(f"How to cut is one of --sam, --semantic, --superpixels, --concepts and --segmenter, {found}.")
    if model_of_concepts is not None and concepts is None:
        raise UserError("--model-of-concepts needs --concepts: the words to look for.")
    if labels is not None and semantic is None and segmenter is None:
        raise UserError("--labels names the categories of --semantic NAME@FILE; leave it out here.")
    if segmenter is not None:
        return segmenter, {} if labels is None else {"labels": labels}
    if concepts is not None:
        words = words_of(concepts)
        return f"concepts:{model_of_concepts or ''}", {"concepts": words, **({} if sam is None else {"sam": sam})}
    if semantic is not None:
        return f"semantic:{semantic}", {"labels": labels}
    return ("superpixels", {}) if superpixels else (f"sam:{sam}", {})


def parsed(segmenter: Segmenter, settings: Sequence[str]) -> Parameters:
    """A segmenter's parameters from the values of `--set`.

    Raises:
        UserError: an unknown name or a bad value.
    """
    from core.parameters import parse_named

    return parse_named(f"{segmenter.name}:{','.join(settings)}", lambda _: segmenter)[1]


def done_by(store: Store, data: Dataset, signature: str) -> int:
    """How many pictures of a data set were cut last in just this way."""
    lines = store.journal.pictures()
    return sum(item.id in lines and lines[item.id]["made_by"].get("segmenter") == signature for item in data.items)


def tell_problems(store: Store, data: Dataset) -> None:
    """One line about the pictures that were left out, if any were."""
    from dashboard.words import plural

    problems = store.journal.problems()
    found = [item.id for item in data.items if item.id in problems]
    if found:
        others = "" if len(found) == 1 else f" and {len(found) - 1} more"
        tell(f"{plural(len(found), 'picture')} left out: {found[0]}{others} ({problems[found[0]]})")


def _summarise(store: Store, data: Dataset, segmenter: Segmenter, signature: str, before: int) -> None:
    from dashboard.words import plural

    tell_problems(store, data)
    lines = store.journal.pictures()
    own = [lines[item.id] for item in data.items if item.id in lines]
    done = done_by(store, data, signature)
    problems = store.journal.problems()
    kept = sum(line["made_by"].get("segmenter") != signature and line["picture"] not in problems for line in own)
    typer.echo(f"Cut by {signature}")
    masks = plural(sum(line["masks"] for line in own), "mask")
    if before == len(data):
        typer.echo(f"Everything is done already: {plural(before, 'picture')} with {masks}.")
    else:
        typer.echo(f"{plural(done - before, 'picture')} cut, {before} done before; {masks} in all.")
    if kept:
        typer.echo(f"{plural(kept, 'picture')} not cut again: people have named their masks.")
    if segmenter.family == "unnamed":
        typer.echo(f"They are in {store.folder}, without names; name some of them, and spread that with: "
                   f"satchel name {data.source} --examples FILE --out {store.folder}")  # fmt: skip
    else:
        tell_where(store, data)


def tell_where(store: Store, data: Dataset) -> None:
    """Where the segments are, and what they are for."""
    typer.echo(f"The segments are in {store.folder}; see which of them a model leans on with: "
               f"satchel report {data.source} --segments {store.folder}")  # fmt: skip
