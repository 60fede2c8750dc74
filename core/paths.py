"""Where the files that come with Satchel lie."""

from __future__ import annotations

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
