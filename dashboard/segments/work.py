"""What one visitor works on in the Segments tab: a data set and its store, the picture in view, a cut in the making."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.data import Dataset, Item, no_segments
from core.errors import UserError
from core.images import Picture
from core.runtime.recent import Recent
from core.segments.edits import Edit, Edited, add, by_key
from core.segments.naming.review import Question, Review
from core.segments.naming.spread import current
from core.segments.saved.records import Record, mask_key
from core.segments.saved.store import StaleError, Store
from core.segments.segments import Segments, check_size, default_kind
from core.segments.unsure import REGIONS
from dashboard.segments.cut import Cut
from dashboard.temporary import new_folder

TRIES = 50  # somebody else may save each time in between
KEPT_PICTURES = 6  # whole ones, as they were read
_pictures: Recent[tuple[str, str], Picture] = Recent(KEPT_PICTURES)


@dataclass
class Work:
    """One data set and its segments.

    Attributes:
        data: what is cut and named.
        store: where that is kept; other visitors may have theirs open on the same folder.
    """

    data: Dataset
    store: Store

    @cached_property
    def items(self) -> dict[str, Item]:
        return {item.id: item for item in self.data.items}

    @cached_property
    def places(self) -> dict[str, int]:
        return {item.id: place for place, item in enumerate(self.data.items)}

    def picture(self, picture: str) -> Picture:
        """Read it, or find it.

        Raises:
            UserError: it cannot be read any more.
        """
        return _pictures.get_or_make((self.data.source, picture), self.items[picture].picture)

    def state(self, picture: str) -> str:
        """ "named", "proposed" (names wait for an answer), "cut" (masks without names) or "bare"."""
        return self._state(picture, self.store.journal.line(picture))

    def counts(self) -> dict[str, int]:
        """How many pictures are in each state."""
        counts = dict.fromkeys(("named", "proposed", "cut", "bare"), 0)
        lines = self.store.journal.pictures()
        for picture in self.items:
            counts[self._state(picture, lines.get(picture))] += 1
        return counts

    def _state(self, picture: str, line: dict[str, Any] | None) -> str:
        if line is None:
            return "bare" if self.items[picture].segments is no_segments else "named"
        if line["proposed"]:
            return "proposed"
        return "named" if line["names"] else "cut" if line["masks"] else "bare"


class Bench:
    """One visitor's place of work. Its methods may be called from several threads.

    Attributes:
        work: the data set.
        picture: the id of the picture in view, or None where the data set is empty.
        record, segments: what is saved of it (None: nothing yet), and its segments.
        problem: why its masks cannot be shown, or "".
        cut: the mask in the making.
        review: the queue of proposed names, once it was asked for; asked: its questions on the page.
        agreed: what was asked for all pictures, once it was said what that does.
        turn, shown, drawn: how often the page was told anything, what it shows, by component, and which masks.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.lock = threading.RLock()
        self.picture: str | None = None
        self.record: Record | None = None
        self.segments: Segments | None = None
        self.problem = ""
        self.cut = Cut()
        self.review: Review | None = None
        self.asked: tuple[Question, ...] = ()
        self.agreed: Any = None
        self.turn = 0
        self.shown: dict[str, str | None] = {}
        self.drawn: Segments | None = None
        self._warned: tuple[str | None, int] | None = None  # whose last change was somebody else's
        self._kinds: list[tuple[str | None, int, str, str]] = []
        self._stopped = threading.Event()
        self._archive: TemporaryDirectory[str] | None = None
        if work.items:
            self.open(next(iter(work.items)))

    def use(self, data: Dataset) -> None:
        """Go on with other pictures in the same store (somebody added one)."""
        with self.lock:
            if data is self.work.data or tuple(item.id for item in data.items) == tuple(self.work.items):
                return
            self.work, self.review = Work(data, self.work.store), None
            if self.picture not in self.work.items:
                self.picture = self.record = self.segments = None
                if self.work.items:
                    self.open(next(iter(self.work.items)))

    def open(self, picture: str) -> None:
        """Bring a picture into view, with what is saved of it by now; `problem` says what cannot be read.

        Raises:
            UserError: it is not in the data set.
        """
        with self.lock:
            if picture not in self.work.items:
                raise UserError("That picture is not here any more; choose another.")
            if picture != self.picture:
                self.cut, self.drawn = Cut(), None
            self.picture = picture
            try:
                self._take(*current(self.work.items[picture], self.work.store))
            except UserError as error:
                self.record, self.segments, self.problem = None, None, str(error)

    @property
    def trouble(self) -> str:
        """Why the picture in view or its masks cannot be shown, or ""."""
        with self.lock:
            if self.picture is not None and not self.problem:
                try:
                    self.work.picture(self.picture)
                except UserError as error:
                    return str(error)
            return self.problem

    def archive_folder(self) -> Path:
        """A new folder for an archive; the one before goes.

        Raises:
            UserError: it cannot be made.
        """
        with self.lock:
            if self._archive is not None:
                self._archive.cleanup()
            self._archive = new_folder("segments-")
            return Path(self._archive.name)

    def begin(self) -> threading.Event:
        """Something long begins, and ends whatever ran before; it is to end when the event is set."""
        with self.lock:
            self._stopped.set()
            self._stopped = threading.Event()
            return self._stopped

    def stop(self) -> None:
        """End what runs."""
        self._stopped.set()

    def step(self, by: int) -> None:
        """The next picture but so many, round the ends."""
        with self.lock:
            if self.picture is not None:
                ids = list(self.work.items)
                self.open(ids[(self.work.places[self.picture] + by) % len(ids)])

    def apply(self, edit: Edit) -> Edited:
        """Do something to the segments in view and save it.

        What somebody else saved meanwhile is kept: the edit is done again on top of theirs, unless a mask that it
        means has got another name since the page showed it.

        Raises:
            UserError: somebody else was first, the edit makes no sense there, or it cannot be saved; nothing is lost.
        """
        with self.lock:
            if self.picture is None:
                raise UserError("There is no picture yet; drop one in on the Explain tab.")
            seen = self._seen
            for attempt in range(TRIES):
                segments = self.segments or Segments(self.work.picture(self.picture).size, ())
                _check_as_seen(edit.keys, seen, segments)
                done = edit(segments)
                if self.record is None:  # so that undo has something to go back to
                    self._start(self.picture, segments)
                keys = {mask_key(item.mask) for item in done.segments if not item.name}
                nameless = (self.record.nameless if self.record else frozenset()) | done.nameless
                try:
                    saved = self.work.store.save(
                        self.picture, done.segments, self.record, done.action, nameless=nameless & keys
                    )
                    self._take(saved, saved.segments)
                    self._teach()
                    return done
                except StaleError as error:
                    self._take(error.theirs, error.theirs.segments)
                    if attempt == TRIES - 1:
                        raise
            raise AssertionError("unreachable")

    def keep(self, source: str) -> Edited:
        """Save the mask in the making.

        Raises:
            UserError: there is none, or as of `apply`.
        """
        with self.lock:
            mask, answer = self.cut.mask, self.cut.answer
            if mask is None or answer is None:
                raise UserError("Nothing is cut yet: click on a thing in the picture, or draw a box around it.")
            made_by, score = (REGIONS, None) if self.cut.is_region else (source, answer.scores[self.cut.chosen])
            done = self.apply(add(mask, made_by, score))
            self.cut = Cut()
            return done

    def set_kind(self, name: str, kind: str) -> None:
        """Give a name its kind in the whole data set; undone as changes of the picture in view are.

        Raises:
            UserError: as of `Store.set_kind`.
        """
        with self.lock:
            before = self.work.store.kinds.get(name, default_kind(name))
            self.work.store.set_kind(name, kind)
            self._kinds.append((self.picture, self._place, name, before))
            if self.picture is not None:
                self.open(self.picture)

    def undo(self) -> str:
        """Take the last change of this picture back; what was done, in words.

        Raises:
            UserError: there is none, it is somebody else's and this was not said before, or somebody else has changed
                the picture since it was looked at.
        """
        with self.lock:
            if self._kinds and self._kinds[-1][:2] == (self.picture, self._place):
                *_, name, kind = self._kinds.pop()
                self.work.store.set_kind(name, kind)
                self.open(self.picture or "")
                return f"{name} is of kind {kind} again"
            self._check_news()
            record, here = self.record, (self.picture, self._version)
            foreign = record is not None and record.before is not None and record.by != self.work.store.by
            if foreign and self._warned != here:
                self._warned = here
                raise UserError(
                    f"The last change here is by {record.by} ({record.action}), so nothing was undone; "
                    "press Undo again if you mean it."
                )
            done = self._turn(self.work.store.undo, "There is nothing to undo in this picture.")
            return f"{done} (by {record.by})" if foreign else done

    def redo(self) -> str:
        """Bring back what was taken back. Raises as `undo`."""
        return self._turn(self.work.store.redo, "There is nothing to bring back in this picture.")

    def newer(self) -> str | None:
        """Who changed the picture in view since it was opened here, if anybody; it is opened anew then."""
        with self.lock:
            if self.picture is None:
                return None
            line = self.work.store.journal.line(self.picture)
            if self.record is None and self.problem:
                return None  # what is saved cannot be read
            if line is None or line["version"] <= self._version:
                return None
            self.drawn = self._seen  # until the page is told
            self.open(self.picture)
            self._teach()
            return f"{line['by']} changed this picture ({line['action']}); this is how it is now."

    def _turn(self, turn: Callable[[Record], Record | None], nothing: str) -> str:
        with self.lock:
            self._check_news()
            found = None if self.record is None else turn(self.record)
            if found is None:
                raise UserError(nothing)
            self._take(found, found.segments)
            self._teach()
            return found.action

    def _check_news(self) -> None:
        news = self.newer()
        if news:
            self._warned = (self.picture, self._version)
            raise UserError(f"{news} Nothing was taken back or brought back; press again if you mean theirs.")

    def _teach(self) -> None:
        """What changed in the picture in view teaches the review, and opens or answers its questions."""
        if self.review is not None and self.picture is not None:
            with suppress(UserError):  # it cannot be read any more; the page says so
                self.review.look_again(self.picture)

    @property
    def _place(self) -> int:
        """Where in the picture's history we are: the version that undoing would go back to."""
        return self.record.before or 0 if self.record else 0

    @property
    def _version(self) -> int:
        return self.record.version if self.record else 0

    @property
    def _seen(self) -> Segments | None:
        """What the page shows of the picture, which may be older than `segments`."""
        return self.segments if self.drawn is None else self.drawn

    def _start(self, picture: str, segments: Segments) -> None:
        with suppress(StaleError):  # somebody else did at the same moment; the edit will find out
            saved = self.work.store.save(picture, segments, None, "opened")
            self._take(saved, saved.segments)

    def _take(self, record: Record | None, segments: Segments | None) -> None:
        """Hold what is saved of the picture in view; masks that do not lie over it are not shown."""
        self.record, self.segments, self.problem = record, None, ""
        if self.picture is None or segments is None:
            return
        try:
            self.segments = check_size(segments, self.work.picture(self.picture).size, self.picture)
        except UserError as error:
            self.problem = str(error)


def _check_as_seen(keys: Iterable[str], seen: Segments | None, now: Segments) -> None:
    """Nobody changes a mask that has become another since they looked at it.

    Raises:
        UserError: the name of one of them, or where it comes from, is not what was seen.
    """
    before, after = by_key(seen), by_key(now)
    for key in keys:
        was, item = before.get(key), after.get(key)
        if was and item and (was.name, was.naming) != (item.name, item.naming):
            what = (
                f"is {'proposed as' if item.naming == 'proposed' else 'named'} {item.name}"
                if item.name
                else "has no name"
            )
            raise UserError(
                f"A mask that you chose {what} by now, so nothing was done; do it again if you still mean it."
            )
