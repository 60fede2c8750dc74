"""What is fetched from the Hugging Face hub: into the hub's own cache, once, with progress, and in silence else."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.runtime.progress import OnProgress


def hub_folder(
    name: str, patterns: Sequence[str], complete: Callable[[Path], bool], progress: OnProgress | None = None
) -> Path:
    """A whole repository, from the cache if what is there is complete.

    Args:
        name: OWNER/NAME on the hub.
        patterns: which of its files are wanted.
        complete: whether a folder holds what is needed.
        progress: called with (fraction in [0, 1], text).

    Raises:
        UserError: it cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    with suppress(Exception):  # not there, or there in a form of an older version
        cached = Path(snapshot_download(name, local_files_only=True, allow_patterns=list(patterns)))
        if complete(cached):
            return cached
    try:
        with silent():
            return Path(snapshot_download(name, allow_patterns=list(patterns), tqdm_class=_bar(name, progress)))
    except Exception as error:  # of the hub, of HTTP, of the disk
        raise UserError(
            f"{name} could not be fetched from the Hugging Face hub ({reason(error)}); connect to the internet once "
            "(and log in there if its licence has to be accepted), or give a folder that holds it."
        ) from error


def hub_file(name: str, file: str, revision: str | None = None, progress: OnProgress | None = None) -> Path | None:
    """One file of a repository, from the cache if it is there; None where the repository has no such file.

    Raises:
        Exception: whatever the hub's client raises without a connection.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with suppress(LocalEntryNotFoundError):
        return Path(hf_hub_download(name, file, revision=revision, local_files_only=True))
    try:
        with silent():
            return Path(hf_hub_download(name, file, revision=revision, tqdm_class=_bar(name, progress)))
    except LocalEntryNotFoundError:  # a kind of EntryNotFoundError: nothing was asked, for want of a connection
        raise
    except EntryNotFoundError:
        return None


@contextmanager
def silent() -> Generator[None]:
    """Without the client's remarks on every retry; how it ends is told by whoever asked."""
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def reason(error: BaseException) -> str:
    """Why something could not be fetched, in a few words: what lies at the bottom of the client's own long story."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else f"{lines[0][:160].rsplit(' ', 1)[0]} ..."


def _bar(name: str, progress: OnProgress | None) -> Any:
    """A progress bar that is not drawn, but told."""
    from tqdm.std import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "file": io.StringIO(), "disable": False})

        def display(self, *_: Any, **__: Any) -> None:
            if progress is not None and self.unit == "B" and self.total:
                progress(min(1.0, self.n / self.total), f"Downloading {name} ({self.n >> 20} of {self.total >> 20} MB)")

    return Bar
