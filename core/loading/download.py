"""Published weights, fetched once into torch's own cache."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

import torch

from core.errors import UserError

BLOCK = 1 << 20
TIMEOUT_SECONDS = 30


def download(
    url: str,
    what: str,
    progress: Callable[[float, str], None] | None = None,
    sha256: str | None = None,
) -> Path:
    """The file behind a URL, from the cache that `torch.hub` uses, or fetched into it.

    A file that is cut off or altered on the way never enters the cache.

    Args:
        url: of the file.
        what: the model, for messages.
        progress: called with (fraction in [0, 1], text).
        sha256: how the file's hash begins (torchvision's file names carry the first 8 digits), or None.

    Raises:
        UserError: it cannot be fetched, or its hash is another.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    target = folder / Path(urlparse(url).path).name
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
    except OSError as error:
        raise UserError(f"The weights of {what} cannot be kept in {folder} ({error.strerror}).") from error
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _fetch(url, file.write, what, progress)
        if sha256 and not digest.startswith(sha256):
            raise UserError(f"The weights of {what} arrived damaged (their hash is wrong); try again.")
        os.replace(part, target)
    except (OSError, ValueError) as error:  # URLError is an OSError
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"The weights of {what} could not be downloaded ({reason}); connect to the internet once, or give a file "
            f"of your own (NAME@FILE)."
        ) from error
    finally:
        Path(part).unlink(missing_ok=True)
    return target


def _fetch(url: str, write: Callable[[bytes], object], what: str, progress: Callable[[float, str], None] | None) -> str:
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
        total, done = int(answer.headers.get("Content-Length") or 0), 0
        while block := answer.read(BLOCK):
            write(block)
            digest.update(block)
            done += len(block)
            if progress:
                progress(done / total if total else 0.0, f"Downloading {what} ({done >> 20} of {total >> 20} MB)")
    if total and done < total:
        raise UserError(f"The download of {what} broke off after {done >> 20} MB; try again.")
    return digest.hexdigest()
