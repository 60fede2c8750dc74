"""What the server knows of one visitor's page: pictures, the one in view, and what is running. The page holds a key."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from cachetools import LRUCache

from core.errors import UserError
from dashboard.evaluate.live import LiveEvaluation
from dashboard.evaluate.standing import Standing
from dashboard.explain.asked import Asked
from dashboard.log import now_serving, shortened
from dashboard.pictures import Source
from dashboard.report.making import LiveReport
from dashboard.runs import Run
from dashboard.segments.work import Bench

KEPT_SESSIONS = 256
UPLOADS_EACH = 40
RUNS_EACH = 8  # that compute at once


@dataclass
class Session:
    """One page in one browser tab; it survives a reload."""

    spec: str
    data: str = ""  # the data set's source
    wanted: str = ""  # the model asked for last, which may still be loading
    brought: dict[str, str] = field(default_factory=dict)  # data sets of this visitor's: source -> title
    link: tuple[str, str] | None = None  # the report and cell of an address that was followed
    followed: Asked | None = None  # what it says of the Explain tab, until that shows it
    entered: bool = False  # its page was opened before
    drawer: str = field(default_factory=lambda: uuid4().hex[:12])  # where they are kept on a shared page
    visitor: str = ""  # in the log
    uploads: OrderedDict[str, Source] = field(default_factory=OrderedDict)
    current: str | None = None
    run: Run | None = None  # the last press of Explain
    retouches: dict[str, Run] = field(default_factory=dict)  # by explainer: the last move of one of its sliders
    evaluation: LiveEvaluation | None = None  # the one that runs
    report: LiveReport | None = None  # the one that was asked for last
    standing: Standing | None = None  # what the last one found
    benches: dict[str | None, Bench] = field(default_factory=dict)  # on the Segments tab: by data set; None: the page's
    lock: threading.Lock = field(default_factory=threading.Lock)  # while a bench is made
    bringing: threading.Lock = field(default_factory=threading.Lock)  # while pictures are brought
    failed: dict[str, str] = field(default_factory=dict)
    version: int = 0  # counts what changed: controls, runs that began or ended
    resume: bool = False  # a reload interrupted a run
    asked: bool = False  # maps were made for this visitor: what changes is answered by itself where it is quick
    due: Literal["", "quick", "always"] = ""  # an answer to what changed: if it is quick, or however long it takes
    excluded: object = None  # the class, picture and model that the list of and-not was sent for
    values: Mapping[str, Any] = field(default_factory=dict)  # what the controls said last
    gallery: Any = None  # all pictures in rows, of the Explain tab
    players: str = ""  # of the trained explainer whose sum is shown; "" for any that is there
    absent: tuple[Any, frozenset[int]] = (None, frozenset())  # (of which sum, players that are clicked off)

    def add(self, source: Source) -> None:
        """Put an upload first; the oldest ones leave when there are too many."""
        self.uploads[source.id] = source
        self.uploads.move_to_end(source.id, last=False)
        while len(self.uploads) > UPLOADS_EACH:
            self.uploads.popitem()

    def sources(self, examples: Mapping[str, Source]) -> dict[str, Source]:
        """All there is to choose from, uploads first."""
        return {**self.uploads, **{key: source for key, source in examples.items() if key not in self.uploads}}

    @property
    def shown(self) -> tuple[str, str | None, tuple[str, ...]]:
        """What the page shows: model, picture in view, uploads."""
        return self.spec, self.current, tuple(self.uploads)

    def source(self, examples: Mapping[str, Source]) -> Source:
        """The picture in view.

        Raises:
            UserError: there is none.
        """
        every = self.sources(examples)
        if not every:
            raise UserError("There is no picture yet; drop one in.")
        if self.current not in every:
            self.current = next(iter(every))
        return every[self.current]

    def start(self, run: Run, retouch: bool) -> None:
        """A new run replaces older ones that make the same maps."""
        self.version += 1
        names = list(run.keys)
        for older in self.runs():
            older.drop(names if retouch else list(older.keys))
        if retouch:
            self.retouches = {**self.retouches, **dict.fromkeys(names, run)}
        else:
            self.run, self.retouches = run, {}
        self.failed = {name: why for name, why in self.failed.items() if name not in names}
        self._make_room(run)

    def _make_room(self, newest: Run) -> None:
        """Of too many that run, the ones that were begun first end where they are."""
        every = {id(one): one for one in self.runs()}.values()
        others = [one for one in every if one is not newest and not one.stopped]
        for one in others[: max(0, len(others) + 1 - RUNS_EACH)]:
            why = f"It was stopped for newer ones: {RUNS_EACH} are made for a visitor at once; press Explain again."
            self.failed = {**self.failed, **{name: why for name in one.keys if one.wants(name)}}
            one.stop()

    def runs(self) -> list[Run]:
        """What is being made for this visitor and still wanted."""
        return [run for run in (self.run, *self.retouches.values()) if run is not None and not run.dropped]

    def end(self, run: Run) -> None:
        """A run is over."""
        self.version += 1
        self.failed = {**self.failed, **{name: why for name, why in run.failed.items() if run.wants(name)}}
        if self.run is run:
            self.run = None
        self.retouches = {name: other for name, other in self.retouches.items() if other is not run}

    def stop(self) -> None:
        for run in self.runs():
            run.stop()

    def stop_all(self) -> None:
        """The same of everything of this visitor's that works in a request of theirs."""
        self.stop()
        if self.gallery is not None:
            self.gallery.stopped = True
        if self.evaluation is not None:
            self.evaluation.stop()
        for bench in self.benches.values():
            bench.stop()

    def drop(self) -> None:
        """Nothing that runs is wanted any more (another picture, another model)."""
        self.version += 1
        for run in self.runs():
            run.drop(list(run.keys))
        self.failed = {}

    def making(self, explainer: str, key: object) -> bool:
        """Whether this very map is being made now."""
        return any(run.wants(explainer) and run.keys[explainer] == key for run in self.runs())


class Visitors(LRUCache[str, Session]):
    """Whoever is forgotten leaves nothing running; `gone`: those who were."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.gone: list[Session] = []

    def popitem(self) -> tuple[str, Session]:
        key, forgotten = super().popitem()
        forgotten.stop_all()
        self.gone.append(forgotten)
        return key, forgotten


class Sessions:
    """All visitors, the one seen longest ago forgotten first.

    Attributes:
        on_forgotten: called with each one who was.
    """

    def __init__(self, spec: str, data: str = "") -> None:
        self.spec, self.data = spec, data
        self.on_forgotten: Callable[[Session], None] = lambda session: None
        self._lock = threading.Lock()
        self._kept = Visitors(KEPT_SESSIONS)

    def get(self, key: str) -> Session:
        """The visitor's session, a new one if the server does not know the key (it was restarted)."""
        now_serving(shortened(key))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = Session(self.spec, self.data, visitor=shortened(key))
            found = self._kept[key]
            gone, self._kept.gone = self._kept.gone, []
        for forgotten in gone:
            self.on_forgotten(forgotten)
        return found

    def every(self) -> list[Session]:
        """All who are known."""
        with self._lock:
            return list(self._kept.values())
