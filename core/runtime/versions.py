"""Numbered whole files in a folder: the newest one holds, and no number is given twice, whoever writes.

This is what lets several processes share a folder without a lock. A new version is written under a name of its own and
then linked to its number, which fails if the number is taken: of two who change the same version, one is told.
"""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from core.errors import UserError

SUFFIX = ".json"
PART = ".part"
# an unfinished file this old belongs to nobody any more
ABANDONED = 3600.0
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_counter = itertools.count()


class WriteError(UserError):
    """Nothing was written; what stood there before is whole."""


class Versions:
    """The versions in one folder, which need not exist yet. Numbers begin at 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def numbers(self) -> list[int]:
        """Those that are there, ascending.

        Raises:
            UserError: the folder is there, but not for this user to read.
        """
        try:
            names = os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise UserError(f"{self.folder} cannot be read ({error.strerror}); change its permissions.") from error
        stems = (name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def newest(self) -> int:
        """The highest number, 0 if there is none."""
        return max(self.numbers(), default=0)

    def path(self, number: int) -> Path:
        return self.folder / f"{number:08d}{SUFFIX}"

    def add(self, number: int, data: bytes) -> None:
        """Write a version; when this returns it is on the disk.

        Raises:
            FileExistsError: the number is taken.
            WriteError: the disk is full, or the folder cannot be written to.
        """
        part = self.folder / f"{os.getpid()}-{threading.get_ident()}-{next(_counter)}{PART}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                _write(part, data)
                _claim(part, self.path(number))
            finally:
                with suppress(OSError):
                    part.unlink()
            _settle(self.folder)
        except FileExistsError:
            raise
        except OSError as error:
            raise write_error(self.folder, error) from error

    def prune(self, keep: int) -> None:
        """Remove all but the newest versions, and what killed writers left."""
        for number in self.numbers()[:-keep]:
            with suppress(OSError):
                self.path(number).unlink()
        for part in self.folder.glob(f"*{PART}"):
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > ABANDONED:
                    part.unlink()


def write_error(folder: Path, error: OSError) -> WriteError:
    """What to tell people when a file in `folder` could not be written."""
    saved = "nothing was saved this time, and what was saved before is whole"
    if error.errno in FULL:
        return WriteError(f"The disk of {folder} is full; free some room and try again ({saved}).")
    reason = error.strerror or error
    return WriteError(f"{folder} cannot be written to ({reason}); change that or choose another folder ({saved}).")


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _claim(part: Path, path: Path) -> None:
    """Give a file its name unless that is taken, in one step."""
    if os.name == "nt":
        os.rename(part, path)  # there it fails where the name is taken; elsewhere it would replace
    else:
        os.link(part, path)


def _settle(folder: Path) -> None:
    """Make the names in a folder outlast a power failure, where the system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
