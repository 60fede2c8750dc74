"""The segments of one data set while people and programs work on them, as a folder.

names/00000003.json              what the folder is, and the names with their kinds and colours
pictures/PICTURE/00000007.json   one small file a version: the newest holds, the others are what undo goes back to
journal.jsonl                    a line a save, so that progress is known without opening every picture

Whole files only: killed at any moment, it loses at most what was just being saved. Two who save the same version of a
picture do not overwrite each other: the second gets a StaleError, which tells who was first and loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.paths import kind_at, user_path
from core.runtime.versions import Versions
from core.segments.colours import coloured
from core.segments.files import STORE_NAMES
from core.segments.files.opened import SegmentFiles
from core.segments.saved.journal import Journal
from core.segments.saved.names import check, kinds_of, merged
from core.segments.saved.records import FORMAT, Record, read_record, write_record
from core.segments.segments import KINDS, Segment, Segments, legal_name

# versions kept of a picture
KEPT = 50
WHAT = "satchel segments"


class StaleError(UserError):
    """Someone else saved first.

    Attributes:
        theirs: what holds now.
        mine: what was to be saved, so that it can be put on top of theirs.
    """

    def __init__(self, theirs: Record, mine: Segments, message: str = "") -> None:
        self.theirs, self.mine = theirs, mine
        super().__init__(
            message
            or f"{theirs.by} changed {theirs.picture} first ({theirs.action}, {theirs.at}); "
            "your change was not saved: look at theirs and do it again."
        )


@dataclass(frozen=True)
class Tally:
    """How far the naming of a data set is, in pictures.

    Attributes:
        total: pictures of the data set.
        named: those with names of which none is only proposed.
        proposed: those with names that wait for someone to look at them.
    """

    total: int
    named: int
    proposed: int

    def __str__(self) -> str:
        return f"{self.named} of {self.total} named"


class Store:
    """One folder, opened by one writer. May be used from several threads.

    Attributes:
        folder: where it lies.
        by: who writes through this object, for others to read.
    """

    def __init__(self, folder: str | Path, by: str = "", data: str = "") -> None:
        """Open a store, or make one where there is none.

        Args:
            by: what others are told (such as "the browser at 10.0.0.7"); the process if it is empty.
            data: what it belongs to, for people; kept when it is made.

        Raises:
            UserError: something else lies there, or it cannot be made.
        """
        self.folder = user_path(folder)
        self.by = legal_name(by) or f"process {os.getpid()}"
        self.journal = Journal(self.folder / "journal.jsonl")
        self._names = Versions(self.folder / STORE_NAMES)
        if not self._names.newest():
            self._make(data)
        self._read_names()
        self._index()

    def _make(self, data: str) -> None:
        kind = kind_at(self.folder, "folder of segments")
        if kind == "file":
            raise UserError(f"{self.folder} is a file; give a folder to keep segments in.")
        if kind == "folder" and any(entry.name != STORE_NAMES for entry in self.folder.iterdir()):
            raise UserError(f"{self.folder} is not empty and holds no segments of Satchel's; give a new folder.")
        first = {"what": WHAT, "format": FORMAT, "data": data, "made": _now(), "kinds": {}}
        with suppress(FileExistsError):  # another process made it at the same moment
            self._names.add(1, _json(first))

    def _index(self) -> None:
        """Read the pictures that the journal misses: it was not copied, or a line of it found no room on the disk."""
        noted = {file_name(picture) for picture in self.journal.pictures()}
        for name in sorted(_names_in(self.folder / "pictures") - noted):
            with suppress(UserError):
                record = self._newest_of(Versions(self.folder / "pictures" / name))
                if record is not None:
                    self.journal.saved(record)

    # -- names -------------------------------------------------------------------------------------------------------

    @property
    def kinds(self) -> dict[str, str]:
        """Name -> kind, for all names that were ever saved, in the order they came up."""
        return self._read_names()[1]["kinds"]

    def with_kinds(self, segments: Segments) -> Segments:
        """The same with the kinds that names have here; one that came with them holds where nobody chose any."""
        kinds = merged(self._read_names()[1], kinds_of(segments))
        return replace(segments, items=tuple(replace(i, kind=kinds.get(i.name, i.kind)) for i in segments))

    @property
    def colours(self) -> dict[str, int]:
        """Name -> number of its colour (`core.segments.colours`), for all names that were ever saved or shown."""
        about = self._read_names()[1]
        return coloured(about["kinds"], about.get("colours"))

    def learn_colours(self, names: Iterable[str]) -> dict[str, int]:
        """Give names that have none a colour, and keep it. Returns all.

        Raises:
            UserError: they cannot be written.
        """
        named = list(names)
        while True:
            number, about = self._read_names()
            colours = coloured([*about["kinds"], *named], about.get("colours"))
            if colours == about.get("colours"):
                return colours
            with suppress(FileExistsError):  # another name came in between: add to that
                self._names.add(number + 1, _json({**about, "colours": colours}))
                return colours

    def learn_kinds(self, segments: Iterable[Segment]) -> None:
        """Take over the kinds of names that come from elsewhere, such as examples; those chosen here hold.

        Raises:
            UserError: they cannot be written.
        """
        self._add_kinds(kinds_of(segments))

    def set_kind(self, name: str, kind: str) -> None:
        """Give a name its kind in the whole data set.

        Raises:
            UserError: the name is empty or not legal, or it cannot be written.
        """
        name = legal_name(name)
        if kind not in KINDS or not name:
            raise UserError(f"A name has one of the kinds {', '.join(KINDS)}; got {kind!r} for {name!r}.")
        self._add_kinds({name: kind}, chosen=True)

    def _add_kinds(self, kinds: Mapping[str, str], chosen: bool = False) -> dict[str, str]:
        """Add names; those that are known keep their kind, unless it is `chosen` by a person. Returns all."""
        while True:
            number, about = self._read_names()
            known, before = about["kinds"], about.get("chosen", [])
            joined = {**known, **kinds} if chosen else merged(about, kinds)
            said = sorted({*before, *kinds}) if chosen else before
            if (joined, said) == (known, before):
                return known
            ordered = {name: joined[name] for name in (*known, *(name for name in kinds if name not in known))}
            try:
                colours = coloured(ordered, about.get("colours"))
                self._names.add(number + 1, _json({**about, "kinds": ordered, "chosen": said, "colours": colours}))
            except FileExistsError:
                continue  # another name came in between: add to that
            self._names.prune(KEPT)
            return ordered

    def _read_names(self) -> tuple[int, dict[str, Any]]:
        numbers = self._names.numbers()
        problem = ""
        for number in reversed(numbers):
            try:
                about = json.loads(self._names.path(number).read_bytes())
                if about["what"] == WHAT:
                    check(about)
                    if about["format"] > FORMAT:
                        raise UserError(f"{self.folder} was made by a newer Satchel; update this one to open it.")
                    return numbers[-1], about
            except FileNotFoundError:
                return self._read_names()  # pruned in between, so there are newer ones
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                if isinstance(error, UserError):
                    raise
                problem = problem or f" ({str(error)[:200] or type(error).__name__})"
        raise UserError(f"{self.folder} holds no names that can be read{problem}; give another folder.")

    # -- pictures ----------------------------------------------------------------------------------------------------

    def load(self, picture: str) -> Record | None:
        """What holds for a picture; None if nothing was ever saved.

        A version that cannot be read (a disk that failed) is passed over for the one before.

        Raises:
            UserError: none of its versions can be read.
        """
        versions = self._versions(picture)
        record = self._newest_of(versions)
        if record is None:
            return None
        if record.version > self.journal.version(picture):
            self.journal.saved(record)  # its writer was killed just before
        return record.with_kinds(self.kinds)

    def save(
        self,
        picture: str,
        segments: Segments,
        after: Record | None,
        action: str,
        *,
        nameless: frozenset[str] | None = None,
        made_by: Mapping[str, str] | None = None,
    ) -> Record:
        """Save a picture's segments; when this returns they are on the disk.

        Args:
            after: the record they were made from, as it was loaded; None if there was none.
            action: what was done, for people ("named 3 masks").
            nameless, made_by: as in Record; those of `after` if not given.

        Raises:
            StaleError: someone else saved another version since.
            UserError: the disk is full, or the folder cannot be written to; nothing is lost.
        """
        base = after or Record(picture, 0, segments)
        record = Record(
            picture=picture,
            version=base.version + 1,
            segments=segments,
            nameless=base.nameless if nameless is None else nameless,
            made_by={**base.made_by, **(made_by or {})},
            action=legal_name(action),
            before=base.version or None,
        )
        return self._write(record)

    def undo(self, record: Record) -> Record | None:
        """Go back to what was before the last change, as a new version; None where nothing is left to go back to.

        Raises:
            StaleError, UserError: as in `save`.
        """
        found = self._read(record.picture, record.before)
        if found is None:
            return None
        return self._write(
            replace(
                found,
                version=record.version + 1,
                action=f"took back: {record.action}"[:200],
                again=(*record.again, record.version),
            )
        )

    def redo(self, record: Record) -> Record | None:
        """Bring back what the last undo took away, as a new version; None after anything else.

        Raises:
            StaleError, UserError: as in `save`.
        """
        found = self._read(record.picture, record.again[-1] if record.again else None)
        if found is None:
            return None
        return self._write(replace(found, version=record.version + 1, again=record.again[:-1]))

    def tally(self, total: int) -> Tally:
        """How far a data set of `total` pictures is."""
        lines = self.journal.pictures().values()
        proposed = sum(line["proposed"] > 0 for line in lines)
        named = sum(bool(line["names"]) and not line["proposed"] for line in lines)
        return Tally(total, named, proposed)

    def files(self) -> SegmentFiles:
        """All pictures' segments, each read when it is asked for, as from any other place where masks lie."""

        self._index()
        readers = {picture: partial(_segments_in, self.folder, picture) for picture in self.journal.pictures()}
        return SegmentFiles(self.folder, "Satchel's own store", readers)

    def _write(self, record: Record) -> Record:
        record = replace(record, by=self.by, at=_now())
        kinds = self._add_kinds(kinds_of(record.segments))
        versions = self._versions(record.picture)
        try:
            # a number below the newest may be free, because it was pruned
            if versions.newest() >= record.version:
                raise FileExistsError
            versions.add(record.version, write_record(record))
        except FileExistsError:
            theirs = self._newest_of(versions)
            assert theirs is not None
            raise StaleError(theirs.with_kinds(kinds), record.segments) from None
        if not record.version % 10:
            versions.prune(KEPT)
        self.journal.saved(record)
        return record.with_kinds(kinds)

    def _read(self, picture: str, number: int | None) -> Record | None:
        """A version that undo points at; None if it is gone by now."""
        if number is None:
            return None
        try:
            found = read_record(self._versions(picture).path(number).read_bytes())
        except (OSError, UserError):
            return None
        return found.with_kinds(self.kinds)  # the file does not hold them

    def _newest_of(self, versions: Versions) -> Record | None:
        numbers = versions.numbers()
        problem: Exception | None = None
        for number in reversed(numbers):
            try:
                # whoever saves next must go beyond a version that cannot be read, too
                return replace(read_record(versions.path(number).read_bytes()), version=numbers[-1])
            except FileNotFoundError:
                return self._newest_of(versions)  # pruned in between, so there are newer ones
            except (OSError, UserError) as error:
                problem = problem or error
        if problem is not None:
            raise UserError(f"The segments saved in {versions.folder} cannot be read ({problem}).") from problem
        return None

    def _versions(self, picture: str) -> Versions:
        return Versions(self.folder / "pictures" / file_name(picture))


def plain_name(text: str) -> str:
    """What of a text is plain in a file's name on any system, its last 60 characters; "" if nothing is."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[-60:]


def state_of(folder: Path) -> str:
    """Of a folder of segments, without opening it: another one once a picture or a name was saved there."""
    found: list[tuple[int, int]] = []
    for part in (STORE_NAMES, "pictures", "journal.jsonl"):
        with suppress(OSError):
            about = os.stat(folder / part)
            found.append((about.st_mtime_ns, about.st_size))
    return repr(found)


def file_name(picture: str) -> str:
    """A name for a picture's files on any system: what of the id is plain, and a digest of all of it."""
    return (
        f"{plain_name(picture)}-{hashlib.blake2b(picture.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"
    )


def _segments_in(folder: Path, picture: str) -> Segments:
    record = Store(folder).load(picture)
    if record is None:
        raise UserError(f"{folder} does not hold {picture} any more.")
    return record.segments


def _names_in(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1).encode()
