"""The pictures of a page as a data set, and what was named of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from core.data import Dataset
from core.errors import UserError
from core.segments.saved.store import Store
from core.segments.segments import Segments
from dashboard.pictures import Source, item_of


def page_data(sources: Iterable[Source]) -> Dataset:
    """The pictures of a page as a data set; a picture has the same id whoever adds it."""
    items = tuple(item_of(source, picture_id(source)) for source in sources)
    return Dataset("pictures on this page", "page", items)


def picture_id(source: Source) -> str:
    """Its name and enough of its pixels' digest to tell it from all others of that name."""
    return f"{source.name} {source.id[:8]}"


class SavedSegments:
    """What was named of the pictures of a page, for whoever shows them elsewhere. Safe between threads."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._store: Store | None = None

    def version(self, source: Source) -> int:
        """Counts up with every change; 0 as long as there was none."""
        store = self._opened()
        return store.journal.version(picture_id(source)) if store else 0

    def named(self, source: Source, size: tuple[int, int]) -> Segments | None:
        """The named segments over a copy of that size, if there are any."""
        store = self._opened()
        record = store.load(picture_id(source)) if store else None
        seen = None if record is None else record.segments.only_named().resized(size)
        return seen if seen is not None and len(seen) else None

    def _opened(self) -> Store | None:
        with self._lock:
            folder = self._folder()
            if self._store is None and folder.is_dir():
                with suppress(UserError):  # something else lies there; the Segments tab says so
                    self._store = Store(folder)
            return self._store
