"""Live runs: many explainers and many visitors on one device, in turns; results are kept and bounded."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic

from torch import Tensor

from core.attribution import Attribution
from core.choice import Choice
from core.errors import UserError
from core.regions import Regions
from core.runtime.randomness import picture_seeds
from dashboard.classifiers import LoadedClassifier

log = logging.getLogger("satchel")

FRAME_SECONDS = 0.25  # at most four frames a second
RESULT_BYTES = 96 * 2**20


class FairLock:
    """First come, first served: whoever gives it back and asks again stands behind all who wait.

    `threading.Lock` promises no order, so one busy visitor could starve the others.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._queue: deque[object] = deque()

    @contextmanager
    def turn(self, cancelled: Callable[[], bool] = lambda: False) -> Generator[bool]:
        """Wait for a turn; gives False, without the lock, if `cancelled()` becomes true while waiting."""
        ticket = object()
        with self._condition:
            self._queue.append(ticket)
            while self._queue[0] is not ticket and not cancelled():
                self._condition.wait(timeout=0.1)
            mine = self._queue[0] is ticket and not cancelled()
            if not mine:
                self._leave(ticket)
        if not mine:
            yield False
            return
        try:
            yield True
        finally:
            with self._condition:
                self._leave(ticket)

    def _leave(self, ticket: object) -> None:
        self._queue.remove(ticket)
        self._condition.notify_all()


@dataclass(frozen=True)
class ResultKey:
    """All that a map depends on: same key, same map."""

    picture: str
    fingerprint: str
    choice: Choice
    target: int
    contrast: int | None
    seed: int
    regions: Regions | None = None


class Results:
    """Finished and running maps by key, the least recently used forgotten first; safe between threads."""

    def __init__(self, limit: int = RESULT_BYTES) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[ResultKey, Attribution] = OrderedDict()
        self._bytes = 0

    def get(self, key: ResultKey) -> Attribution | None:
        """The map, finished or partial, if it is still here."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: ResultKey, attribution: Attribution) -> None:
        """Keep a map. A running estimate never replaces a finished one."""
        with self._lock:
            before = self._kept.get(key)
            if before is not None and attribution.partial and not before.partial:
                return
            if before is not None:
                self._bytes -= _size(before)
            self._kept[key] = attribution
            self._kept.move_to_end(key)
            self._bytes += _size(attribution)
            while self._bytes > self.limit and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])

    def __len__(self) -> int:
        return len(self._kept)


def _size(attribution: Attribution) -> int:
    players = attribution.players
    tensors = (attribution.values, attribution.standard_error, None if players is None else players.masks)
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


@dataclass
class Run:
    """One press of a button: which maps it makes, and whether it may go on."""

    keys: Mapping[str, ResultKey]  # by explainer
    failed: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    _dropped: set[str] = field(default_factory=set)

    def stop(self) -> None:
        """End after the chunk in hand."""
        self.stopped = True

    def drop(self, explainers: Sequence[str]) -> None:
        """These are no longer wanted from this run."""
        self._dropped.update(explainers)

    def wants(self, explainer: str) -> bool:
        return not self.stopped and explainer in self.keys and explainer not in self._dropped

    @property
    def dropped(self) -> bool:
        """All of it was dropped: what it would still show is out of date."""
        return self._dropped.issuperset(self.keys)


@dataclass
class Runner:
    """Makes maps on the one device that all visitors share."""

    results: Results = field(default_factory=Results)
    lock: FairLock = field(default_factory=FairLock)
    chunks: int = 0  # device steps so far, of all runs

    def stream(self, loaded: LoadedClassifier, image: Tensor, run: Run) -> Iterator[set[str]]:
        """Make the maps of a run that are not there yet, all side by side.

        Every explainer makes one chunk in turn, so that each has an early first map and all sharpen together. The
        device is given back after every chunk. A failure of one explainer goes to `run.failed` and ends that one only.

        Args:
            loaded: the classifier.
            image: [3, H, W] in [0, 1].
            run: what to make; asked before every chunk whether to go on.

        Yields:
            the explainers that have something new in `results` or `run.failed`, at most four times a second.
        """
        waiting = deque(name for name, key in run.keys.items() if not self._finished(key))
        steps: dict[str, Iterator[list[Attribution]]] = {}
        changed: set[str] = set()
        due = float("-inf")
        try:
            while waiting:
                name = waiting.popleft()
                with self.lock.turn(lambda name=name: not run.wants(name)) as mine:
                    if not mine:
                        continue
                    going_on = self._step(loaded, image, run, name, steps)
                changed.add(name)
                if going_on:
                    waiting.append(name)
                if monotonic() >= due or not waiting:
                    began = monotonic()
                    yield changed
                    # where drawing is slow, draw less often: a quarter of the time at most
                    changed, due = set(), monotonic() + max(FRAME_SECONDS, 3 * (monotonic() - began))
            if changed:
                yield changed
        finally:
            for iterator in steps.values():
                iterator.close()  # ty: ignore[missing-attribute]

    def _finished(self, key: ResultKey) -> bool:
        found = self.results.get(key)
        return found is not None and not found.partial

    def _step(self, loaded: LoadedClassifier, image: Tensor, run: Run, name: str, steps: dict) -> bool:
        """One chunk; True if there is more to come."""
        key = run.keys[name]
        try:
            if name not in steps:
                bound = loaded.bind(key.choice)
                contrasts = None if key.contrast is None else [key.contrast]
                steps[name] = bound.steps(
                    image[None], [key.target], contrasts=contrasts,
                    seeds=picture_seeds(key.seed, image[None]), regions=key.regions,
                )  # fmt: skip
            made = next(steps[name], None)
        except UserError as error:
            run.failed[name] = str(error)
            return False
        except Exception:  # one defective explainer must not take the others' maps with it
            log.exception("%s failed", name)
            run.failed[name] = "This explainer failed on this picture; the program's log says why."
            return False
        if made is None:
            return False
        self.chunks += 1
        self.results.put(key, replace(made[0], seed=key.seed))  # as it was asked for
        return made[0].partial
