"""Where files lie: those that come with Satchel, what it keeps for later, and what people made with it."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import UserError


def assets_dir() -> Path:
    """The folder of shipped weights, pictures and reports.

    An installed wheel carries it inside the package; a checkout has it beside the package.

    Raises:
        UserError: neither is there.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "assets", package.parent / "assets"):
        if folder.is_dir():
            return folder
    raise UserError("The assets folder is missing from this installation; install Satchel again.")


def cache_dir() -> Path:
    """`$SATCHEL_CACHE`, or `satchel` in the user's cache folder: what can be made again."""
    return _own("SATCHEL_CACHE", "XDG_CACHE_HOME", ".cache")


def data_dir() -> Path:
    """`$SATCHEL_DATA`, or `satchel` in the user's data folder: what people made."""
    return _own("SATCHEL_DATA", "XDG_DATA_HOME", ".local/share")


def _own(variable: str, base: str, default: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable])
    return Path(os.environ.get(base) or Path.home() / default) / "satchel"
