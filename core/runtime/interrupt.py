"""Ending work that cannot hand control back in between, such as what another library does in one call."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar


class Interrupted(Exception):
    """Whoever asked for the work does not want it any more."""


def _never() -> bool:
    return False


_unwanted: ContextVar[Callable[[], bool]] = ContextVar("unwanted", default=_never)


@contextmanager
def interruptible(unwanted: Callable[[], bool]) -> Generator[None]:
    """Within it, in this thread, `check` raises Interrupted once `unwanted()` is true."""
    token = _unwanted.set(unwanted)
    try:
        yield
    finally:
        _unwanted.reset(token)


def check() -> None:
    """To be called every now and then by work that takes seconds.

    Raises:
        Interrupted: it is not wanted any more.
    """
    if _unwanted.get()():
        raise Interrupted
