"""What every tab shares."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import UserError
from dashboard.classifiers import Classifiers
from dashboard.pictures import Pictures, Source, example_files
from dashboard.runs import Runner
from dashboard.sessions import Session, Sessions


@dataclass
class Page:
    """One running page: stores on the server, and the components in the header that tabs listen to.

    A tab is a module with `build(page)`, called inside its own `gr.Tab`. Its handlers take `page.key` as an input and
    get the visitor's session by `page.sessions.get(key)`; `page.model.change` fires when another model is ready.

    Attributes:
        key: state, the visitor's key. dark: state, True on a dark page. model: state, the loaded model's spec.
        opened: hidden; its `change` fires when a page is opened or reloaded, after `key` and `dark` are there.
    """

    classifiers: Classifiers
    sessions: Sessions
    report: Path | None = None
    evaluation: Path | None = None
    pictures: Pictures = field(default_factory=Pictures)
    runner: Runner = field(default_factory=Runner)
    examples: dict[str, Source] = field(default_factory=dict)
    autorun: bool = True
    key: Any = None
    dark: Any = None
    model: Any = None
    opened: Any = None
    visits: int = 0

    def read_examples(self) -> None:
        """Read the pictures that come with the page; a broken one is left out by raising at start, not to visitors."""
        for path, mask in example_files():
            source = self.pictures.read(path, path.stem.replace("_", " "), mask, upload=False)
            self.examples[source.id] = source

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

    def has_model(self, session: Session) -> bool:
        """Whether the visitor's classifier can be had."""
        try:
            self.classifiers.get(session.spec)
        except UserError:
            return False
        return True
