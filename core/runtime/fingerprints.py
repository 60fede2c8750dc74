"""What tells one set of weights from another, and one state of a file from another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from core.paths import existing_file, readable


class Hash(Protocol):
    """Anything of hashlib."""

    def update(self, data: bytes, /) -> None: ...


def add_weights(into: Hash, module: nn.Module) -> None:
    """Put all that a module's state dict holds into a hash."""
    for key, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            into.update(f"{key}{value.dtype}{tuple(value.shape)}".encode())
            into.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def file_state(file: Path) -> list[int]:
    """Size in bytes and time of change in nanoseconds, which tell without reading whether it is still the same.

    Raises:
        OSError: it is not there.
    """
    about = file.stat()
    return [about.st_size, about.st_mtime_ns]


def weights_mark(files: Iterable[Path]) -> str:
    """A few letters that change with what weights files hold.

    Raises:
        UserError: one cannot be read.
    """
    digest = hashlib.blake2b(digest_size=6)
    for path in files:
        with readable(path, "weights file"), existing_file(path, "weights file").open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()
