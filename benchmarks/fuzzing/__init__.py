"""The families of `benchmarks/fuzz.py`, a module each."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from .harness import Family

NAMES = (
    "pictures", "masks", "annotations", "manifests", "stores", "texts", "checkpoints", "models", "folders",
)  # fmt: skip


def families(names: Sequence[str] = NAMES) -> list[Family]:
    """Those of these names, without any whose slot is empty; others are not even imported."""
    found = [import_module(f"{__name__}.{name}").FAMILY for name in names]
    return [family for family in found if family.share]
