"""How far long work is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Called with a fraction in [0, 1] and a line of text, while something is fetched or loaded.
OnProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class Progress:
    """How far a stage is, in its own units."""

    stage: str
    done: int
    total: int
