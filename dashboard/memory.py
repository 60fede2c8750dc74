"""What a page that runs for weeks must not keep: a copy of itself for every visitor, and memory that is free."""

from __future__ import annotations

import atexit
import ctypes
import gc
import threading
from types import SimpleNamespace
from typing import Any

import pyarrow
from gradio import state_holder

from dashboard.machine import resident

ARENAS = 2  # with glibc's eight a core, what 40 threads freed lies about in all of them
EVERY = 5.0  # seconds
GROWTH = 16 * 2**20  # bytes; less is not worth looking
M_ARENA_MAX = -8  # of glibc's malloc.h


class LeanState(state_holder.SessionState):
    """A visitor's state without the copy of every component and its value, which only deep links need.

    There are none on this page, and the copy costs a visitor half a megabyte, what the page shows besides (maps,
    pictures), and the event loop 50 ms; none of it would ever be given back.
    """

    config_values = property(lambda self: {}, lambda self, value: None)

    def __init__(self, blocks: Any) -> None:
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))  # ty: ignore[invalid-argument-type]

    def _update_config(self, key: int) -> None:
        """Nothing is kept."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Nothing is kept."""


def keep_visitors_lean() -> None:
    """Of all pages of this process that are served from now on."""
    state_holder.SessionState = LeanState  # ty: ignore[invalid-assignment]


def give_back() -> None:
    """Collect cycles, and return free pages to the system where that can be asked for (glibc)."""
    gc.collect()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_level() -> None:
    """From now on, in the background, give back what was freed each time the process has grown."""
    set_option = getattr(_libc(), "mallopt", None)
    if set_option is not None:
        set_option(M_ARENA_MAX, ARENAS)
    pyarrow.set_memory_pool(
        pyarrow.system_memory_pool()
    )  # whose free pages are given back too; its own pool keeps them
    gc.collect()
    gc.freeze()  # modules stay anyway; looking through them at every collection would hold requests up
    atexit.register(gc.unfreeze)  # else extensions take what is left at the end for leaks, and say so
    threading.Thread(target=_watch, name="satchel-memory", daemon=True).start()


def _watch() -> None:
    pause, level = threading.Event(), resident()
    while not pause.wait(EVERY):
        if resident() > level + GROWTH:
            give_back()
            level = resident()
        level = min(level, resident())


def _libc() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # another system
        return None
