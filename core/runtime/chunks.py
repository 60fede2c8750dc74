"""How many passes go through the model at once: learned from the real chunks as they run."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from time import perf_counter

import torch

from core.classifier import Classifier
from core.runtime.device import synchronise

START = {"cpu": 4, "cuda": 32}
# on a CPU larger ones are hardly faster, and memory grows with them
LARGEST = {"cpu": 8, "cuda": 1024}


class ChunkTuner:
    """Climbs from a small chunk to the fastest one, a power of two; remembers it per key.

    Chunk size never changes a result: random numbers come from (seed, picture, sample index).
    """

    def __init__(self, start: int, largest: int) -> None:
        self.start, self.largest = start, largest
        self._best: dict[int, float] = {}  # chunk -> least seconds per pass seen
        self._seen: defaultdict[int, int] = defaultdict(int)
        self._limit = largest
        self._warm = False

    def propose(self) -> int:
        """The next chunk to run: the fastest seen, or its untried neighbour."""
        if not self._best:
            return min(self.start, self._limit)
        best = min(self._best, key=lambda size: self._best[size])
        for size in (best * 2, best // 2):
            if 1 <= size <= self._limit and self._seen[size] < 1:
                return size
        return best

    def record(self, size: int, seconds: float) -> None:
        """Note how long a whole chunk took. The very first one warms the model up and says nothing about its size."""
        if not self._warm:
            self._warm = True
            return
        self._seen[size] += 1
        per_pass = seconds / size
        self._best[size] = min(per_pass, self._best.get(size, float("inf")))

    def too_large(self, size: int) -> int:
        """Memory ran out at this size: never propose it again. Returns the size to try next."""
        self._limit = max(1, size // 2)
        self._best = {known: t for known, t in self._best.items() if known <= self._limit}
        return self._limit


_tuners: dict[Hashable, ChunkTuner] = {}
_lock = threading.Lock()


def tuner_for(classifier: Classifier, shape: tuple[int, ...], kind: str) -> ChunkTuner:
    """The tuner of one classifier, picture shape, device and kind of pass ("gradient", "forward", ...)."""
    key = (classifier.fingerprint, tuple(shape), str(classifier.device), classifier.precision, kind)
    with _lock:
        if key not in _tuners:
            device = classifier.device.type
            _tuners[key] = ChunkTuner(START.get(device, 8), LARGEST.get(device, 64))
        return _tuners[key]


class FixedChunk(ChunkTuner):
    """Always the same size, unless memory runs out: for work whose last digits depend on the chunk and decide much."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size)

    def propose(self) -> int:
        """The size, or what memory allows of it."""
        return self._limit

    def record(self, size: int, seconds: float) -> None:
        """Nothing is learned from it."""


def in_chunks(
    classifier: Classifier, total: int, shape: tuple[int, ...], kind: str, run: Callable[[int, int], None]
) -> Iterator[int]:
    """Run `run(start, end)` over range(total) in chunks, yielding how many are done after each.

    On out-of-memory the chunk is halved and run again, so `run` adds to its sums last.
    """
    return chunked(tuner_for(classifier, shape, kind), classifier.device, total, run)


def chunked(tuner: ChunkTuner, device: torch.device, total: int, run: Callable[[int, int], None]) -> Iterator[int]:
    """As `in_chunks`, with a tuner of one's own."""
    start = 0
    while start < total:
        proposed = tuner.propose()
        size = min(proposed, total - start)
        began = perf_counter()
        try:
            run(start, start + size)
            synchronise(device)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not out_of_memory(error):
                raise
            tuner.too_large(size)
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        if size == proposed:
            tuner.record(size, perf_counter() - began)
        start += size
        yield start


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; of a GPU, or of the machine, which PyTorch tells in words only."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
