"""What tells one set of weights from another."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class Hash(Protocol):
    """Anything of hashlib."""

    def update(self, data: bytes, /) -> None: ...


def add_weights(into: Hash, module: nn.Module) -> None:
    """Put all that a module's state dict holds into a hash."""
    for key, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            into.update(f"{key}{value.dtype}{tuple(value.shape)}".encode())
            into.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
