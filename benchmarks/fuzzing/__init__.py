"""The families of `benchmarks/fuzz.py`, a module each."""

from __future__ import annotations

from importlib import import_module

from .harness import Family

NAMES = ("pictures", "masks", "annotations", "stores", "texts", "checkpoints", "models")


def families() -> list[Family]:
    """All of them, in a steady order."""
    return [import_module(f"{__name__}.{name}").FAMILY for name in NAMES]
