"""Reports made from the page: one at a time, in a thread of its own, which gives the device back between its steps."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from core.choice import Choice, tied_by_label
from core.classifier import Classifier
from core.data import Dataset, no_segments
from core.errors import UserError
from core.runtime.interrupt import Interrupted, interruptible
from core.runtime.progress import Progress
from core.runtime.whole_files import whole_file, write_json
from core.sat.report import ReportOptions, build_report
from core.sat.shards import Bench, PictureShard
from core.sat.so_far import Estimate, so_far
from core.sat.stamps import Stamp
from core.segments.saved.store import plain_name
from dashboard.runs import FairLock
from dashboard.turns import FAILED, FINISHED, READING, STOPPED, Turn

log = logging.getLogger("satchel")

WAITING, MAKING = "waiting", "making"
ASKED, MANIFEST = "asked.json", "manifest.json"
BATCH = 4  # pictures a step: others wait no longer than that
SHARE = 0.05  # part of the time that may go into looking at what is there so far
PATIENCE = 10.0  # seconds between two looks at least
MOST_WAITING = 20
BESIDES = 2.1  # what all of a report takes, for what explaining and removing take; measured on the demo's
STAMPS = "stamps"


@dataclass(frozen=True)
class Asked:
    """What a report is to be about.

    Attributes:
        spec, data: of the model and the data set, as the page knows them. limit: pictures.
        explainers: as `Choice.parse` takes them. context: names of segments.
        stamps: files of patches. check: test by removing and pasting.
    """

    spec: str
    data: str
    limit: int
    explainers: tuple[str, ...]
    context: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    check: bool = True

    def options(self) -> ReportOptions:
        """As the report takes them.

        Raises:
            UserError: an explainer or a stamp is none.
        """
        return ReportOptions(
            explainers=tuple(map(Choice.parse, self.explainers)), check=self.check, context=self.context, batch=BATCH,
            stamps=tuple(Stamp.read(Path(file), 0.5) for file in self.stamps),
        )  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """How one stands, as it was at one moment.

    Attributes:
        phase: one of those above or of `dashboard.turns`. progress: the stage it is in. left: seconds that this stage
            still takes, None while that is not known. pictures, estimates: what stands out so far, of how many.
        problem: one sentence on what went wrong.
    """

    phase: str = WAITING
    progress: Progress | None = None
    left: float | None = None
    pictures: int = 0
    estimates: Sequence[Estimate] = ()
    problem: str = ""


class LiveReport:
    """One press of Make.

    Attributes:
        out: the report's folder. title: for people. seen: how it stands; version: counts its changes.
    """

    def __init__(
        self, asked: Asked, out: Path, title: str, opens: Callable[[], tuple[Dataset, Classifier]], lock: FairLock
    ) -> None:
        self.asked, self.out, self.title, self.seen, self.version = asked, out, title, Seen(), 0
        self._opens, self._lock, self._stopped = opens, lock, threading.Event()
        self.over = threading.Event()

    @property
    def running(self) -> bool:
        return not self.over.is_set()

    @property
    def stopping(self) -> bool:
        """Somebody has asked for the end, which comes after the step in hand."""
        return self._stopped.is_set() and self.running

    def stop(self) -> None:
        """End after the step in hand; what is done is kept."""
        self._stopped.set()

    def work(self) -> None:
        """Make it, unless it was stopped before its turn came."""
        try:
            if not self._stopped.is_set():
                self._make()
            self._tell(phase=STOPPED if self._stopped.is_set() else FINISHED)
        except Interrupted:
            self._tell(phase=STOPPED)
        except UserError as error:
            self._tell(phase=FAILED, problem=str(error))
        except Exception:  # a defect must leave a page that says so
            log.exception("the report failed")
            self._tell(phase=FAILED, problem="The report failed; the program's log says why.")
        finally:
            self.over.set()

    def _tell(self, **changed: Any) -> None:
        self.seen = replace(self.seen, **changed)
        self.version += 1

    def _make(self) -> None:
        self._tell(phase=READING)
        data, classifier = self._opens()
        options = self.asked.options()
        turn, pace, look = Turn(self._lock, self._stopped.is_set), _Pace(), _Look(self.out, classifier.labels)
        steps = build_report(data, classifier, self.out, options)
        try:
            while True:
                with turn.held(), interruptible(turn.passed_on):
                    step = next(steps, None)
                if step is None:
                    return
                self._tell(phase=MAKING, progress=step, left=pace.left(step))
                found = look.again(step)
                if found is not None:
                    self._tell(pictures=found[0], estimates=found[1])
        finally:
            steps.close()  # ty: ignore[missing-attribute]


class _Pace:
    """Seconds that are left of a stage, by what it has taken so far."""

    def __init__(self) -> None:
        self._stage, self._began, self._from = "", 0.0, 0

    def left(self, step: Progress) -> float | None:
        if step.stage != self._stage:  # what was done before it was stopped took no time now
            self._stage, self._began, self._from = step.stage, monotonic(), step.done
            return None
        done = step.done - self._from
        return (monotonic() - self._began) / done * (step.total - step.done) if done > 0 else None


class _Look:
    """Now and then what the tables say so far, which takes but a small part of the time."""

    def __init__(self, out: Path, labels: Sequence[str]) -> None:
        self._out, self._labels, self._due = out, labels, 0.0

    def again(self, step: Progress) -> tuple[int, list[Estimate]] | None:
        if monotonic() < self._due or step.stage not in ("explaining", "transplanting"):
            return None
        began = monotonic()
        found = so_far(self._out, self._labels)
        took = monotonic() - began
        self._due = monotonic() + max(PATIENCE, took / SHARE)
        return found


class Maker:
    """All reports that are made on a server, one after the other."""

    def __init__(self, lock: FairLock) -> None:
        self._lock = lock
        self._guard = threading.Condition()
        self._queue: list[LiveReport] = []
        self._thread: threading.Thread | None = None

    def add(self, live: LiveReport) -> LiveReport:
        """Have one made when its turn comes; one into the same folder that waits or runs is taken instead.

        Raises:
            UserError: too many wait already.
        """
        with self._guard:
            same = next((one for one in self._queue if one.out == live.out and not one.stopping), None)
            if same is not None:
                return same
            if len(self._queue) >= MOST_WAITING:
                raise UserError("Many reports are waiting to be made here; come back when some are finished.")
            self._queue.append(live)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="satchel-reports", daemon=True)
                self._thread.start()
            return live

    @property
    def current(self) -> LiveReport | None:
        """The one in hand."""
        with self._guard:
            return self._queue[0] if self._queue else None

    def ahead(self, live: LiveReport) -> int:
        """How many come before it."""
        with self._guard:
            return self._queue.index(live) if live in self._queue else 0

    def stop(self, patience: float = 0.0) -> None:
        """End all; waits so many seconds for the one in hand."""
        with self._guard:
            waiting = list(self._queue)
        for live in waiting:
            live.stop()
        if waiting and patience:
            waiting[0].over.wait(patience)

    def _work(self) -> None:
        while True:
            with self._guard:
                if not self._queue:
                    self._thread = None
                    return
                live = self._queue[0]
            live.work()
            with self._guard:
                self._queue.remove(live)


def seconds_for(data: Dataset, classifier: Classifier, options: ReportOptions, turn: Turn) -> float:
    """About how long a report takes, by what one picture takes once it is warm.

    Raises:
        UserError: no picture of the data can be used, or an explainer cannot explain the model.
    """
    items = [item for item in data.items if item.segments is not no_segments] or list(data.items)
    given = (options.fills, options.seed, options.check, 1, options.target)
    bench = Bench(classifier, tied_by_label(options.explainers, classifier), *given)
    took = 0.0
    for item in items[:2]:
        steps = PictureShard("000000.parquet", (item,)).compute(bench)
        with turn.held(), interruptible(turn.passed_on):
            began = monotonic()
            for _ in steps:
                pass
            took = monotonic() - began
    return took * len(data) * (BESIDES if options.check else 1.0)


def place_of(folder: Path, asked: Asked, title: str, fingerprint: str) -> Path:
    """Where the report lies that is asked for: the same again goes on, or is finished there."""
    known = json.dumps([asdict(asked), fingerprint], sort_keys=True)
    return folder / f"{plain_name(title)}-{hashlib.sha256(known.encode()).hexdigest()[:8]}"


def remember(out: Path, asked: Asked, title: str) -> None:
    """Beside the report, so that it can be gone on with after a restart.

    Raises:
        UserError: the disk is full.
    """
    write_json(out.with_suffix(".json"), {"title": title, **asdict(asked)})


def remembered(folder: Path) -> Mapping[Path, tuple[str, Asked]]:
    """The folders of reports that were asked for, with title and wish, the newest first."""
    found: dict[Path, tuple[str, Asked]] = {}
    for file in sorted(folder.glob("*.json"), key=lambda path: -path.stat().st_mtime) if folder.is_dir() else []:
        try:
            told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            title = str(told.pop("title"))
            told |= {name: tuple(told[name]) for name in ("explainers", "context", "stamps")}
            found[file.with_suffix("")] = (title, Asked(**told))
        except (OSError, ValueError, TypeError, KeyError):  # half written, or of another version
            continue
    return found


def kept_stamps(folder: Path, files: Sequence[str]) -> tuple[str, ...]:
    """Copies of uploaded patches, which have to be there when a report is gone on with.

    Raises:
        UserError: one cannot be copied.
    """
    kept = []
    for file in map(Path, files):
        content = file.read_bytes()
        place = folder / STAMPS / hashlib.sha256(content).hexdigest()[:12] / file.name
        with whole_file(place) as part:
            part.write_bytes(content)
        kept.append(str(place))
    return tuple(kept)
