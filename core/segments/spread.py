"""A whole data set at a time: cut every picture, or name every mask from examples. Both go on where they stopped.

Nothing a person did is overwritten: pictures with names that were typed or accepted are not cut again, and only masks
without a name, or with one that is merely proposed, get a (new) proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from core.data import Dataset, Item
from core.errors import UserError
from core.images import Picture
from core.runtime.progress import Progress
from core.runtime.versions import WriteError
from core.segments.descriptions import Descriptions, Encoder
from core.segments.naming import POOL, UNSURE, Beliefs, Described, Namer
from core.segments.records import BY_PEOPLE, Record, mask_key
from core.segments.segments import Segment, Segments, check_size
from core.segments.store import StaleError, Store

#: Names that count as examples.
EXAMPLES = (*BY_PEOPLE, "file")
# pictures whose masks teach how masks vary; example masks that are used at most
POOL_PICTURES, MOST_EXAMPLES = 200, 2000
# a mask of an example picture that covers an example mask this well has its name
SAME_MASK = 0.75
TRIES = 5

Part = tuple[str, np.ndarray, tuple[str, ...]]  # a picture's id, the rows of masks of it, and their names


def segment_dataset(
    data: Dataset, store: Store, segmenter: Callable[[Picture], Segments], signature: str
) -> Iterator[Progress]:
    """Cut every picture into segments and save them, one at a time.

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
    data: Dataset, store: Store, examples: Mapping[str, Segments] | None = None, encoder: Encoder | None = None
) -> Iterator[Progress]:
    """Propose a name for every mask that has none, learned from examples, and save the proposals.

    Masks are those in the store, else those that come with the data set.

    Args:
        examples: picture id -> segments, of which the named ones are examples. All names in the store and the data set
            that were typed, accepted or came from a file are examples as well, but for the same pictures. Where a mask
            of the picture is about the same as an example, it takes the name for certain.
        encoder: features to tell masks apart by, if any.

    Raises:
        UserError: no examples, no masks, an example of a picture that is not there, or the store cannot be written to.
    """
    examples = {picture: segments.only_named() for picture, segments in (examples or {}).items()}
    strays = sorted(set(examples) - {item.id for item in data.items})
    if strays:
        raise UserError(f"{data.name} has no picture {strays[0]!r}, which an example belongs to; check the names.")
    descriptions = Descriptions(store.folder / "descriptions", encoder or Encoder())
    spreading = _Spreading(store, descriptions, examples)
    step = max(1, len(data) // POOL_PICTURES)
    for index, item in enumerate(data.items):
        _attempt(store, item, partial(spreading.look_at, item, teaches=index % step == 0))
        yield Progress("describing", index + 1, len(data))
    if not spreading.pictures:
        raise _nothing(store, data, "has masks; cut them first")
    namer = spreading.namer()
    for index, item in enumerate(data.items, 1):
        if _made_by(store, item.id, "namer") != namer.fingerprint:
            _attempt(store, item, partial(save_proposals, item, store, descriptions, namer, examples))
        yield Progress("naming", index, len(data))


def current(item: Item, store: Store) -> tuple[Record | None, Segments | None]:
    """What was saved of a picture, and its segments: the saved ones, else those that come with the data set."""
    record = store.load(item.id)
    return record, item.segments() if record is None else record.segments


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
                segment = replace(segment, name=name, naming="proposed", confidence=float(confidence))
            else:
                segment = replace(segment, name="", naming="", confidence=None)
        items.append(segment)
    return replace(segments, items=tuple(items))


def save_proposals(
    item: Item, store: Store, descriptions: Descriptions, namer: Namer, examples: Mapping[str, Segments]
) -> None:
    """Name one picture's masks and save that, on top of whatever anybody saves meanwhile."""
    for _ in range(TRIES):
        record, segments = _masks(item, store, examples)
        if not len(segments):
            return
        named = _adopted(segments, examples[item.id]) if item.id in examples else segments
        rows = descriptions.of(item, named)
        beliefs = namer.beliefs(rows, (item.id,) * len(rows), [certain_name(segment) for segment in named])
        named = with_proposals(named, beliefs, record.nameless if record else frozenset())
        if record is not None and named == segments:
            return
        with suppress(StaleError):  # someone works on it right now: look again
            store.save(item.id, named, record, "proposed names", made_by={"namer": namer.fingerprint})
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

    def __init__(self, store: Store, descriptions: Descriptions, examples: Mapping[str, Segments]) -> None:
        self.store, self.descriptions, self.examples = store, descriptions, examples
        self.pictures = 0
        self.shown: list[Part] = []
        self.pool: list[Part] = []

    def look_at(self, item: Item, teaches: bool) -> None:
        """Describe a picture's masks, and keep those of examples; all of them if it `teaches`."""
        record, segments = _masks(item, self.store, self.examples)
        if not len(segments):
            return
        self.pictures += 1
        rows = self.descriptions.of(item, segments)
        if teaches:
            self.pool.append((item.id, rows, ("",) * len(rows)))
        if item.id in self.examples:
            segments = self.examples[item.id]
        else:
            nameless = record.nameless if record else frozenset()
            kept = tuple(s for s in segments if s.naming in EXAMPLES or mask_key(s.mask) in nameless)
            segments = replace(segments, items=kept)
        if len(segments):
            names = tuple(certain_name(segment) for segment in segments)
            self.shown.append((item.id, self.descriptions.of(item, segments), names))

    def namer(self) -> Namer:
        return Namer(joined(self.shown, MOST_EXAMPLES), joined(self.pool, POOL) if self.pool else None)


def _masks(item: Item, store: Store, examples: Mapping[str, Segments]) -> tuple[Record | None, Segments]:
    """As `current`; a picture without masks has its examples for masks."""
    record, segments = current(item, store)
    if segments is None or not len(segments):
        segments = examples.get(item.id, Segments((1, 1), ()))
    return record, segments


def _adopted(segments: Segments, examples: Segments) -> Segments:
    """The same with the names of examples that lie in the same place; examples that lie nowhere are added."""
    check_size(examples, segments.size, "the examples")
    items = list(segments)
    for example in examples:
        overlaps = [example.mask.iou(item.mask) for item in items]
        place = int(np.argmax(overlaps)) if overlaps else 0
        if not overlaps or overlaps[place] < SAME_MASK:
            items.append(example)
        elif items[place].naming not in BY_PEOPLE:
            naming = example.naming or "file"
            items[place] = replace(
                items[place], name=example.name, kind=example.kind, naming=naming, confidence=example.confidence
            )
    return replace(segments, items=tuple(items))


def _cut(item: Item, store: Store, segmenter: Callable[[Picture], Segments], signature: str) -> None:
    record = store.load(item.id)
    if record is not None and any(segment.naming in BY_PEOPLE for segment in record.segments):
        return
    picture = item.picture()
    segments = check_size(segmenter(picture), picture.size, item.id)
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


def _nothing(store: Store, data: Dataset, what: str) -> UserError:
    problems = store.journal.problems()
    first = next((f" ({problems[item.id]})" for item in data.items if item.id in problems), "")
    return UserError(f"No picture of {data.name} {what}{first}.")
