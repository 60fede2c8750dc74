"""Python's collector of cycles, out of the way while millions of plain values are read that have none."""

from __future__ import annotations

import gc
import threading
from collections.abc import Generator
from contextlib import contextmanager

_LOCK = threading.Lock()
_waiting = 0  # threads that have it paused


@contextmanager
def collector_paused() -> Generator[None]:
    """For a block of work: it would look through everything again and again while a large file is read."""
    global _waiting
    with _LOCK:
        was_on = gc.isenabled() or _waiting > 0
        _waiting += was_on
        gc.disable()
    try:
        yield
    finally:
        with _LOCK:
            _waiting -= was_on
            if was_on and not _waiting:
                gc.enable()
