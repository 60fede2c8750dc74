"""`segments.json`: what each mask value, or each folder of masks, is called."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path

from core.errors import UserError
from core.runtime.whole_files import write_json
from core.segments.files.documents import read_json
from core.segments.segments import KINDS, Segments, default_kind, legal_name

NAMES_FILE = "segments.json"
FOLDER_NAME = 40
# what Windows keeps for itself
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


def read_name_table(path: Path) -> dict[str, tuple[str, str]]:
    """Key -> (name, kind), from key -> name, or -> {name, kind}.

    Raises:
        UserError: not of that form.
    """
    entries = read_json(path)
    out = {}
    try:
        for key, entry in entries.items():
            name = legal_name(entry if isinstance(entry, str) else entry["name"])
            kind = default_kind(name) if isinstance(entry, str) else entry.get("kind", default_kind(name))
            if kind not in KINDS:
                raise UserError(f"The kind of {name!r} must be object, context or unset, got {kind!r}.")
            out[key] = (name, kind)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f'{path} must map mask values to names, such as {{"128": "nucleus"}}.') from error
    return out


def read_names(path: Path) -> dict[int, tuple[str, str]]:
    """Mask value -> (name, kind), as `read_name_table`.

    Raises:
        UserError: not of that form, or a key is no whole number.
    """
    try:
        return {int(value): entry for value, entry in read_name_table(path).items()}
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path}: mask values must be whole numbers ({error}).") from error


class NameTable:
    """The names of a folder that is being written; takes up the ones that are there.

    Every (name, kind) has a key for its first instance in a picture, one for its second, and so on.
    """

    def __init__(self, folder: Path, numbered: bool = False) -> None:
        """Keys are mask values if `numbered`, else names of folders.

        Raises:
            UserError: the folder holds names of the other kind, or one for the value 0, which is no segment's here.
        """
        self.path = folder / NAMES_FILE
        self._new_key = next_value if numbered else folder_name
        self.entries = read_name_table(self.path) if self.path.is_file() else {}
        if any(key.isdecimal() != numbered for key in self.entries):
            raise UserError(f"{folder} holds masks of another form; give a new folder.")
        if numbered and any(int(key) == 0 for key in self.entries):
            raise UserError(f"{folder} names the value 0, which is what no segment covers; give a new folder.")
        self._keys: dict[tuple[str, str], list[str]] = defaultdict(list)
        for key, entry in self.entries.items():
            self._keys[entry].append(key)

    def keys(self, segments: Segments) -> list[str]:
        """One a segment; the file is written anew where one was missing."""
        seen: Counter[tuple[str, str]] = Counter()
        out, known = [], len(self.entries)
        for item in segments:
            entry = (item.name, item.kind)
            keys = self._keys[entry]
            if seen[entry] == len(keys):
                keys.append(self._new_key(item.name, self.entries))
                self.entries[keys[-1]] = entry
            out.append(keys[seen[entry]])
            seen[entry] += 1
        if len(self.entries) > known or not self.path.is_file():
            write_json(self.path, {key: {"name": name, "kind": kind} for key, (name, kind) in self.entries.items()})
        return out


def next_value(name: str, taken: Collection[str]) -> str:
    """The next mask value; 0 stays for what belongs to no segment."""
    return str(max((int(value) for value in taken), default=0) + 1)


def folder_name(name: str, taken: Collection[str]) -> str:
    """A short name that every file system takes, unlike all others; never only digits, which would be mask values."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", plain)[:FOLDER_NAME].strip("-")
    if not plain or plain.isdecimal() or plain in RESERVED:
        plain = f"name-{plain}".rstrip("-")
    number, unlike = 1, plain
    while unlike in taken:
        number += 1
        unlike = f"{plain}-{number}"
    return unlike
