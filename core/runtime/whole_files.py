"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.runtime.versions import FULL


@contextmanager
def writing(place: Path) -> Generator[None]:
    """What the system says when something is written there, as one sentence.

    Raises:
        UserError: the disk is full, or the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            cure = "nothing that was there is lost, so free some room and do the same again"
        else:
            cure = "change its permissions or choose another place"
        raise UserError(f"{place} cannot be written ({error.strerror or error}); {cure}.") from error


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A file that appears whole or not at all: write to the path that is given, which takes the name at the end.

    Raises:
        UserError: the disk is full, or the place cannot be written to; what stood there before is untouched.
    """
    part = path.with_name(path.name + ".part")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()


def write_json(path: Path, value: Any, compact: bool = False) -> None:
    """Whole or not at all. What is no Unicode in a file name becomes an escape, which JSON reads back.

    Args:
        compact: without line breaks, which are read sooner where they would be millions.
    """
    text = json.dumps(value, indent=None if compact else 1, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
