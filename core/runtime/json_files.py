"""JSON files read whole, or looked at from end to end once, with their long lists left on the disk to be read entry by
entry."""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from core.errors import UserError
from core.runtime.schema import Looked, Shape, Wrong

_DECODE = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
WINDOW = 1 << 20  # characters of a file that are held at a time, if no value is longer


def read_json(path: Path) -> Any:
    """What a JSON file holds. Characters that are no Unicode, as in names of files, become question marks.

    Raises:
        OSError: there is none. ValueError: it is no JSON.
    """
    regular(path)
    text = path.read_text(encoding="utf-8")
    value = json.loads(text)
    return _mended(value) if _odd(text) else value


def regular(path: Path) -> None:
    """Reading a pipe or a device might never end.

    Raises:
        OSError: it is one.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is no regular file")


def _odd(text: str) -> bool:
    """Whether it may speak of characters that are none."""
    return "\\u" in text and ("\\ud" in text or "\\uD" in text)


def _size(text: str) -> int:
    """In bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _mended(value: Any) -> Any:
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


@dataclass(frozen=True)
class Left:
    """A list that is left on the disk.

    Attributes:
        shape: of each of its entries. key: by what they are found. look: is shown each one once, as it is read.
    """

    shape: Shape
    key: Callable[[Any], Hashable]
    look: Callable[[Any], None] = lambda entry: None


class Entries(Looked, Sequence[Any]):
    """A list in a JSON file, of which an entry is read when it is asked for.

    Attributes:
        keys: one an entry, as `Left.key` gave it.

    Raises:
        UserError: (from every reading) the file is gone, or another than it was.
    """

    def __init__(self, path: Path, stamp: tuple[int, int]) -> None:
        """
        Args:
            stamp: of the file as it was looked at, as of `_stamp`.
        """
        self.path, self._stamp = path, stamp
        self.keys: list[Any] = []
        self._spans = array("q")  # where each begins and ends, in bytes

    def add(self, start: int, end: int, key: Hashable) -> None:
        """One more, as the file is looked at."""
        self._spans.extend((start, end))
        self.keys.append(key)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, at: Any) -> Any:
        numbers = range(len(self))[at]
        found = list(self.some(numbers if isinstance(at, slice) else (numbers,)))
        return found if isinstance(at, slice) else found[0]

    def __iter__(self) -> Iterator[Any]:
        return self.some(range(len(self)))

    def having(self, key: Hashable) -> list[Any]:
        """Those of a key, in their order."""
        return list(self.some(self._numbers.get(key, ())))

    def some(self, numbers: Iterable[int]) -> Iterator[Any]:
        """Those of some numbers."""
        try:
            with self.path.open("rb") as file:
                if _stamp(file) != self._stamp:
                    raise OSError("it was written anew")
                for number in numbers:
                    yield self._read(file, number)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path} has changed since it was opened ({error}); open it again.") from error

    def _read(self, file: IO[bytes], number: int) -> Any:
        start, end = self._spans[2 * number : 2 * number + 2]
        file.seek(start)
        text = file.read(end - start).decode("utf-8")
        value = json.loads(text)
        return _mended(value) if _odd(text) else value

    @cached_property
    def _numbers(self) -> dict[Hashable, list[int]]:
        found: dict[Hashable, list[int]] = {}
        for number, key in enumerate(self.keys):
            found.setdefault(key, []).append(number)
        return found


def _stamp(file: IO[Any]) -> tuple[int, int]:
    """Another one once the file was written to."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def read_leaving(path: Path, lists: Mapping[str, Left]) -> Any:
    """As `read_json`, but for the lists of such keys of the outermost object ("": the file itself is the list): in
    their place stand `Entries`, and no more than some of the file is held at a time.

    Raises:
        OSError: there is none. Wrong: an entry is not as it should be. ValueError: it is no JSON.
    """
    regular(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:  # so that places in the file are those in the text
            return _value(_Cursor(file), lists, lambda: Entries(path, _stamp(file)))
    except json.JSONDecodeError:
        json.loads(path.read_text(encoding="utf-8"))  # says where, in the whole file
        raise


def _value(cursor: _Cursor, lists: Mapping[str, Left], begun: Callable[[], Entries]) -> Any:
    if "" in lists:
        value = _list(cursor, begun(), "", lists[""]) if cursor.takes("[") else cursor.value()
    elif cursor.takes("{"):
        value = {}
        for _ in cursor.items("}"):
            name = cursor.name()
            left = lists.get(name)
            value[name] = _list(cursor, begun(), name, left) if left and cursor.takes("[") else cursor.value()
    else:
        value = cursor.value()
    cursor.end()
    return value


def _list(cursor: _Cursor, found: Entries, name: str, left: Left) -> Entries:
    """A list whose bracket is behind the cursor."""
    same: dict[Hashable, Hashable] = {}  # so that equal keys are one
    for _ in cursor.items("]"):
        entry = cursor.value()
        try:
            left.shape(entry, None)
        except Wrong:
            left.shape(entry, f"{name}[{len(found)}]")
            raise
        key = left.key(entry)
        found.add(cursor.began, cursor.behind, same.setdefault(key, key))
        left.look(entry)
    return found


class _Cursor:
    """Goes through a JSON file value by value.

    Attributes:
        began, behind: where the last value that was read lies in the file, in bytes.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file, self._text, self._at = file, "", 0
        self.began = self.behind = 0
        self._counted = (0, 0)  # characters of the text, and at which byte of the file they end
        self._over_space()

    def takes(self, sign: str) -> bool:
        """Whether that sign comes next; then it goes behind it."""
        self._over_space()
        if not self._text.startswith(sign, self._at):
            return False
        self._at += 1
        self._over_space()
        return True

    def value(self) -> Any:
        """Reads the value before which it stands."""
        while True:
            try:
                value, end = _DECODE(self._text, self._at)
            except json.JSONDecodeError:
                if self._more():
                    continue
                raise
            if end < len(self._text) or not self._more():  # a number may go on
                break
        characters, size = self._counted
        passed, text = self._text[characters : self._at], self._text[self._at : end]
        self.began = size + _size(passed)
        self.behind = self.began + _size(text)
        self._at, self._counted = end, (end, self.behind)
        return _mended(value) if _odd(text) else value

    def name(self) -> str:
        """Reads a name, and the colon behind it."""
        if not self._text.startswith('"', self._at):
            raise self._wrong("Expecting property name enclosed in double quotes")
        name = self.value()
        if not self.takes(":"):
            raise self._wrong("Expecting ':' delimiter")
        return name

    def items(self, closing: str) -> Iterator[None]:
        """Stands before each item in turn, until it has passed the closing sign."""
        if self.takes(closing):
            return
        while True:
            yield
            comma = _COMMA.match(self._text, self._at)
            if comma and comma.end() < len(self._text):
                self._at = comma.end()
            elif self.takes(closing):
                return
            elif not self.takes(","):
                raise self._wrong("Expecting ',' delimiter")

    def end(self) -> None:
        """There is nothing more."""
        self._over_space()
        if self._at != len(self._text):
            raise self._wrong("Extra data")

    def _over_space(self) -> None:
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        """Reads on, the more the longer one value has become, and lets go of what is behind; False at the end."""
        read = self._file.read(max(WINDOW, len(self._text) - self._at))
        if not read:
            return False
        characters, size = self._counted
        self._counted = (0, size + _size(self._text[characters : self._at]))
        self._text, self._at = self._text[self._at :] + read, 0
        return True

    def _wrong(self, what: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(what, self._text, self._at)
