"""Many small files in one: a ZIP without compression, which any program opens, and of which each is read alone."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from core.errors import UserError
from core.runtime.whole_files import whole_file

READABLE = 0o644 << 16


class Packer:
    """A pack that is being written."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str, data: bytes) -> str:
        """The same files in the same order give the same bytes.

        Returns:
            The name that the file has there: with a number where another one has it already.
        """
        wanted = Path(name)
        for number in itertools.count(2):
            if name not in self._names:
                break
            name = f"{wanted.stem}-{number}{wanted.suffix}"
        entry = ZipInfo(name)
        entry.external_attr = READABLE
        self._archive.writestr(entry, data)
        self._names.add(name)
        return name


@contextmanager
def packing(path: Path) -> Generator[Packer]:
    """Write a pack, whole or not at all.

    Raises:
        UserError: the disk is full, or the place cannot be written to; what stood there before is untouched.
    """
    with whole_file(path) as part, ZipFile(part, "w", ZIP_STORED) as archive:
        yield Packer(archive)


class Pack:
    """A pack that was written, opened when something is asked for. May be used from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _archive(self) -> ZipFile:
        if self.path.is_symlink() or not self.path.is_file():  # reading a pipe or a device might never end
            raise FileNotFoundError("there is no such file")
        return ZipFile(self.path)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all files in it, in the order they were written.

        Raises:
            UserError: it is missing or damaged.
        """
        try:
            return tuple(self._archive.namelist())
        except Exception as error:  # a file may claim to be anything
            raise self._damaged(error) from error

    def read(self, name: str) -> bytes:
        """One file.

        Raises:
            UserError: it is not there, or the pack is missing or damaged.
        """
        try:
            entry = self._archive.getinfo(name)
            # so that nothing is larger than the pack
            if entry.compress_type != ZIP_STORED or entry.compress_size > self.path.stat().st_size:
                raise BadZipFile(f"{name} is not as it was written")
            return self._archive.read(entry)
        except KeyError as error:
            raise UserError(f"{self.path} holds no {name}.") from error
        except Exception as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> UserError:
        return UserError(f"{self.path} is missing or damaged ({error}).")
