"""The families of `benchmarks/fuzz.py`, a module each."""

from __future__ import annotations

from importlib import import_module

from .harness import Family

NAMES = (
    "pictures", "masks", "annotations", "manifests", "stores", "texts", "checkpoints", "models", "folders",
)  # fmt: skip


def families() -> list[Family]:
    """All of them, in a steady order."""
    found = [import_module(f"{__name__}.{name}").FAMILY for name in NAMES]
    return [family for family in found if family.share]
