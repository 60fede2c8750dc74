"""Where files lie: what comes with Satchel, what it keeps, what people made with it; and the paths that people give."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from core.errors import UserError

LONGEST_PATH, LONGEST_NAME = 4095, 255  # bytes, of the usual file systems
KERNEL = ("/proc/", "/sys/")
SHOWN = 80  # characters of a path that is no path


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


def user_path(text: str | Path) -> Path:
    """A path as a person gives it, `~` expanded; nothing is looked at.

    Raises:
        UserError: empty, with a NUL, longer than a file system takes, or of a user that does not exist.
    """
    given = str(text)
    if not given.strip():
        raise UserError("No path was given; name a file or a folder.")
    try:
        encoded = os.fsencode(given)
    except UnicodeEncodeError as error:
        raise UserError(f"The path {_short(given)} holds characters that no file name has; type it again.") from error
    if b"\0" in encoded:
        raise UserError(f"The path {_short(given)} holds a NUL character, which no file name has; type it again.")
    if len(encoded) > LONGEST_PATH or max(map(len, encoded.split(os.sep.encode()))) > LONGEST_NAME:
        raise UserError(f"The path {_short(given)} is longer than paths can be; check it.")
    path = Path(given)
    try:
        return path.expanduser()
    except RuntimeError as error:
        if os.path.lexists(path):  # such as "~$table.png", which lies beside an open document
            return path
        raise UserError(f"There is no user {path.parts[0]} here; write the path {_short(given)} in full.") from error


def existing_file(path: Path, what: str, hint: str = "check its path") -> Path:
    """The path, once a regular file is found there that may be read. Devices, pipes and sockets are never opened.

    Args:
        what: what it should be, for messages ("weights file"); hint: what to do when nothing is there.

    Raises:
        UserError: nothing there, something else, or it may not be read.
    """
    _there(path, what, hint, "file", "the file in it")
    with readable(path, what), path.open("rb"):
        return path


def existing_folder(path: Path, what: str, hint: str = "check its path") -> Path:
    """The path, once a folder is found there that may be listed.

    Args:
        what: what it should be, for messages ("report folder"); hint: what to do when nothing is there.

    Raises:
        UserError: nothing there, something else, or it may not be listed.
    """
    _there(path, what, hint, "folder", "a folder")
    with readable(path, what), os.scandir(path):
        os.stat(path / ".")  # which takes the permission to enter
        return path


def _there(path: Path, what: str, hint: str, wanted: str, instead: str) -> None:
    kind = kind_at(path, what)
    if kind is None:
        raise UserError(f"There is no {what} {path}; {hint}.")
    if kind != wanted:
        raise UserError(f"{path} is a {kind}, not a {what}; name {instead}.")


def kind_at(path: Path, what: str) -> Literal["file", "folder"] | None:
    """What lies there, links followed; None for nothing.

    Raises:
        UserError: it cannot be looked at, or it is a device, a pipe or a socket, which nothing is read from.
    """
    try:
        with readable(path, what):
            mode = path.stat().st_mode
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise
    if stat.S_ISDIR(mode):
        return "folder"
    # some files of the kernel look like any other and never end, or are waited for
    if not stat.S_ISREG(mode) or os.path.realpath(path).startswith(KERNEL):
        raise UserError(f"{path} is a device, a pipe or a socket, not a {what}; name a file on the disk.")
    return "file"


@contextmanager
def readable(path: Path, what: str) -> Generator[None]:
    """What the system says when a path is looked at or read, as one sentence.

    Raises:
        UserError: it may not be read, its links go in a circle, the disk fails, ...
    """
    try:
        yield
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"The {what} {path} cannot be read ({error.strerror}); check its permissions.") from error
    except OSError as error:
        raise UserError(f"The {what} {path} cannot be read ({error.strerror or error}); check its path.") from error
    except ValueError as error:  # a NUL in it, or characters no file name has
        raise UserError(f"The {what} {_short(str(path))} cannot be read ({error}); check its path.") from error


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
