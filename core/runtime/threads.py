"""How many threads an operation uses on the CPU: fewer for a while, without a trace in other threads of the process."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_usual: int | None = None  # what was set before anybody lowered it
_lowered = 0  # how many threads of the process run on fewer now


def usual_threads() -> int:
    """What the process is set to (torch.set_num_threads), whatever runs on fewer at the moment."""
    global _usual
    with _lock:
        if _lowered == 0:
            _usual = _of_a_new_thread()
        assert _usual is not None
        return _usual


@contextmanager
def on_threads(count: int | None, usual: int | None) -> Generator[None]:
    """Operations of this thread run on `count` threads while the block runs, then on the `usual` number again.

    None leaves them alone.

    PyTorch's setting is this thread's own and at the same time that of threads yet to come. One that came while the
    setting was lowered would stay slow for ever: it is put right when it runs chunks itself.
    """
    global _lowered
    if count is None or usual is None or count == usual == torch.get_num_threads():
        yield
        return
    with _lock:
        _lowered += 1
        torch.set_num_threads(count)
    try:
        yield
    finally:
        with _lock:
            _lowered -= 1
            torch.set_num_threads(usual)


def _of_a_new_thread() -> int:
    """PyTorch answers with the setting of the thread that asks; a new one has that of the process."""
    found: list[int] = []
    asker = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    asker.start()
    asker.join()
    return found[0]
