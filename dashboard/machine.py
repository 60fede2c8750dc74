"""How much memory there is, and how much of it this process has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MODEL_BYTES = 4 * 2**30  # of the models that are kept, where the machine has three times as much
CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_bytes() -> int:
    """The memory that this process may have: the machine's, or its container's where that is less; 0 if nobody says."""
    known = []
    with suppress(OSError, ValueError, AttributeError):
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in CONTAINER:
        with suppress(OSError, ValueError):  # "max" where there is no bound
            known.append(int(file.read_text(encoding="ascii")))
    return min(known, default=0)


def usual_model_bytes() -> int:
    """What loaded models may take together where nothing is said: a third of the memory, at most MODEL_BYTES."""
    return min(MODEL_BYTES, machine_bytes() // 3) or MODEL_BYTES


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
