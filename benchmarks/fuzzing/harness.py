"""What every family shares: an input by (family, seed, index), one try of it within limits, and how it came out."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from core.errors import UserError

OUTCOMES = ("read", "refused", "raw", "wrong", "slow")
FAILURES = ("raw", "wrong", "slow")
#: CPU seconds and bytes above which an input is too slow or too greedy, and wall seconds after which it is stopped.
SLOW, GREEDY, STOPPED = 2.0, 256 << 20, 20.0
#: Bytes more than at its start that a process may ask for; then it is out of memory.
ROOM = 2 << 30
Value = TypeVar("Value")


class Wrong(Exception):
    """Read, but not as it is; or refused though it is sound."""


class Hung(BaseException):
    """Not done in time. No `except Exception` on the way may swallow it."""


@dataclass
class Case:
    """One input: where its random numbers and its files are, and what is found out about it.

    Attributes:
        kind: what kind of input it is; failures are gathered by it.
    """

    rng: np.random.Generator
    folder: Path
    kind: str = ""
    began: float = 0.0
    before: int = 0

    def begin(self) -> None:
        """Count time and memory from here on; what makes a large input calls it again when that is done."""
        self.began, self.before = time.process_time(), _reset_peak()

    def pick(self, choices: Sequence[Value]) -> Value:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def number(self, low: int, high: int) -> int:
        """Both included."""
        return int(self.rng.integers(low, high + 1))

    def sound(self, read: Callable[[], Value]) -> Value:
        """What comes of a sound input, which must not be refused."""
        try:
            return read()
        except UserError as error:
            raise Wrong(f"refused, though sound: {error}") from error

    def expect(self, holds: object, otherwise: str) -> None:
        if not holds:
            raise Wrong(otherwise)


@dataclass(frozen=True)
class Family:
    """One kind of thing that people hand over.

    Attributes:
        share: of all inputs; attempt: makes one and reads it.
        slow: CPU seconds above which that is too slow.
    """

    name: str
    share: float
    attempt: Callable[[Case], None]
    slow: float = SLOW


@dataclass(frozen=True)
class Outcome:
    """How one input came out: `outcome` is one of OUTCOMES, `text` says why where it failed."""

    family: str
    index: int
    kind: str
    outcome: str
    text: str = ""
    trace: str = field(default="", compare=False)

    @property
    def signature(self) -> tuple[str, str, str, str]:
        """Failures of one signature are told once, with a count."""
        return self.family, self.outcome, self.kind, re.sub(r"'[^']*'|/[^;,()]*|[\d.]+", "_", self.text)[:80]


@contextmanager
def scratch() -> Generator[Path]:
    """A folder for the files of inputs, in memory where there is such a place."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=place) as folder:
        yield Path(folder)


def attempt(family: Family, seed: int, index: int, folder: Path) -> Outcome:
    """Try the input (family, seed, index); its files lie in `folder` for as long as it takes."""
    own = folder / "input"
    own.mkdir()
    case = Case(np.random.default_rng([seed, crc32(family.name.encode()), index]), own)
    case.begin()
    outcome, text, trace = "read", "", ""
    try:
        with stopped_after(max(STOPPED, 2 * family.slow)):
            family.attempt(case)
    except UserError as error:
        outcome = "refused" if str(error).strip() else "raw"
        text = str(error)
    except Wrong as error:
        outcome, text = "wrong", str(error)
    except Hung:
        outcome, text, trace = "slow", "not done in time", traceback.format_exc()
    except MemoryError as error:
        outcome, text, trace = "slow", f"out of memory {_place(error)}", traceback.format_exc()
    except Exception as error:  # noqa: BLE001 - all else is a defect, and what this looks for
        outcome, text = "raw", f"{type(error).__name__} {_place(error)}: {str(error)[:160]}"
        trace = traceback.format_exc()
    seconds, grown = time.process_time() - case.began, _peak() - case.before
    if outcome in ("read", "refused") and seconds > family.slow:
        outcome, text = "slow", f"{seconds:.1f} s of CPU"
    elif outcome in ("read", "refused") and grown > GREEDY:
        outcome, text = "slow", f"{grown >> 20} MB more memory"
    _removed(own)
    return Outcome(family.name, index, case.kind, outcome, text, trace)


def limit_memory() -> None:
    """So that what reads without end fails here, and not the machine."""
    with suppress(OSError, ValueError):
        found = re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())
        if found:
            limit = (int(found[1]) << 10) + ROOM
            resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


@contextmanager
def stopped_after(seconds: float) -> Generator[None]:
    def stop(*_: Any) -> None:
        raise Hung

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _place(error: BaseException) -> str:
    """The last line of the product's own code that an exception came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/core/" in frame.filename or "/dashboard/" in frame.filename]
    last = (own or frames)[-1]
    return f"in {Path(last.filename).name}:{last.name}"


def _removed(folder: Path) -> None:
    """Inputs without permissions must go too."""
    for place, folders, _ in os.walk(folder):
        for name in folders:
            inner = os.path.join(place, name)
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise RuntimeError(f"{folder} cannot be removed")


def _reset_peak() -> int:
    """Bytes in use now, from which the peak is counted anew where the system can do that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
