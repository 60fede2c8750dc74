"""The one temporary folder of a running page: uploads, downloads and work under way; it goes when the page ends."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from core.errors import UserError
from core.runtime.whole_files import whole_file

KEPT_DOWNLOADS = 64
_LOCK = threading.Lock()
_MADE: dict[int, Path] = {}  # by process, so that a forked child never removes its parent's
_OFFERED: list[Path] = []


def process_folder() -> Path:
    """Made at first use, only for this user, removed when the process ends.

    Raises:
        UserError: it cannot be made.
    """
    with _LOCK:
        folder = _MADE.get(os.getpid())
        if folder is None or not folder.is_dir():
            try:
                folder = Path(tempfile.mkdtemp(prefix="satchel-")).resolve()
            except OSError as error:
                raise UserError(
                    f"No temporary folder can be made ({error.strerror}); free some room or set TMPDIR."
                ) from error
            _MADE[os.getpid()] = folder
            atexit.register(_remove, os.getpid(), folder)
        return folder


def _remove(owner: int, folder: Path) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def free_bytes() -> int:
    """How much can still be written there."""
    return shutil.disk_usage(process_folder()).free


def new_folder(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A folder for one piece of work, removed with the object that is given back.

    Raises:
        UserError: it cannot be made.
    """
    try:
        return tempfile.TemporaryDirectory(prefix=prefix, dir=process_folder(), ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(f"No temporary folder can be made ({error.strerror}); free some room.") from error


def keep_files_here() -> None:
    """Have Gradio keep what it is sent in this folder too, and hand downloads out as they lie, without a copy.

    Must be called before its components are made.
    """
    os.environ.setdefault("GRADIO_TEMP_DIR", str(process_folder() / "gradio"))
    gr.set_static_paths([_downloads()])


def _downloads() -> Path:
    return process_folder() / "downloads"


def offered(name: str, content: bytes) -> Path:
    """A file to take along; the same content is the same file, and of many only the last ones are kept.

    Raises:
        UserError: it cannot be written.
    """
    return _offered(name, content, lambda part: part.write_bytes(content))


def offered_copy(name: str, file: Path) -> Path:
    """The same of a file that lies elsewhere, without reading it where it was copied already.

    Raises:
        UserError: it cannot be read, or the copy cannot be written.
    """
    try:
        found = file.stat()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}).") from error
    known = repr((str(file.absolute()), found.st_size, found.st_mtime_ns)).encode()
    return _offered(name, known, lambda part: shutil.copyfile(file, part))


def _offered(name: str, known: bytes, write: Callable[[Path], object]) -> Path:
    """
    Args:
        known: what tells the content from others.
    """
    path = _downloads() / hashlib.sha256(known).hexdigest()[:24] / name
    if not path.is_file():
        with whole_file(path) as part:
            write(part)
    with _LOCK:
        if path in _OFFERED:
            _OFFERED.remove(path)
        _OFFERED.append(path)
        old, _OFFERED[:] = _OFFERED[:-KEPT_DOWNLOADS], _OFFERED[-KEPT_DOWNLOADS:]
    for forgotten in old:
        forgotten.unlink(missing_ok=True)
    return path


def download(make: Callable[[], Path]) -> Any:
    """What a download button becomes: the file that `make` writes; hidden, with one sentence, where it cannot."""
    try:
        return gr.update(value=str(make()), visible=True)
    except UserError as error:
        gr.Warning(escape(str(error)), title="No download")
        return gr.update(visible=False)
