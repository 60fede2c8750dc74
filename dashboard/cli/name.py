"""`satchel name`: names for every mask of a data set, from a few examples or from a list of words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UserError
from dashboard.cli.common import (
    DataArgument,
    DeviceOption,
    LimitOption,
    PrecisionOption,
    SegmentsOption,
    check_asked,
    loading_bar,
    mistakes_told,
    show_stages,
    tell,
    tell_notes,
    words_of,
)
from dashboard.cli.segment import KEPT_IN, BackgroundOption, StoreOption, tell_problems, tell_where

CLIP = "openai/clip-vit-large-patch14"

if TYPE_CHECKING:
    from core.data import Dataset
    from core.runtime.progress import Progress
    from core.segments.files import SegmentFiles
    from core.segments.naming.descriptions import Encoder
    from core.segments.saved.store import Store


def name(
    data: DataArgument,
    examples: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A few named masks, of any form that is read; names in --out count as well."),
    ] = None,
    segments: SegmentsOption = None,
    encoder: Annotated[
        str, typer.Option(metavar="none|sam:SPEC", help="Whose features tell masks apart, besides colour and shape.")
    ] = "none",
    vocabulary: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD,...", help="Instead of examples: words that a CLIP chooses from, mask by mask."),
    ] = None,
    clip: Annotated[
        str | None, typer.Option(metavar="DIR_OR_ID", help=f"That CLIP: a folder, or its name on the hub ({CLIP}).")
    ] = None,
    background: BackgroundOption = False,
    out: StoreOption = KEPT_IN,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
) -> None:
    """Propose names for all masks without one. Names that people gave are kept; what is unsure gets none."""
    with mistakes_told(f"Run the same command again to go on where it stopped; what is done is kept in {out}."):
        if vocabulary is not None and (examples is not None or encoder != "none"):
            raise UserError(
                "--vocabulary names without examples; leave --examples and --encoder out, or the vocabulary."
            )
        if clip is not None and vocabulary is None:
            raise UserError("--clip needs --vocabulary: the words to choose from.")
        check_asked(data=data, segments=segments)
        check_asked(segments=examples)
        from core.data import limited, open_dataset, strays
        from core.segments.files import match, open_segments
        from core.segments.naming.spread import name_dataset, name_from_words
        from core.segments.saved.store import Store

        whole = open_dataset(data, segments=segments, results=[out])
        notes = list(whole.notes)
        shown, kept = None, []
        if examples is not None:
            shown = open_segments(examples)
            keys = match([item.id for item in whole.items], shown)
            notes += [*shown.notes, *(strays(shown, len(keys), whole) if keys else ())]
            if limit is not None:  # a picture with examples is never one too many
                kept = [picture for picture, key in keys.items() if _shows(shown, key)]
        for note in notes:
            tell(note)
        opened = whole if limit is None else limited(whole, limit, kept)
        if vocabulary is not None:
            from core.segments.naming.vocabulary import open_vocabulary

            words = words_of(vocabulary)
            with loading_bar() as show:
                found = open_vocabulary(clip or CLIP, words, device=device, precision=precision, progress=show)
            store = Store(out, by="satchel name", data=opened.source)
            _run(store, opened, name_from_words(opened, store, found, background=background))
            tell_notes(opened.noted, opened.masks_name)
            return
        features = _encoder(encoder, device, precision)
        store = Store(out, by="satchel name", data=opened.source)
        _run(store, opened, name_dataset(opened, store, shown, features, background=background))
        tell_notes(opened.noted, opened.masks_name)
        if shown is not None:
            tell_notes(shown.noted, shown.path.name)


def _shows(examples: SegmentFiles, key: str) -> bool:
    """Whether a picture's entry has examples, or something is wrong with them that is to be told."""
    try:
        found = examples[key]
    except UserError:
        return True
    return any(found.names) or bool(found.notes)


def _encoder(text: str, device: str, precision: str) -> Encoder | None:
    kind, _, spec = text.partition(":")
    if kind not in ("none", "sam") or (kind == "none" and spec):
        raise UserError(f"There is no encoder {text!r}; it is none, sam, or sam:SPEC such as sam:vit_b.")
    if kind == "none":
        return None
    from core.segments.naming.descriptions import sam_encoder
    from core.segments.sam.checkpoints import COMPACT
    from core.segments.sam.model import open_sam

    with loading_bar() as show:
        return sam_encoder(open_sam(spec or COMPACT, device=device, precision=precision, progress=show))


def _run(store: Store, data: Dataset, work: Iterator[Progress]) -> None:
    before = {picture: line["version"] for picture, line in store.journal.pictures().items()}
    show_stages(work)
    lines = store.journal.pictures()
    own = [lines[item.id] for item in data.items if item.id in lines]
    changed = sum(line["version"] != before.get(line["picture"]) for line in own)
    _summarise(store, data, own, changed)


def _summarise(store: Store, data: Dataset, own: list, changed: int) -> None:
    """How many masks have which kind of name, and where to go on."""
    from dashboard.words import plural

    tell_problems(store, data)
    masks, proposed = (sum(line[key] for line in own) for key in ("masks", "proposed"))
    nameless = sum(line.get("nameless", 0) for line in own)
    named = sum(sum(line["names"].values()) for line in own) - proposed
    unsure = masks - named - proposed - nameless
    pictures = plural(changed, "picture")
    typer.echo(f"{pictures} named now." if changed else "Everything is done already.")
    left = f", {nameless} left without a name" if nameless else ""
    typer.echo(f"{plural(masks, 'mask')} in {plural(len(own), 'picture')}: {named} with a certain name, "
               f"{proposed} with a proposed one, {unsure} unsure{left}.")  # fmt: skip
    waiting = proposed + unsure
    typer.echo(f"{plural(waiting, 'mask')} await{'s' if waiting == 1 else ''} review.")
    tell_where(store, data)
