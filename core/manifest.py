"""`manifest.csv`: which pictures a data set has, and what is known of each."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.errors import UserError
from core.paths import readable
from core.text import composed

MANIFEST = "manifest.csv"
# Columns that mean something here go by their plain name, however it is written; others keep theirs.
KNOWN = ("image", "label", "name", "mask", "group")


@dataclass(frozen=True)
class Line:
    """One picture.

    Attributes:
        id: its path below the folder, as the file system writes it.
        image, mask: the files; None without a mask.
        columns: what else is said of it.
    """

    id: str
    label: str | None
    image: Path
    mask: Path | None
    columns: Mapping[str, str]


def find_manifest(root: Path) -> Path | None:
    """The manifest of a folder, however its name is written."""
    if (root / MANIFEST).is_file():
        return root / MANIFEST
    with readable(root, "folder"), os.scandir(root) as entries:
        found = sorted(entry.name for entry in entries if entry.name.lower() == MANIFEST and entry.is_file())
    return root / found[0] if found else None


def read_manifest(manifest: Path) -> list[Line]:
    """All lines. Paths may be written as on another system: with backslashes, other accents, or other case.

    Raises:
        UserError: no CSV with a column `image`, a path that leads out of the folder, or a picture listed twice.
    """
    rows = _rows(manifest)
    if not rows:
        raise UserError(f"{manifest} is empty; begin it with: image,label")
    fields = [field.lower() if field.lower() in KNOWN else field for field in rows[0][1]]
    if "image" not in fields:
        if any(mark in name for name in fields for mark in ";\t"):
            raise UserError(f"The columns of {manifest} must be separated by commas; save it with commas.")
        raise UserError(f"{manifest} has no column 'image' (only {', '.join(fields)}); name the picture files there.")
    for name in KNOWN:
        if fields.count(name) > 1:
            raise UserError(f"{manifest} has two columns {name!r}; rename one.")
    if len(rows) == 1:
        raise UserError(f"{manifest} lists no pictures; add a line a picture.")
    label = "label" if "label" in fields else "name"
    files = _Files(manifest)
    lines: list[Line] = []
    seen: dict[Path, tuple[str, int]] = {}
    for number, cells in rows[1:]:
        if any(cells[len(fields) :]):
            raise UserError(
                f"{manifest} has more cells than columns in line {number}; put texts with commas in quotes."
            )
        row = dict(zip(fields, cells))
        if not row["image"]:
            raise UserError(f"{manifest} names no picture for its entry in line {number}; fill in 'image'.")
        name, image = files.find(row["image"], number)
        if image in seen:
            before, first = seen[image]
            again = "" if before == name else f", once as {before}"
            raise UserError(
                f"{manifest} lists {name} twice, in lines {first} and {number}{again}; keep one line a picture."
            )
        seen[image] = (name, number)
        mask = files.find(row["mask"], number)[1] if row.get("mask") else None
        columns = {key: composed(value) for key, value in row.items() if key not in ("image", "label", "mask")}
        lines.append(Line(name, composed(row.get(label, "")) or None, image, mask, columns))
    return lines


def _rows(manifest: Path) -> list[tuple[int, list[str]]]:
    """(number of the line in the file, cells without spaces around them), without empty lines."""
    with readable(manifest, "list of pictures"):
        content = manifest.read_bytes()
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
        rows, number = [], 1
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((number, cells))
            number = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{manifest} is no CSV file in UTF-8 ({error}); save it as such.") from error
    return rows


class _Files:
    """Finds the files that a manifest names, inside its folder."""

    def __init__(self, manifest: Path) -> None:
        self.manifest, self.root = manifest, manifest.parent
        self.real_root = os.path.realpath(self.root)
        self.names = lru_cache(maxsize=256)(_names)

    def find(self, written: str, line: int) -> tuple[str, Path]:
        """(path below the folder, the file that it leads to, which need not exist).

        Raises:
            UserError: it lies outside of the folder, or can be no path.
        """
        if "\0" in written:
            raise UserError(f"{self.manifest} has a NUL character in line {line}; save it anew.")
        name = self._below(written)
        try:
            if not os.path.lexists(os.path.join(self.root, name)):
                name = self._as_stored(name.replace("\\", "/"))
            real = os.path.realpath(os.path.join(self.root, name))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.manifest} names no path in line {line} ({error}); correct it.") from error
        if os.path.commonpath((real, self.real_root)) != self.real_root:
            raise UserError(f"{self.manifest} points outside its folder ({written}); copy the file into it.")
        return name, Path(real)

    def _below(self, written: str) -> str:
        """Without what only says "here", and below the folder where it was written in full."""
        if os.path.isabs(written):
            for root in (os.path.abspath(self.root), self.real_root):
                if os.path.commonpath((root, os.path.normpath(written))) == root:
                    return Path(os.path.relpath(written, root)).as_posix()
            return written
        return Path(os.path.normpath(written)).as_posix()

    def _as_stored(self, name: str) -> str:
        """The one path that differs only in accents and case, part by part; as it is where there is none."""
        name = os.path.normpath(name)
        stored = ""
        for part in Path(name).parts:
            names = self.names(os.path.join(self.root, stored))
            found = [part] if part in names.get(_plain(part), ()) else names.get(_plain(part), [])
            if len(found) != 1 or part == os.pardir:
                return name
            stored = os.path.join(stored, found[0])
        return Path(stored).as_posix()


def _names(folder: str) -> dict[str, list[str]]:
    """What a folder holds, by its name without differences of accents and case."""
    found: dict[str, list[str]] = {}
    try:
        for name in os.listdir(folder):
            found.setdefault(_plain(name), []).append(name)
    except OSError:
        pass
    return found


def _plain(name: str) -> str:
    return composed(name).casefold()
