"""Loading what takes long, in threads of its own: one that hangs holds up nobody but those who want it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Generic, TypeVar

from core.errors import UserError
from core.runtime.progress import OnProgress

PATIENCE = 300.0  # seconds without a sign of life until nobody waits any longer
MOST_LOADS, MOST_WAITING = 4, 12  # at once; each that waits holds one of the server's 40 threads

Key = TypeVar("Key")
Value = TypeVar("Value")
"""Called with (fraction in [0, 1], text)."""


@dataclass
class Loading(Generic[Value]):
    """A load under way."""

    done: Future[Value] = field(default_factory=Future)
    sign: float = field(default_factory=monotonic)  # when it was last heard of


class Loads(Generic[Key, Value]):
    """Loads by key: those who want the same one wait for the same load."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # for looking; never held long
        self._under_way: dict[Key, Loading[Value]] = {}
        self._waiting = 0

    def get(
        self, key: Key, name: str, load: Callable[[OnProgress], Value], progress: OnProgress | None = None
    ) -> Value:
        """What `load` gives.

        Args:
            name: for people.
            load: called with what to tell its progress to.
            progress: of whoever comes first.

        Raises:
            UserError: it has not been heard of for PATIENCE, or too much is being loaded already; what `load` raises.
        """
        with self._lock:
            if self._waiting >= MOST_WAITING or (key not in self._under_way and len(self._under_way) >= MOST_LOADS):
                raise UserError("Several models are being loaded for others; choose this one again in a minute.")
            self._waiting += 1
            loading = self._under_way.get(key)
            if loading is None:
                loading = self._under_way[key] = Loading()
                work = partial(self._work, key, loading, load, progress)
                # in this request's context: that is where its progress is told
                threading.Thread(target=copy_context().run, args=(work,), name="satchel-load", daemon=True).start()
        try:
            return _wait(loading, name)
        finally:
            with self._lock:
                self._waiting -= 1

    def _work(
        self, key: Key, loading: Loading[Value], load: Callable[[OnProgress], Value], progress: OnProgress | None
    ) -> None:
        def told(fraction: float, text: str) -> None:
            loading.sign = monotonic()
            if progress is not None:
                progress(fraction, text)

        try:
            outcome: Callable[[], None] = partial(loading.done.set_result, load(told))
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            outcome = partial(loading.done.set_exception, error)
        with self._lock:
            del self._under_way[key]
        outcome()


def _wait(loading: Loading[Value], name: str) -> Value:
    while True:
        try:
            return loading.done.result(timeout=max(loading.sign + PATIENCE - monotonic(), 0.0))
        except TimeoutError:
            if loading.done.done():  # the load itself ran into one
                raise
            if monotonic() >= loading.sign + PATIENCE:
                raise UserError(
                    f"Nothing has been heard of {name} for {PATIENCE / 60:.0f} minutes; it is still being loaded, so "
                    "choose it again later, or look where its files are."
                ) from None
