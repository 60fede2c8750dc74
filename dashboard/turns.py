"""A turn on the device for work that takes long, and lets others go first in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

from core.runtime.interrupt import Interrupted
from dashboard.runs import FairLock

# how such work stands, whatever it is
READING, FINISHED, STOPPED, FAILED = "reading", "finished", "stopped", "failed"


class Turn:
    """A turn on the device that can be passed on in the middle of a long step."""

    def __init__(self, lock: FairLock, cancelled: Callable[[], bool]) -> None:
        self._lock, self._cancelled, self._stack = lock, cancelled, ExitStack()

    @contextmanager
    def held(self) -> Generator[None]:
        """Have it.

        Raises:
            Interrupted: cancelled before there was one.
        """
        self._take()
        try:
            yield
        finally:
            self._stack.close()

    def pass_on(self) -> None:
        """Let whoever waits go first.

        Raises:
            Interrupted: cancelled meanwhile.
        """
        self._stack.close()
        self._take()

    def passed_on(self) -> bool:
        """The same for `interruptible`: True once it is cancelled."""
        try:
            self.pass_on()
        except Interrupted:
            return True
        return False

    def _take(self) -> None:
        if not self._stack.enter_context(self._lock.turn(self._cancelled)):
            raise Interrupted
