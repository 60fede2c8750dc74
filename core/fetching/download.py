"""Published weights, fetched once into torch's own cache; what broke off goes on where it stopped."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any, BinaryIO
from urllib.parse import urlparse

import torch
from filelock import FileLock

from core.errors import UserError
from core.runtime.fingerprints import file_state
from core.runtime.progress import OnProgress

BLOCK = 1 << 20
TIMEOUT_SECONDS = 30.0
SLOWEST = 1 << 10  # bytes a second, on average over the timeout; less is a server that stalls
ATTEMPTS = 4  # in a row that come no further
PAUSE_SECONDS = 1.0
PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers after which a second try may do better


class _Broken(Exception):
    """A transfer that ended early, for a reason that may pass; what arrived is kept."""


def download(
    url: str,
    what: str,
    progress: OnProgress | None = None,
    sha256: str | None = None,
    *,
    timeout: float = TIMEOUT_SECONDS,
) -> Path:
    """The file behind a URL, from the cache that `torch.hub` uses, or fetched into it.

    A file that is cut off or altered on the way never enters the cache, and one that lies there is fetched again if its
    hash is another, which is worked out once. A transfer that breaks off is taken up where it
    stopped, also by a later call, if the server can tell that its file is still the same one. Two processes that want
    the same file fetch it once.

    Args:
        url: of the file.
        what: the model, for messages.
        progress: called with (fraction in [0, 1], text).
        sha256: the file's hash, or how it begins (torchvision's file names carry the first 8 digits), or None.
        timeout: seconds without (next to) any data after which the server counts as stalled.

    Raises:
        UserError: it cannot be fetched or kept, or its hash is another.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    target = folder / Path(urlparse(url).path).name
    part = _Part(folder / f"{target.name}.part")
    try:
        if _is_there(target, sha256):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with part.claimed():
            if _is_there(target, sha256):  # fetched by another process while this one waited for its turn
                return target
            if target.is_file():
                what = f"{what} ({target} does not hold them)"
            digest = _fetch(url, part, _Teller(what, progress), timeout)
            if sha256 and not digest.startswith(sha256):
                part.clear()
                raise UserError(f"The weights of {what} arrived damaged (their hash is wrong); try again.")
            os.replace(part.path, target)
            _remember(target, digest)
    except urllib.error.URLError as error:
        raise _unreachable(what, error.reason) from error
    except (http.client.HTTPException, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise _unreachable(what, error) from error
    except OSError as error:
        raise UserError(f"The weights of {what} cannot be kept in {folder} ({error.strerror}); make room there or set "
                        "TORCH_HOME to another folder.") from error  # fmt: skip
    return target


def _is_there(file: Path, sha256: str | None) -> bool:
    """Whether a file is in the cache, with the hash that it should have if that is known."""
    if sha256 is None or not file.is_file():
        return file.is_file()
    try:
        known = json.loads(_checked(file).read_text(encoding="utf-8"))
        if known["state"] == file_state(file):
            return known["sha256"].startswith(sha256)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not checked yet
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    _remember(file, digest)
    return digest.startswith(sha256)


def _remember(file: Path, digest: str) -> None:
    with suppress(OSError):  # a cache that is not ours to write to is checked each time
        _checked(file).write_text(json.dumps({"sha256": digest, "state": file_state(file)}), encoding="utf-8")


def _checked(file: Path) -> Path:
    """Beside a file, the hash that it had, and its state at that time."""
    return file.with_name(f"{file.name}.checked")


def _unreachable(what: str, reason: object) -> UserError:
    return UserError(f"The weights of {what} could not be downloaded ({reason}); connect to the internet once, or give "
                     "a file of your own (NAME@FILE).")  # fmt: skip


@dataclass(frozen=True)
class _Teller:
    what: str
    progress: OnProgress | None

    def __call__(self, done: int, total: int) -> None:
        if self.progress:
            text = f"Downloading {self.what} ({done >> 20} of {total >> 20} MB)"
            self.progress(min(1.0, done / total) if total else 0.0, text)


class _Part:
    """What has arrived so far, and beside it, which version of which file it is a part of."""

    def __init__(self, path: Path) -> None:
        self.path, self.note = path, path.with_name(path.name + ".json")
        self.file: BinaryIO

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Have the file to oneself; waits while another process is fetching it.

        The system frees the lock of a process that was killed, so that none is ever stale.
        """
        lock = self.path.with_name(self.path.name + ".lock")
        with FileLock(lock):
            self.file = self.path.open("a+b")
            try:
                yield
            finally:
                if not self.size():
                    self.path.unlink(missing_ok=True)
                if not self.path.exists():
                    self.note.unlink(missing_ok=True)
                self.file.close()
                with suppress(OSError):  # Windows keeps what is open; who waits elsewhere takes a new one
                    lock.unlink()

    def size(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def version(self, url: str) -> str | None:
        """What the server called this version of the file; None if that is not known."""
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
            return noted["version"] if noted["url"] == url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def clear(self, url: str = "", version: str | None = None) -> None:
        """Begin anew, with a version of the file behind a URL."""
        self.file.truncate(0)
        self.note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def digest(self) -> str:
        self.file.flush()
        self.file.seek(0)
        h = hashlib.sha256()
        while block := self.file.read(BLOCK):
            h.update(block)
        return h.hexdigest()


def _fetch(url: str, part: _Part, tell: _Teller, timeout: float) -> str:
    """Fetch what is missing, and return the sha256 of the whole."""
    furthest, failures = -1, 0
    while True:
        try:
            _transfer(url, part, tell, timeout)
            return part.digest()
        except _Broken as error:
            size = part.size()
            failures = 1 if size > furthest else failures + 1
            furthest = max(size, furthest)
            if failures == ATTEMPTS:
                raise UserError(
                    f"The download of {tell.what} {error} after {size >> 20} MB; try again, and it goes on from "
                    "there if its server allows that."
                ) from error
            sleep(PAUSE_SECONDS * failures)


def _transfer(url: str, part: _Part, tell: _Teller, timeout: float) -> None:
    start, version = part.size(), part.version(url)
    request = urllib.request.Request(url)
    if start and version:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", version)
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is here is longer than what is there
            part.clear()
        if error.code == 416 or error.code in PASSING:
            raise _Broken(f"was refused ({error.reason})") from error
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Broken("got no answer from its server") from error
        raise
    except OSError as error:
        raise _Broken("got no answer from its server") from error
    with answer:
        _receive(answer, url, part, start, tell, timeout)


def _receive(answer: Any, url: str, part: _Part, start: int, tell: _Teller, timeout: float) -> None:
    length = int(answer.headers.get("Content-Length") or 0)
    goes_on = str(answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-")
    if not (start and answer.status == 206 and goes_on):
        if answer.status == 206:
            part.clear()
            raise _Broken("was answered with another part than was asked for")
        part.clear(url, _version(answer.headers))
        start = 0
    done, total = start, start + length if length else 0
    since, at = monotonic(), done
    while True:
        try:
            block = answer.read1(BLOCK)
        except TimeoutError as error:
            raise _Broken("stalled") from error
        except (http.client.HTTPException, OSError) as error:
            raise _Broken("broke off") from error
        if not block:
            break
        part.file.write(block)
        done += len(block)
        tell(done, total)
        if monotonic() - since > timeout:
            if done - at < SLOWEST * timeout:
                raise _Broken("stalled")
            since, at = monotonic(), done
    part.file.flush()
    if done < total:
        raise _Broken("broke off")


def _version(headers: Any) -> str | None:
    """A validator that `If-Range` takes: a strong ETag, else the date of the last change."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
