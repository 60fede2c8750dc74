"""The data sets that visitors can choose, opened once for all of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from core.beforehand import DATA_SETS, DEMO
from core.data import Dataset, limited, no_segments, open_dataset
from core.errors import UserError
from core.paths import data_dir
from core.runtime.recent import Recent
from core.segments.files import holds_store
from core.segments.saved.store import file_name, state_of
from dashboard.allowed import Allowed
from dashboard.pictures import Pictures, Source

if TYPE_CHECKING:
    from dashboard.sessions import Session

USUAL = f"{DEMO}{next(iter(DATA_SETS))}"
SHOWN = 24  # pictures of a data set on the Explain and Evaluate tabs
KEPT = 8
KEPT_NAMED = 2
ABOUT = (".csv", ".json", ".xml")  # files that say something of the pictures beside them
MOST_FOLDERS = 5000  # looked at for changes


class DataSets:
    """Opens by source, as `core.data.open_dataset` takes it, what may be opened from the page."""

    def __init__(
        self,
        allowed: Allowed | None = None,
        given: Dataset | None = None,
        segments: Path | None = None,
        roots: Iterable[Path] = (),
    ) -> None:
        """
        Args:
            allowed: where folders may lie; without it only what comes with Satchel.
            given: the data set named on the command line; segments: where its segments are kept, None for a folder of
                its own in the user's data folder.
            roots: folders whose folders are offered.
        """
        self.allowed, self.given, self.segments, self.roots = allowed or Allowed(), given, segments, tuple(roots)
        self._kept: Recent[tuple[str, str], Dataset] = Recent(KEPT)
        self._named: Recent[tuple[str, str, str], Dataset] = Recent(KEPT_NAMED)
        self._shown: Recent[tuple[str, str], dict[str, Source]] = Recent(KEPT)

    @property
    def start(self) -> str:
        """What a new visitor works on."""
        return self.given.source if self.given is not None else USUAL

    def choices(self, own: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        """(title, source) to choose from; `own` are the visitor's."""
        named = [(self.given.name, self.given.source)] if self.given is not None else []
        named += [*own, *((path.name, str(path)) for path in self._below_roots())]
        named += [(f"{DEMO}{name}", f"{DEMO}{name}") for name in DATA_SETS]
        by_source = {source: title for title, source in reversed(named)}
        return [(title, source) for title, source in named if by_source.pop(source, None) is not None]

    def title(self, source: str) -> str:
        """What to call one before people."""
        return source if is_demo(source) else Path(source).name

    def get(self, source: str) -> Dataset:
        """Open a data set, or find it as it was opened; folders whose files have changed since are opened again.

        Raises:
            UserError: there is none, or it may not be opened from the page.
        """
        source = self.asked(source)
        return self._opened(source, _state(source))

    def _opened(self, source: str, state: str) -> Dataset:
        if self.given is not None and source == self.given.source:
            return self.given
        return self._kept.get_or_make((source, state), lambda: open_dataset(source))

    def named(self, source: str, limit: int | None = None) -> Dataset:
        """The same with what was cut and named of it on the Segments tab, at most `limit` pictures; opened again once
        something was saved there.

        Raises:
            UserError: as of `get`.
        """
        data, folder = self.get(source), self.segments_folder(source)
        if folder.is_dir() and holds_store(folder):
            source = self.asked(source)
            key = (source, _state(source), state_of(folder))
            with suppress(UserError):  # nothing was named there yet
                data = self._named.get_or_make(key, lambda: open_dataset(source, segments=folder))
        return data if limit is None else limited(data, limit)

    def segments_folder(self, source: str) -> Path:
        """Where the Segments tab keeps what was named of a data set."""
        if self.given is not None and source == self.given.source and self.segments is not None:
            return self.segments
        place = source if is_demo(source) else str(Path(source).absolute())
        return data_dir() / "segments" / file_name(place)

    def shown(self, source: str, pictures: Pictures) -> dict[str, Source]:
        """Some of its pictures, spread over the whole, as the page shows them, by id; those that cannot be read are
        left out.

        Raises:
            UserError: as of `get`.
        """
        source = self.asked(source)
        state = _state(source)
        data = self._opened(source, state)
        return self._shown.get_or_make((source, state), lambda: dict(_read(data, pictures)))

    def asked(self, source: str | None) -> str:
        """The source, once it is known that it may be opened; nothing is looked at.

        Raises:
            UserError: it may not, or none was given.
        """
        source = (source or "").strip()
        if not source:
            raise UserError("No data set is chosen; choose one, or type a folder.")
        known = self.given is not None and source == self.given.source
        if not known and not is_demo(source):
            self.allowed.check(source)
        return source

    def _below_roots(self) -> Iterator[Path]:
        for root in self.roots:
            with suppress(OSError):
                yield from sorted(
                    path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))
                )


def segments_of_page() -> Path:
    """Where the Segments tab keeps what was named of the pictures on the page, those of the demo among them."""
    return data_dir() / "segments" / "page"


def mine(session: Session) -> list[tuple[str, str]]:
    """(title, source) of the data sets that a visitor brought."""
    return [(f"{title}  (yours)", source) for source, title in session.brought.items()]


def is_demo(source: str) -> bool:
    """Whether a data set is rendered."""
    return source.startswith(DEMO)


def _state(source: str) -> str:
    """Another one once files were put into its folder or a class's, or its manifest or masks in one file were changed;
    of what lies deeper nothing is known."""
    found: list[int] = []
    with suppress(OSError, ValueError), os.scandir(source) as listed:
        found.append(os.stat(source).st_mtime_ns)
        seen = (entry for entry in listed if entry.is_dir() or entry.name.endswith(ABOUT))
        found += sorted(entry.stat().st_mtime_ns for entry in islice(seen, MOST_FOLDERS))
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _read(data: Dataset, pictures: Pictures) -> Iterator[tuple[str, Source]]:
    for item in limited(data, SHOWN).items:
        with suppress(UserError):
            segments = None if item.segments is no_segments else item.segments
            source = pictures.read(item.files[0], item.id, segments, upload=False, label=item.label)
            yield source.id, source
