"""Looking through proposed names, the least certain first. Every answer is saved, teaches, and re-ranks what is left.

Accepting and correcting name one mask; rejecting leaves it without a name on purpose, as what lies between the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from core.errors import UserError
from core.runtime.progress import Progress
from core.segments.edits import segment_keys
from core.segments.naming.descriptions import Descriptions, Encoder
from core.segments.naming.namer import POOL, Namer
from core.segments.naming.spread import (
    EXAMPLES,
    MOST_EXAMPLES,
    POOL_PICTURES,
    TRIES,
    Part,
    certain_name,
    current,
    joined,
    save_proposals,
)
from core.segments.saved.records import BY_PEOPLE, Record, mask_key
from core.segments.saved.store import StaleError, Store
from core.segments.segments import Segment, Segments, default_kind, legal_name

if TYPE_CHECKING:
    from core.data import Dataset, Item

# so many of the least certain masks compete for a place among the next questions
CONTENDERS = 400
# names that are shown beside the likeliest
OTHERS = 3


@dataclass(frozen=True)
class Question:
    """One mask, and what it may be.

    Attributes:
        picture, key: its picture's id in the data set, and its segment's key (`segment_keys`).
        name, confidence: the likeliest name, in [0, 1].
        others: the next likeliest names with theirs.
    """

    picture: str
    key: str
    name: str
    confidence: float
    others: tuple[tuple[str, float], ...]


@dataclass
class _Seen:
    """One picture's masks as they were read.

    Attributes:
        rows: float16 [P, D].
        answers: its certain name, "" where it is to stay without one, None while it is open.
        teach: whether that is an example for others.
    """

    item: Item
    keys: list[str]
    rows: np.ndarray
    answers: list[str | None]
    teach: list[bool]


@dataclass(frozen=True)
class _Answer:
    picture: str
    key: str
    before: Segment
    after: Segment
    was_nameless: bool


class Review:
    """The queue over a data set, kept in memory; all answers go to the store. Not for several threads at once.

    Several people may review one data set: each answer is put on top of what the others saved meanwhile, and whoever
    answers what somebody else has answered is told.
    """

    def __init__(self, data: Dataset, store: Store, encoder: Encoder | None = None) -> None:
        self.data, self.store = data, store
        self._items = {item.id: item for item in data.items}
        self._descriptions = Descriptions(store.folder / "descriptions", encoder or Encoder())
        self._seen: dict[str, _Seen] = {}
        self._answers: list[_Answer] = []
        self._namer: Namer | None = None
        self._open: list[tuple[Question, float, np.ndarray]] = []  # with its doubt and its place among all masks

    def gather(self) -> Iterator[Progress]:
        """Read all masks and rank them; to be run to its end first. Pictures that cannot be read are left out.

        Raises:
            UserError: no mask of any picture has a name yet.
        """
        for index, item in enumerate(self.data.items, 1):
            try:
                self._look_at(item)
            except UserError as error:
                self.store.journal.problem(item.id, str(error))
            yield Progress("reading", index, len(self.data))
        self._learn()
        if self._namer is None:
            raise UserError("No mask has a name yet; name a few first.")

    @property
    def left(self) -> int:
        """Masks that nobody has answered, and that did not come with a name."""
        return sum(answer is None for seen in self._seen.values() for answer in seen.answers)

    def questions(self, count: int = 10, before: Sequence[Question] = ()) -> tuple[Question, ...]:
        """The next ones: uncertain, and unlike each other, so that one mistake is not shown ten times.

        Args:
            before: those that were asked last; what is open of them stays in its place, with what is believed by now.
        """
        known = {(question.picture, question.key): question for question, _, _ in self._open}
        asked = [known.get((question.picture, question.key)) for question in before[:count]]
        there = {(question.picture, question.key) for question in asked if question}
        rest = [(q, doubt, place) for q, doubt, place in self._open if (q.picture, q.key) not in there]
        chosen = diverse(
            np.array([doubt for _, doubt, _ in rest]), np.array([place for _, _, place in rest]), count - len(there)
        )
        new = iter([rest[index][0] for index in chosen])
        filled = [question or next(new, None) for question in asked]
        return tuple(question for question in (*filled, *new) if question)

    def accept(self, question: Question) -> Record:
        """The proposed name is right.

        Raises:
            StaleError: somebody else has answered it.
            UserError: the mask is not there any more, or it cannot be saved.
        """
        return self._answer(question, question.name, "accepted", question.confidence)

    def correct(self, question: Question, name: str) -> Record:
        """It has another name, which may be new. Raises as `accept`, and UserError if the name is not legal."""
        name = legal_name(name)
        if not name:
            raise UserError("A name must have at least one letter; to leave a mask without one, reject it.")
        return self._answer(question, name, "typed", None)

    def reject(self, question: Question) -> Record:
        """It is to stay without a name. Raises as `accept`."""
        return self._answer(question, "", "", None)

    @property
    def answered(self) -> bool:
        """Whether there is an answer to take back."""
        return bool(self._answers)

    def take_back(self) -> Record | None:
        """Open the mask that was answered last again; None if nothing was answered here.

        Raises:
            StaleError: somebody else has changed it since.
        """
        if not self.answered:
            return None
        last = self._answers[-1]

        def back(segment: Segment, nameless: bool) -> tuple[Segment, bool] | None:
            # its name may have got another kind since; the store knows it
            same = replace(segment, kind=last.after.kind) == last.after
            return (last.before, last.was_nameless) if same else None

        record = self._put(last.picture, last.key, back, "took an answer back")
        self._answers.pop()
        return record

    def look_again(self, picture: str) -> None:
        """Read a picture anew whose segments were changed elsewhere, and rank all again."""
        self._look_at(self._items[picture])
        self._learn()

    def write(self) -> Iterator[Progress]:
        """Save what is proposed now for all masks that are still open."""
        if self._namer is None:
            return
        for index, seen in enumerate(self._seen.values(), 1):
            save_proposals(seen.item, self.store, self._descriptions, self._namer, {})
            yield Progress("naming", index, len(self._seen))

    def _look_at(self, item: Item) -> None:
        record, segments = current(item, self.store)
        if segments is None or not len(segments):
            self._seen.pop(item.id, None)
            return
        nameless = record.nameless if record else frozenset()
        answers = [certain_name(segment) or ("" if _is_nameless(segment, nameless) else None) for segment in segments]
        self._seen[item.id] = _Seen(
            item,
            segment_keys(segments),
            self._descriptions.of(item, segments).astype(np.float16),
            answers,
            [segment.naming in EXAMPLES or answer == "" for segment, answer in zip(segments, answers)],
        )

    def _learn(self) -> None:
        """Fit to all answers, and rank what is open."""
        pictures = list(self._seen.values())
        shown: list[Part] = []
        for seen in pictures:
            places = [place for place, teaches in enumerate(seen.teach) if teaches]
            if places:
                names = tuple(seen.answers[place] or "" for place in places)
                shown.append((seen.item.id, seen.rows[places].astype(np.float32), names))
        if not any(name for _, _, names in shown for name in names):
            self._namer, self._open = None, []
            return
        step = max(1, len(pictures) // POOL_PICTURES)
        pool = [(s.item.id, s.rows.astype(np.float32), ("",) * len(s.rows)) for s in pictures[::step]]
        self._namer = Namer(joined(shown, MOST_EXAMPLES), joined(pool, POOL))
        rows = np.concatenate([seen.rows for seen in pictures]).astype(np.float32)
        owners = [seen.item.id for seen in pictures for _ in seen.keys]
        keys = [key for seen in pictures for key in seen.keys]
        answers = [answer for seen in pictures for answer in seen.answers]
        beliefs = self._namer.beliefs(rows, owners, [answer or "" for answer in answers])
        open_ = np.flatnonzero([answer is None for answer in answers])
        # what surely resembles something that was rejected is no question either
        doubt = ((1 - beliefs.confidence) * (1 - beliefs.nameless))[open_]
        first = np.argsort(-doubt, kind="stable")[:CONTENDERS]
        order = np.argsort(-beliefs.each[open_[first]], axis=1, kind="stable")
        places = self._namer.embed(rows[open_[first]])
        self._open = []
        for index, ranked, place in zip(first, order, places):
            row = int(open_[index])
            likely = [(beliefs.names[name], float(beliefs.each[row, name])) for name in ranked[: OTHERS + 1]]
            question = Question(owners[row], keys[row], *likely[0], tuple(likely[1:]))
            self._open.append((question, float(doubt[index]), place))

    def _answer(self, question: Question, name: str, naming: str, confidence: float | None) -> Record:
        kind = self.store.kinds.get(name, default_kind(name))
        given: list[_Answer] = []

        def answer(segment: Segment, nameless: bool) -> tuple[Segment, bool] | None:
            if segment.naming in BY_PEOPLE or nameless:
                return None
            after = replace(segment, name=name, naming=naming, confidence=confidence, kind=kind)
            given.append(_Answer(question.picture, question.key, segment, after, nameless))
            return after, not name

        action = f"{naming} {name}" if name else "left a mask without a name"
        record = self._put(question.picture, question.key, answer, action)
        self._answers.append(given[-1])
        return record

    def _put(
        self, picture: str, key: str, change: Callable[[Segment, bool], tuple[Segment, bool] | None], action: str
    ) -> Record:
        """Change one mask on top of what holds now.

        Args:
            change: (segment, whether it is to stay without a name) -> the same changed, or None if somebody else was
                first.
        """
        for attempt in range(TRIES):
            record, found = current(self._items[picture], self.store)
            segments = found or Segments((1, 1), ())
            nameless = record.nameless if record else frozenset()
            keys = segment_keys(segments)
            place = keys.index(key) if key in keys else None
            changed = None
            if place is not None:
                changed = change(segments.items[place], _is_nameless(segments.items[place], nameless))
            if place is None or changed is None:
                self.look_again(picture)
                if record is None or place is None:
                    raise UserError(f"That mask of {picture} is not there any more; go on with the next one.")
                name = segments.items[place].name or "no name"
                raise StaleError(
                    record, segments, f"That mask of {picture} has {name} by now; somebody else was first."
                )
            others = (*segments.items[:place], *segments.items[place + 1 :])
            items = (*segments.items[:place], changed[0], *segments.items[place + 1 :])
            mask = mask_key(segments.items[place].mask)
            if changed[1]:
                nameless = nameless | {mask}
            elif not any(item.mask == changed[0].mask and _is_nameless(item, nameless) for item in others):
                nameless = nameless - {mask}
            try:
                saved = self.store.save(picture, replace(segments, items=items), record, action, nameless=nameless)
            except StaleError:
                if attempt == TRIES - 1:
                    raise
            else:
                self.look_again(picture)
                return saved
        raise AssertionError("unreachable")


def _is_nameless(segment: Segment, nameless: frozenset[str]) -> bool:
    """Whether it is to stay without a name; another segment on the same mask may have one."""
    return not segment.name and mask_key(segment.mask) in nameless


def diverse(doubt: np.ndarray, places: np.ndarray, count: int) -> list[int]:
    """The most doubtful ones first, each counting for less the closer it lies to one that was taken.

    Args:
        doubt: [N], not negative.
        places: [N, R]; at a squared distance of 1, e^-1 of the doubt is taken as shown already.

    Returns:
        Indices of at most `count`; equal ones in order.
    """
    chosen: list[int] = []
    shown = np.zeros(len(doubt))
    taken = np.zeros(len(doubt), bool)
    for _ in range(min(count, len(doubt))):
        best = int(np.where(taken, -1.0, doubt * (1 - shown)).argmax())
        chosen.append(best)
        taken[best] = True
        shown = np.maximum(shown, np.exp(-((places - places[best]) ** 2).sum(1)))
    return chosen
