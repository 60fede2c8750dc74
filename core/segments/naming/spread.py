"""A whole data set at a time: cut every picture, or name every mask from examples. Both go on where they stopped.

Nothing a person did is overwritten: pictures with names that were typed or accepted are not cut again, masks with names
that came from files stay beside a new cut, and only masks without a name, or with one that is merely proposed, get a
(new) proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from core.errors import UserError
from core.images import Picture
from core.runtime.progress import Progress
from core.runtime.versions import WriteError
from core.segments.edits import recut
from core.segments.files import match
from core.segments.files.upright import upright
from core.segments.naming.descriptions import Descriptions, Encoder
from core.segments.naming.namer import POOL, UNSURE, Beliefs, Described, Namer
from core.segments.saved.records import BY_PEOPLE, Record, mask_key
from core.segments.saved.store import StaleError, Store
from core.segments.segments import Segment, Segments, check_size, default_kind

if TYPE_CHECKING:
    from core.data import Dataset, Item
    from core.segments.naming.vocabulary import Vocabulary

#: Names that count as examples.
EXAMPLES = (*BY_PEOPLE, "file")
# pictures whose masks teach how masks vary; example masks that are used at most
POOL_PICTURES, MOST_EXAMPLES = 200, 2000
# a mask of an example picture that covers an example mask this well has its name
SAME_MASK = 0.75
TRIES = 5

Shown = Mapping[str, Callable[[], Segments]]  # picture's id -> reads what is shown as its examples
Part = tuple[str, np.ndarray, tuple[str, ...]]  # a picture's id, the rows of masks of it, and their names


def segment_dataset(
    data: Dataset, store: Store, segmenter: Callable[[Picture], Segments], signature: str
) -> Iterator[Progress]:
    """Cut every picture into segments and save them, one at a time.

    Pictures with names by people are left as they are. Masks with names from files, in the store or of the data set
    itself, stay; new ones that are about the same are left out.

    Args:
        signature: what the segmenter is with all its parameters; pictures that carry it are done already.

    Raises:
        UserError: not one picture could be cut, or the store cannot be written to. A single picture that fails is
            noted in the store's journal and left out.
    """
    done = 0
    for index, item in enumerate(data.items, 1):
        if _made_by(store, item.id, "segmenter") == signature:
            done += 1
        else:
            done += _attempt(store, item, partial(_cut, item, store, segmenter, signature))
        yield Progress("segmenting", index, len(data))
    if not done:
        raise _nothing(store, data, "could be cut")


def name_dataset(
    data: Dataset,
    store: Store,
    examples: Mapping[str, Segments] | None = None,
    encoder: Encoder | None = None,
    *,
    background: bool = False,
) -> Iterator[Progress]:
    """Propose a name for every mask that has none, learned from examples, and save the proposals.

    Masks are those in the store, else those that come with the data set.

    Args:
        examples: picture -> segments, of which the named ones are examples (such as `open_segments` gives them); those
            of pictures that the data set does not have are left out. All names in the store and the data set that were
            typed, accepted or came from a file are examples as well, but not for the same pictures. Where a mask of the
            picture is about the same as an example, it takes the name for certain.
        encoder: features to tell masks apart by, if any.
        background: whether each picture gets one more segment, of all that no named one covers.

    Raises:
        UserError: no examples, no masks, no example of any picture that is there, or the store cannot be written to.
    """
    shown = _by_picture(data, examples) if examples is not None else {}
    descriptions = Descriptions(store.folder / "descriptions", encoder or Encoder())
    spreading = _Spreading(store, descriptions, shown)
    step, failed = max(1, len(data) // POOL_PICTURES), set()
    for index, item in enumerate(data.items):
        if not _attempt(store, item, partial(spreading.look_at, item, teaches=index % step == 0)):
            failed.add(item.id)
        yield Progress("describing", index + 1, len(data))
    if not spreading.pictures:
        raise _nothing(store, data, "has masks; cut them first")
    if not spreading.examples and (problem := _problem_of(store, shown, failed)):
        raise UserError(f"No example can be used ({problem}).")
    yield from _propose(data, store, descriptions, spreading.namer(), shown, background)


def name_from_words(
    data: Dataset, store: Store, vocabulary: Vocabulary, *, background: bool = False
) -> Iterator[Progress]:
    """Propose one of the words for every mask that has no name, without any example, and save the proposals.

    Args:
        background: as of `name_dataset`.

    Raises:
        UserError: no masks, or the store cannot be written to.
    """
    descriptions = Descriptions(store.folder / "descriptions", vocabulary.crops)
    yield from _propose(data, store, descriptions, vocabulary, {}, background)
    lines = store.journal.pictures()
    if not any(item.id in lines and lines[item.id]["masks"] for item in data.items):
        raise _nothing(store, data, "has masks; cut them first")


def current(item: Item, store: Store) -> tuple[Record | None, Segments | None]:
    """What was saved of a picture, and its segments: the saved ones, else those that come with the data set.

    Their names have the kinds that were chosen for them in the store.
    """
    record = store.load(item.id)
    if record is not None:
        return record, record.segments
    own = item.segments()
    return None, None if own is None else store.with_kinds(own)


def certain_name(segment: Segment) -> str:
    """Its name, unless that is only proposed."""
    return "" if segment.naming == "proposed" else segment.name


def with_proposals(segments: Segments, beliefs: Beliefs, nameless: frozenset[str]) -> Segments:
    """The same with proposals for all that have no certain name; those that are unsure have none.

    Args:
        beliefs: of these segments, in order.
        nameless: keys of masks that are to stay without a name.
    """
    items = []
    for segment, name, confidence in zip(segments, beliefs.best, beliefs.confidence):
        if not certain_name(segment):
            if confidence >= UNSURE and mask_key(segment.mask) not in nameless:
                # the kind goes with the name, and not with the mask that had another one before
                kind = segment.kind if segment.name == name else default_kind(name)
                segment = replace(segment, name=name, kind=kind, naming="proposed", confidence=float(confidence))
            else:
                segment = replace(segment, name="", kind="unset", naming="", confidence=None)
        items.append(segment)
    return replace(segments, items=tuple(items))


def save_proposals(
    item: Item,
    store: Store,
    descriptions: Descriptions,
    namer: Namer | Vocabulary,
    shown: Shown,
    background: bool = False,
) -> None:
    """Name one picture's masks and save that, on top of whatever anybody saves meanwhile."""
    examples = _examples(item, shown)
    for _ in range(TRIES):
        record, segments = current(item, store)
        # a picture without masks has its examples for masks
        segments = segments if segments is not None and len(segments) else examples
        if segments is None:
            return
        named = _adopted(segments, examples) if examples is not None else segments
        rows = descriptions.of(item, named)
        beliefs = namer.beliefs(rows, (item.id,) * len(rows), [certain_name(segment) for segment in named])
        named = with_proposals(named, beliefs, record.nameless if record else frozenset())
        if background:
            named = named.with_background()
        if record is not None and named == segments:
            return
        with suppress(StaleError):  # someone works on it right now: look again
            made_by = {"namer": _signature(namer, background)}
            store.save(item.id, named, record, "proposed names", made_by=made_by)
            return


def joined(parts: Sequence[Part], most: int) -> Described:
    """Described pictures as one, but only every so many of them, so that there are about `most` masks.

    Raises:
        UserError: there are none.
    """
    if not parts:
        raise UserError("No example has a name yet; name a few masks first.")
    parts = parts[:: -(-sum(len(rows) for _, rows, _ in parts) // most)]
    return Described(
        np.concatenate([rows for _, rows, _ in parts]),
        tuple(name for _, _, names in parts for name in names),
        tuple(picture for picture, rows, _ in parts for _ in range(len(rows))),
    )


class _Spreading:
    """What the pictures of a data set teach, gathered one at a time."""

    def __init__(self, store: Store, descriptions: Descriptions, shown: Shown) -> None:
        self.store, self.descriptions, self.shown = store, descriptions, shown
        self.pictures = 0
        self.examples: list[Part] = []
        self.pool: list[Part] = []

    def look_at(self, item: Item, teaches: bool) -> None:
        """Describe a picture's masks, and keep those of examples; all of them if it `teaches`."""
        record, segments = current(item, self.store)
        examples = _examples(item, self.shown)
        if segments is not None and len(segments):
            rows = self.descriptions.of(item, segments)
            if teaches:
                self.pool.append((item.id, rows, ("",) * len(rows)))
            if examples is None:
                nameless = record.nameless if record else frozenset()
                kept = tuple(s for s in segments if s.naming in EXAMPLES or mask_key(s.mask) in nameless)
                examples = replace(segments, items=kept)
        elif examples is None:
            return
        self.pictures += 1
        if len(examples):
            self.store.learn_kinds(examples)
            names = tuple(certain_name(segment) for segment in examples)
            self.examples.append((item.id, self.descriptions.of(item, examples), names))

    def namer(self) -> Namer:
        return Namer(joined(self.examples, MOST_EXAMPLES), joined(self.pool, POOL) if self.pool else None)


def _propose(
    data: Dataset,
    store: Store,
    descriptions: Descriptions,
    namer: Namer | Vocabulary,
    shown: Shown,
    background: bool,
) -> Iterator[Progress]:
    for index, item in enumerate(data.items, 1):
        if _made_by(store, item.id, "namer") != _signature(namer, background):
            _attempt(store, item, partial(save_proposals, item, store, descriptions, namer, shown, background))
        yield Progress("naming", index, len(data))


def _signature(namer: Namer | Vocabulary, background: bool) -> str:
    return f"{namer.fingerprint} and background" if background else namer.fingerprint


def _by_picture(data: Dataset, examples: Mapping[str, Segments]) -> Shown:
    keys = match([item.id for item in data.items], examples)
    if not keys:
        raise UserError(f"No example belongs to a picture of {data.name}; examples carry their picture's path or name.")
    files = {item.id: item.files for item in data.items}

    def read(picture: str, key: str) -> Segments:
        found = examples[key]
        return upright(found, files[picture][0]) if files[picture] else found

    return {picture: partial(read, picture, key) for picture, key in keys.items()}


def _examples(item: Item, shown: Shown) -> Segments | None:
    """The named masks that are shown of a picture; None if there are none."""
    segments = shown[item.id]().only_named() if item.id in shown else None
    return segments if segments is not None and len(segments) else None


def _adopted(segments: Segments, examples: Segments) -> Segments:
    """The same with the names of examples that lie in the same place; examples that lie nowhere are added.

    So is a second name for a place that an example has named. What a person named has that person's names only.
    """
    check_size(examples, segments.size, "the examples")
    items, taken = list(segments), set()
    for example in examples:
        overlaps = [example.mask.iou(item.mask) for item in items]
        # of masks in the same place that which has the name already, so that naming again changes nothing
        closeness = [
            (overlap >= SAME_MASK and certain_name(item) == example.name, overlap)
            for overlap, item in zip(overlaps, items)
        ]
        place = max(range(len(items)), key=closeness.__getitem__, default=0)
        there = bool(items) and overlaps[place] >= SAME_MASK
        if not there or (place in taken and items[place].name != example.name):
            taken.add(len(items))
            items.append(example)
        elif place not in taken and items[place].naming not in BY_PEOPLE:
            taken.add(place)
            naming = example.naming or "file"
            items[place] = replace(
                items[place], name=example.name, kind=example.kind, naming=naming, confidence=example.confidence
            )
    return replace(segments, items=tuple(items))


def _cut(item: Item, store: Store, segmenter: Callable[[Picture], Segments], signature: str) -> None:
    record, own = current(item, store)
    if record is not None and any(segment.naming in BY_PEOPLE for segment in record.segments):
        return
    picture = item.picture()
    segments = check_size(segmenter(picture), picture.size, item.id)
    if own is not None and len(own):
        segments = recut(segments)(check_size(own, picture.size, item.id)).segments
        if record is None:  # so that undo has something to go back to
            record = store.save(item.id, own, None, "opened")
    store.save(item.id, segments, record, "cut into segments", made_by={"segmenter": signature}, nameless=frozenset())


def _attempt(store: Store, item: Item, work: Callable[[], None]) -> bool:
    """Do something with one picture. One bad picture among a million is noted and left out."""
    try:
        work()
    except WriteError:
        raise  # the next picture would fail as well
    except StaleError:
        pass  # someone works on it right now, and theirs holds
    except UserError as error:
        if store.journal.problems().get(item.id) != str(error):
            store.journal.problem(item.id, str(error))
        return False
    return True


def _made_by(store: Store, picture: str, work: str) -> str | None:
    line = store.journal.line(picture)
    return line["made_by"].get(work) if line else None


def _problem_of(store: Store, shown: Shown, failed: Container[str]) -> str:
    """The first that is wrong with examples, of which some pictures' could not be used at all; "" if nothing is."""
    problems = store.journal.problems()
    for picture, read in shown.items():
        found = problems[picture] if picture in failed else " ".join(read().notes)
        if found:
            return f"{picture}: {found.rstrip('.')}"
    return ""


def _nothing(store: Store, data: Dataset, what: str) -> UserError:
    problems = store.journal.problems()
    first = next((f" ({problems[item.id]})" for item in data.items if item.id in problems), "")
    return UserError(f"No picture of {data.name} {what}{first}.")
