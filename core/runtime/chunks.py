"""How many passes go through the model at once, and on how many threads: learned from the real chunks as they run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import torch

from core.runtime.device import synchronise
from core.runtime.interrupt import check
from core.runtime.recent import Recent
from core.runtime.threads import on_threads, usual_threads

if TYPE_CHECKING:
    from core.classifier import Classifier

START = {"cpu": 4, "cuda": 32}
# on a CPU larger ones are hardly faster, and memory grows with them
LARGEST = {"cpu": 8, "cuda": 1024}
WINS, LOSSES = 4, 2  # pairs: with so many won another way is taken, with so many lost it is left
GAIN = 0.95  # what it must take at most, of the time of the way in use, to win a pair
FAR = 2.5  # a pair lost by so much ends the look
REST = (16, 256)  # chunks between two looks: at least, and at most once many found nothing; shorter when a look cost
COST = 0.03  # of the time since, or less
CHANGED = 1.5  # a median time by so much longer or shorter than at the last look means another machine
KEPT = 9  # times that this median is of; so many that a few that were held up do not move it
STALE = 1.0  # seconds between the two chunks of a pair, after which they may not have seen the same load
TUNERS = 256


class Way(NamedTuple):
    """How a chunk runs: so many passes at once, on so many threads (None: as many as there are)."""

    size: int
    threads: int | None = None


class ChunkTuner:
    """Finds the fastest way to run chunks and looks again as they run, since other work comes and goes.

    Single times say little on a busy machine. So the way in use is compared with one neighbour at a time (twice or half
    the size, twice or half the threads), in turn, so that both see the same load, and left only for one that wins
    several pairs and is faster by the median, too. The dearer a look was that found nothing, the longer is the rest
    before the next, unless chunks have become slower or faster, after which it comes at once.

    On a machine with idle cores more threads win; beside other work threads wait for each other, and one wins.
    The way of running changes no more than last digits: random numbers come from (seed, picture, sample index).

    Attributes:
        way: in use.
        threads: all that it may use.
    """

    def __init__(self, start: int, largest: int, threads: int | None = None) -> None:
        """Begin with `start` passes on all `threads`; None leaves the threads alone."""
        self.way = Way(min(start, largest), threads)
        self.threads = threads
        self._largest = largest
        self._lock = threading.Lock()
        self._warm: set[Way] = set()
        self._recent: deque[float] = deque(maxlen=KEPT)  # seconds a pass, of the way in use
        self._level: float | None = None  # their median at the last look
        self._queue = self._neighbours()  # whom to look at before resting
        self._rival: Way | None = None
        self._pair: tuple[float, float] | None = None  # seconds a pass of the way in use, and when that was
        self._won: list[float] = []  # seconds a pass of the rival, in the pairs that it won
        self._lost = 0
        self._extra = 0.0  # seconds that the last look cost
        self._rested, self._spent = 0, 0.0  # chunks and seconds since
        self._longest = REST[0]  # rest before the next look, in chunks

    def propose(self, left: int | None = None) -> Way:
        """How the next chunk is to be run, with so many passes `left`."""
        with self._lock:
            fitting = [one for one in self._queue if left is None or one.size <= left]
            if self._rival is None or (left is not None and left < self._rival.size):
                if not fitting:
                    return self.way
                self._queue.remove(fitting[0])
                self._queue += [self._rival] if self._rival else []
                self._rival, self._pair, self._won, self._lost = fitting[0], None, [], 0
            return self.way if self._pair is None else self._rival

    def record(self, way: Way, seconds: float) -> None:
        """Note how long a whole chunk took. The first one of each way warms it up and says nothing about it."""
        each, now = seconds / way.size, perf_counter()
        with self._lock:
            if way not in self._warm:
                self._warm.add(way)
            elif way == self.way:
                self._pair = each, now
                self._recent.append(each)
                if self._rival is None:
                    self._rest(seconds)
            elif way == self._rival and self._pair is not None:
                before, ended = self._pair
                self._pair = None
                if now - seconds - ended <= STALE:
                    self._compare(way, each, before)

    def too_large(self, way: Way) -> None:
        """Memory ran out at this size: never propose it again."""
        with self._lock:
            self._largest = max(1, way.size // 2)
            self._use(Way(min(self.way.size, self._largest), self.way.threads))

    def _compare(self, rival: Way, each: float, before: float) -> None:
        self._extra += max(0.0, each - before) * rival.size
        if each > GAIN * before:
            self._lost += LOSSES if each > FAR * before else 1
        else:
            self._won.append(each)
        usual = median(self._recent)
        if len(self._won) == WINS and median(self._won) <= GAIN * usual:
            self._use(rival)
        elif len(self._won) == WINS or self._lost >= LOSSES:
            self._rival = None
            if not self._queue:
                self._rested, self._spent, self._level = 0, 0.0, usual
                self._longest = min(2 * self._longest, REST[1])

    def _use(self, way: Way) -> None:
        """From now on run so; what is near it is unknown, most of all further on in the direction of the move."""
        before, self.way = self.way, way
        known = self._neighbours()
        onward = [one for one in known if self._direction(way, one) == self._direction(before, way)]
        self._queue = onward + [one for one in known if one not in onward and one != before]
        self._rival = self._pair = self._level = None
        self._extra, self._longest = 0.0, REST[0]
        self._recent.clear()

    def _rest(self, seconds: float) -> None:
        self._rested += 1
        self._spent += seconds
        changed = False
        if len(self._recent) == KEPT and self._level is not None:
            changed = not 1 / CHANGED < median(self._recent) / self._level < CHANGED
        paid = self._rested >= REST[0] and self._extra <= COST * self._spent
        if changed:
            self._longest = REST[0]
        if changed or paid or self._rested >= self._longest:
            self._queue, self._extra = self._neighbours(), 0.0

    def _neighbours(self) -> list[Way]:
        size, threads = self.way
        counts: list[int] = []
        if threads is not None and self.threads is not None:
            counts += [threads // 2] if threads > 1 else []
            counts += [min(2 * threads, self.threads)] if threads < self.threads else []
        sizes = [one for one in (2 * size, size // 2) if 1 <= one <= self._largest]
        return [Way(size, count) for count in counts] + [Way(one, threads) for one in sizes]

    @staticmethod
    def _direction(one: Way, other: Way) -> tuple[bool, bool]:
        """Which of the two changes, and whether it grows."""
        if one.size != other.size:
            return True, other.size > one.size
        return False, (other.threads or 0) > (one.threads or 0)


_tuners: Recent[Hashable, ChunkTuner] = Recent(TUNERS)


def tuner_for(classifier: Classifier, shape: tuple[int, ...], kind: str) -> ChunkTuner:
    """The tuner of one classifier, picture shape, device and kind of pass ("gradient", "forward", ...)."""
    device = classifier.device.type
    threads = usual_threads() if device == "cpu" else None
    key = (classifier.fingerprint, tuple(shape), str(classifier.device), classifier.precision, kind, threads)
    return _tuners.get_or_make(key, lambda: ChunkTuner(START.get(device, 8), LARGEST.get(device, 64), threads))


class FixedChunk(ChunkTuner):
    """Always the same size, unless memory runs out: for work whose last digits depend on the chunk and decide much."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size)

    def propose(self, left: int | None = None) -> Way:
        """The size, or what memory allows of it."""
        return self.way

    def record(self, way: Way, seconds: float) -> None:
        """Nothing is learned from it."""


def in_chunks(
    classifier: Classifier, total: int, shape: tuple[int, ...], kind: str, run: Callable[[int, int], None]
) -> Iterator[int]:
    """Run `run(start, end)` over range(total) in chunks, yielding how many are done after each.

    On out-of-memory the chunk is halved and run again, so `run` adds to its sums last.
    """
    return chunked(tuner_for(classifier, shape, kind), classifier.device, total, run)


def chunked(tuner: ChunkTuner, device: torch.device, total: int, run: Callable[[int, int], None]) -> Iterator[int]:
    """As `in_chunks`, with a tuner of one's own; where the work is `interruptible`, it can end before each chunk."""
    start = 0
    while start < total:
        check()
        way = tuner.propose(total - start)
        size = min(way.size, total - start)
        began = perf_counter()
        try:
            with on_threads(way.threads, tuner.threads):
                run(start, start + size)
            synchronise(device)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not out_of_memory(error):
                raise
            tuner.too_large(way._replace(size=size))
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        if size == way.size:
            tuner.record(way, perf_counter() - began)
        start += size
        yield start


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; of a GPU, or of the machine, which PyTorch tells in words only."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
