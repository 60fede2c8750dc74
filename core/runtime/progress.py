"""How far long work is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a stage is, in its own units."""

    stage: str
    done: int
    total: int
