"""What the program itself is: what results name, so that they can be made again."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch


@cache
def satchel_version() -> str:
    """Satchel's version; "unknown" where it runs from a copy of its files."""
    try:
        return version("satchel")
    except PackageNotFoundError:
        return "unknown"


def software() -> dict[str, str]:
    """Names -> versions."""
    return {"satchel": satchel_version(), "python": platform.python_version(), "torch": torch.__version__}
