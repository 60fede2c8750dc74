"""What every tab shares."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.data import Dataset
from core.paths import data_dir
from core.segments.saved.store import file_name
from dashboard.allowed import Allowed, places_in
from dashboard.classifiers import Classifiers
from dashboard.pictures import Pictures, Source, example_files
from dashboard.runs import Runner
from dashboard.segmenters import Segmenters
from dashboard.segments.work import SavedSegments
from dashboard.sessions import Session, Sessions
from dashboard.train.live import Trainer


@dataclass
class Page:
    """One running page: stores on the server, and the components in the header that tabs listen to.

    A tab is a module with `build(page)`, called inside its own `gr.Tab`. Its handlers take `page.key` as an input and
    get the visitor's session by `page.sessions.get(key)`; `page.model.change` fires when another model is ready.

    Attributes:
        data: what the Segments tab works on besides the pictures of the page.
        allow: what the text boxes may name besides all that is given here.
        segments: where its segments are kept; None for a folder of the data set's own in the user's data folder.
        trainer: the server's one training.
        key: state, the visitor's key. dark: state, True on a dark page. model: state, the loaded model's spec.
        tabs: the tabs by title; `select` fires when one is opened.
        opened: hidden; its `change` fires when a page is opened or reloaded, after `key` and `dark` are there.
    """

    classifiers: Classifiers
    sessions: Sessions
    report: Path | None = None
    evaluation: Path | None = None
    data: Dataset | None = None
    segments: Path | None = None
    allow: tuple[Path, ...] = ()
    runner: Runner = field(default_factory=Runner)
    examples: dict[str, Source] = field(default_factory=dict)
    autorun: bool = True
    key: Any = None
    dark: Any = None
    model: Any = None
    opened: Any = None
    visits: int = 0
    tabs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = [*self.allow, self.report, self.evaluation, self.segments, *places_in(self.classifiers.start)]
        if self.data is not None and not self.data.source.startswith("demo:"):
            given.append(self.data.source)
        self.allowed = self.classifiers.allowed = Allowed(filter(None, given))
        self.trainer = Trainer(self.runner.lock)
        self.segmenters = Segmenters(self.allowed)
        self.pictures = Pictures(SavedSegments(lambda: self.segments_folder(False)))

    def read_examples(self) -> None:
        """Read the pictures that come with the page; a broken one is left out by raising at start, not to visitors."""
        for path, segments in example_files():
            source = self.pictures.read(
                path, path.stem.replace("_", " "), segments, upload=False, label=path.stem.partition("_")[0]
            )
            self.examples[source.id] = source

    def segments_folder(self, own: bool) -> Path:
        """Where segments are kept: of the data set that was given (`own`), or of the pictures on the page."""
        if own and self.data is not None:
            return self.segments or data_dir() / "segments" / file_name(str(Path(self.data.source).absolute()))
        return self.segments if self.segments and self.data is None else data_dir() / "segments" / "page"

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
        return self.pictures.view(session.source(self.examples), self.classifiers.get(session.spec), self.device)
