"""The one training of a server: it works in a thread of its own, and gives the device back after each step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from core.data import Dataset
from core.errors import UserError
from core.learning import MaskingTraining, SalvageTraining
from core.runtime.interrupt import Interrupted, interruptible
from dashboard.classifiers import LoadedClassifier
from dashboard.log import served, told
from dashboard.runs import FairLock
from dashboard.turns import FAILED, FINISHED, READING, STOPPED, Turn

if TYPE_CHECKING:
    from core.training.loop import Training

log = logging.getLogger("satchel")

TRAINING, JUDGING = "training", "judging"


@dataclass(frozen=True)
class Asked:
    """What is to be trained.

    Attributes:
        loaded: the model that is to be explained.
        data: opens the pictures. values: of the controls, to put them back as they were.
        fresh: leave a checkpoint that is there.
    """

    loaded: LoadedClassifier
    data: Callable[[], Dataset]
    options: SalvageTraining | MaskingTraining
    values: tuple[Any, ...] = ()
    fresh: bool = False


@dataclass(frozen=True)
class Seen:
    """How a training stands, as it was at one moment.

    Attributes:
        phase: one of those above or of `dashboard.turns`. doing: what of it. done, total: of reading.
        training: steps and curves, once there are any.
        problem: one sentence on what went wrong; `refused`: it is a checkpoint of another training.
        file: of the finished explainer.
    """

    phase: str = READING
    doing: str = ""
    done: int = 0
    total: int = 0
    training: Training | None = None
    problem: str = ""
    refused: bool = False
    file: Path | None = None


class LiveTraining:
    """One press of Start."""

    def __init__(self, asked: Asked, lock: FairLock) -> None:
        self.asked, self.seen, self.version = asked, Seen(), 0
        self._lock, self._stopped = lock, threading.Event()
        self._visitor = served()
        self._thread = threading.Thread(target=self._work, name="satchel-training", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Somebody has asked for the end, which comes after the step in hand."""
        return self._stopped.is_set() and self.running

    def stop(self, patience: float = 0.0) -> None:
        """End after the step in hand; what was learned is kept. Waits so many seconds for it."""
        self._stopped.set()
        if patience and self._thread.is_alive():
            self._thread.join(patience)

    def wait(self, patience: float = 60.0) -> None:
        """Until it is over."""
        self._thread.join(patience)

    def _tell(self, **changed: Any) -> None:
        self.seen = replace(self.seen, **changed)
        self.version += 1

    def _work(self) -> None:
        from core.training.loop import CheckpointRefused

        began = monotonic()
        told("training begun", visitor=self._visitor)
        try:
            self._train()
        except Interrupted:
            self._tell(phase=STOPPED)
        except UserError as error:
            refused = isinstance(error, CheckpointRefused)
            self._tell(phase=FAILED, problem=_refusal(error.differs) if refused else str(error), refused=refused)
        except Exception:  # a defect must leave a page that says so
            log.exception("the training failed")
            self._tell(phase=FAILED, problem="The training failed; the program's log says why.")
        finally:
            seen = self.seen
            told(
                "training ended", visitor=self._visitor, failed=seen.phase == FAILED, phase=seen.phase,
                seconds=round(monotonic() - began, 3), **({"why": seen.problem} if seen.problem else {}),
            )  # fmt: skip

    def _train(self) -> None:
        from core.training.start import started

        asked, classifier = self.asked, self.asked.loaded.classifier
        turn = Turn(self._lock, self._stopped.is_set)

        def reading(done: int, total: int) -> None:
            self._tell(done=done, total=total)
            turn.pass_on()

        data = asked.data()
        # when it is judged the explainer is there already: no reason to wait for what others compute in its name
        steps = started(
            classifier, data, asked.options, fresh=asked.fresh, reading=reading, each=self._judging,
            around=lambda: interruptible(turn.passed_on),
        )  # fmt: skip
        try:
            while True:
                with turn.held():
                    told = next(steps)
                self._tell(phase=TRAINING, training=_copied(told))
        except StopIteration as finished:
            self._tell(phase=FINISHED, file=finished.value)
        finally:
            steps.close()  # stopped, it leaves a checkpoint

    def _judging(self, what: str) -> None:
        self._tell(phase=JUDGING, doing=what)


def _refusal(differs: str) -> str:
    """Why it does not go on, where a button does what the command line has an option for."""
    if not differs:
        return "What was trained before cannot be read; begin anew."
    return f"What was stopped before differs in its {differs}: set all as it was then to go on with it, or begin anew."


def _copied(told: Training) -> Training:
    """As it is now: the original changes with every step."""
    return replace(copy(told), points=list(told.points), between=list(told.between), notes=list(told.notes))


@dataclass
class Trainer:
    """At most one training at a time; the last one is kept to be looked at."""

    lock: FairLock
    live: LiveTraining | None = None
    closed: bool = False
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def start(self, asked: Asked) -> LiveTraining:
        """Begin.

        Raises:
            UserError: one is running, or the page is about to end.
        """
        with self._guard:
            if self.closed:
                raise UserError("This page is about to end; start the training again when it is back.")
            if self.live is not None and self.live.running:
                name = self.live.asked.loaded.classifier.name
                raise UserError(
                    f"An explainer of {name} is being trained here, and there is one training at a time; "
                    "wait for it, or stop it."
                )
            self.live = LiveTraining(asked, self.lock)
            self.live.start()
            return self.live

    def close(self) -> None:
        """Take no more, and end what runs after the step in hand; `stop` waits for that."""
        with self._guard:
            self.closed = True
        self.stop()

    def stop(self, patience: float = 0.0) -> None:
        """End what runs, after the step in hand."""
        if self.live is not None:
            self.live.stop(patience)
