"""What every tab shares."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from core.data import Dataset
from core.errors import UserError
from core.explainers.learned.files import folders
from core.paths import data_dir
from dashboard.allowed import Allowed, places_in
from dashboard.classifiers import Classifiers
from dashboard.log import told
from dashboard.pictures import Pictures, Source, example_files
from dashboard.project.data_sets import DataSets, is_demo, segments_of_page
from dashboard.project.own_models import OwnModels
from dashboard.report.finished import Reports
from dashboard.runs import Runner
from dashboard.segment_colours import SegmentColours
from dashboard.segmenters import Segmenters
from dashboard.segments.of_page import SavedSegments
from dashboard.sessions import Session, Sessions
from dashboard.temporary import process_folder
from dashboard.train.live import Trainer
from dashboard.waiting import REPORTS_EACH, Waiting


@dataclass
class Page:
    """One running page: stores on the server, and the components in the header that tabs listen to.

    A tab is a module with `build(page)`, called inside its own `gr.Tab`. Its handlers take `page.key` as an input and
    get the visitor's session by `page.sessions.get(key)`; `page.model.change` fires when another model is ready.

    Attributes:
        given: the data set named on the command line; roots: folders whose folders are offered as such.
        segments: where its segments are kept; None for a folder of the data set's own in the user's data folder.
        allow: what the text boxes may name besides all that is given here.
        shared: others than who started it may use it: it takes no weights from them, and shows nobody what others
            brought.
        data_sets, reports, maker, trainer: what can be chosen; reports that were opened; the server's one report and
            one training in the making.
        key: state, the visitor's key. dark: state, True on a dark page. model: state, the loaded model's spec.
        data: state, the chosen data set's source. address, explained: hidden; what is in view, as `dashboard.address`
            writes it, and what of it the Explain tab knows.
        strip: the pictures of the Explain tab; it changes with the one in view.
        tabs: the tabs by title; `select` fires when one is opened.
        ending: it was told to end, and takes nothing new.
        opened: hidden; its `change` fires when a page is opened or reloaded, after `key` and `dark` are there.
    """

    classifiers: Classifiers
    sessions: Sessions
    report: Path | None = None
    evaluation: Path | None = None
    given: Dataset | None = None
    segments: Path | None = None
    allow: tuple[Path, ...] = ()
    roots: tuple[Path, ...] = ()
    shared: bool = False
    runner: Runner = field(default_factory=Runner)
    examples: dict[str, Source] = field(default_factory=dict)
    autorun: bool = True
    key: Any = None
    dark: Any = None
    model: Any = None
    data: Any = None
    address: Any = None
    explained: Any = None
    strip: Any = None
    opened: Any = None
    visits: int = 0
    ending: bool = False
    tabs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        data = [self.given.source] if self.given is not None and not is_demo(self.given.source) else []
        named = filter(None, (self.report, self.evaluation, self.segments))
        places = (*self.allow, *self.roots, *named, *places_in(self.classifiers.start), *data, self.brought, *folders())
        self.allowed = self.classifiers.allowed = Allowed(places)
        self.classifiers.own = OwnModels(lambda: self.brought / "models")
        self.data_sets = DataSets(self.allowed, self.given, self.segments, self.roots)
        self.segment_colours = SegmentColours()
        self.reports = Reports(self.allowed, self.colours)
        self.sessions.data = self.data_sets.start
        self.sessions.on_forgotten = self.forget
        self.maker = Waiting(self.runner.lock, REPORTS_EACH if self.shared else None)
        self.trainer = Trainer(self.runner.lock)
        self.segmenters = Segmenters(self.allowed)
        self.pictures = Pictures(SavedSegments(lambda: self.segments_folder(None)))

    @property
    def brought(self) -> Path:
        """Where models, pictures and reports of visitors are kept: in the user's data folder, except on a shared page,
        where they go with it."""
        return process_folder() / "brought" if self.shared else data_dir() / "page"

    def reports_folder(self, session: Session) -> Path:
        """Where the reports are kept that a visitor makes on the page."""
        return self.brought / "reports" / session.drawer if self.shared else self.brought / "reports"

    def data_folder(self, session: Session) -> Path:
        """Where the pictures are kept that a visitor brings."""
        return self.brought / "data" / session.drawer if self.shared else self.brought / "data"

    def forget(self, session: Session) -> None:
        """A visitor is forgotten: on a shared page the files go as well, once nothing writes them any more."""
        told("visitor forgotten", visitor=session.visitor)
        if self.shared:
            threading.Thread(target=self._remove, args=(session,), name="satchel-forget", daemon=True).start()

    def _remove(self, session: Session) -> None:
        reports, kept = self.maker.of(self.reports_folder(session)), set()
        for live in reports:
            live.stop()
        for live in reports:
            live.over.wait()
        for other in self.sessions.every():
            kept.update(source.path for source in other.uploads.values())  # equal pictures are one file
        for source in session.uploads.values():
            if source.path not in kept and process_folder() in source.path.parents:
                source.path.unlink(missing_ok=True)
        self._remove_segments(session)
        for folder in (self.data_folder(session), self.reports_folder(session)):
            shutil.rmtree(folder, ignore_errors=True)

    def end(self, patience: float) -> None:
        """Take nothing new, and end what runs after its step in hand: a report and a training write down what they
        have, for which they get so many seconds together. What visitors brought to a shared page goes.
        """
        self.ending = True
        self.maker.close()
        self.trainer.close()
        every = self.sessions.every()
        for session in every:
            session.stop_all()
        until = monotonic() + patience
        self.maker.stop(patience)
        self.trainer.stop(max(0.0, until - monotonic()))
        for session in every if self.shared else ():
            self._remove_segments(session)

    def _remove_segments(self, session: Session) -> None:
        """Of pictures that are no longer there; those of folders on the server stay with them."""
        for source in session.brought:
            if self.data_folder(session) in Path(source).parents:
                shutil.rmtree(self.data_sets.segments_folder(source), ignore_errors=True)

    def read_examples(self) -> None:
        """Read the pictures that come with the page; a broken one is left out by raising at start, not to visitors."""
        for path, segments in example_files():
            source = self.pictures.read(
                path, path.stem.replace("_", " "), segments, upload=False, label=path.stem.partition("_")[0]
            )
            self.examples[source.id] = source

    def segments_folder(self, source: str | None) -> Path:
        """Where segments are kept: of a data set, or (None) of the pictures on the page."""
        if source is not None:
            return self.data_sets.segments_folder(source)
        return self.segments if self.segments and self.given is None else segments_of_page()

    def colours(self, source: str | None, names: Iterable[str]) -> Mapping[str, int]:
        """Name -> number of its colour, for names of segments of a data set, or (None) of the pictures on the page, to
        which those of the demo belong."""
        place: Path | str
        try:
            own = source is None or is_demo(source)
            place = self.segments_folder(None if own else self.data_sets.asked(source))
        except UserError:  # a report's data may lie where nobody on this page may look
            place = str(source)
        return self.segment_colours.of(place, names)

    def examples_of(self, session: Session) -> dict[str, Source]:
        """The pictures that stand beside a visitor's own: some of the chosen data set, or those that come along."""
        if is_demo(session.data):
            return self.examples
        try:
            return self.data_sets.shown(session.data, self.pictures)
        except UserError:  # its folder is gone, which the header says
            return {}

    def sources(self, session: Session) -> dict[str, Source]:
        """All pictures that a visitor can choose, by id, their own first."""
        return session.sources(self.examples_of(session))

    @contextmanager
    def device(self) -> Generator[None]:
        """A turn on the device, for a short step outside a run."""
        with self.runner.lock.turn():
            yield

    def view(self, session: Session) -> Any:
        """The picture in view as the visitor's classifier sees it.

        Raises:
            UserError: no picture, or the model or the file is gone.
        """
        return self.pictures.view(
            session.source(self.examples_of(session)), self.classifiers.get(session.spec), self.device
        )
