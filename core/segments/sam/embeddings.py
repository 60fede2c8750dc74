"""What a SAM found out about a picture, kept on disk so that it is found out once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from core.paths import cache_dir

LARGEST = 2 << 30  # bytes; a published SAM's embedding takes 2 MB, the compact one's a quarter
SUFFIX = ".safetensors"


class EmbeddingCache:
    """Named tensors by key, in files of their own; the least recently used go when there are too many.

    Files are whole or not there, so that several processes may share a folder. Nothing here ever fails a segmentation:
    what cannot be read counts as missing, and what cannot be written (a full disk) is left out with a note.

    Attributes:
        folder: made when it is first written to.
        limit: bytes of all files together.
        notes: what went wrong, one sentence each, each only once.
    """

    def __init__(self, folder: str | Path | None = None, limit: int = LARGEST) -> None:
        self.folder = Path(folder) if folder is not None else cache_dir() / "embeddings"
        self.limit = limit
        self.notes: list[str] = []
        self._lock = threading.Lock()
        self._size: int | None = None  # of the folder, counted at the first write and from then on kept up

    def read(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of a key, floats as float32; None if they are not there or not whole."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self._path(key)
        try:
            found = load(path.read_bytes())
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return {name: value.float() if value.is_floating_point() else value for name, value in found.items()}

    def write(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a key, floats as float16; numbers too large for that are not kept at all."""
        from safetensors.torch import save

        kept = {name: _halved(value) for name, value in tensors.items()}
        if any(value.is_floating_point() and not bool(torch.isfinite(value).all()) for value in kept.values()):
            return
        data = save(kept)
        if len(data) > self.limit:
            return
        with self._lock:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._make_room(len(data))
                self._write_whole(self._path(key), data)
            except OSError as error:
                note = f"Embeddings are not kept in {self.folder} ({error.strerror}); every picture is encoded anew."
                if note not in self.notes:
                    self.notes.append(note)

    def clear(self) -> None:
        """Remove all that is kept."""
        with self._lock:
            for path in self._files():
                path.unlink(missing_ok=True)
            self._size = 0

    def _path(self, key: str) -> Path:
        return self.folder / (hashlib.sha256(key.encode()).hexdigest() + SUFFIX)

    def _files(self) -> list[Path]:
        return list(self.folder.glob(f"*{SUFFIX}")) if self.folder.is_dir() else []

    def _make_room(self, wanted: int) -> None:
        if self._size is None or self._size + wanted > self.limit:
            found = []
            for path in self._files():
                with contextlib.suppress(FileNotFoundError):  # removed by another process
                    status = path.stat()
                    found.append((status.st_mtime_ns, status.st_size, path))
            self._size = sum(size for _, size, _ in found)
            # a tenth more than needed, so that the folder is not listed at every write
            most = self.limit - wanted if self._size + wanted <= self.limit else int(0.9 * self.limit) - wanted
            for _, size, path in sorted(found):
                if self._size <= max(most, 0):
                    break
                path.unlink(missing_ok=True)
                self._size -= size
        self._size += wanted

    def _write_whole(self, path: Path, data: bytes) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def _halved(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() else value
