"""Several processes that train one explainer, each on its own device and its own part of every batch.

Started by torchrun, which tells each who it is. Gradients are averaged after every step, as DistributedDataParallel
does, without its wrapper around a model that is read through hooks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def begin(device: torch.device) -> None:
    """Join the others, once, if there are any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def device_for(asked: str) -> str:
    """The device that this process is to use: with "auto" and several GPUs, its own."""
    local = os.environ.get("LOCAL_RANK")
    if asked == "auto" and local is not None and torch.cuda.is_available():
        return f"cuda:{int(local) % torch.cuda.device_count()}"
    return asked


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks; known before the others are joined."""
    return int(os.environ.get("RANK", "0")) == 0


def several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """0 for the one that writes files; also where there is only one."""
    return dist.get_rank() if several() else 0


def own(everything: Sequence[T]) -> Sequence[T]:
    """This process's part; where there are fewer than processes, some share one."""
    if not several():
        return everything
    return everything[rank() :: dist.get_world_size()] or everything[:1]


def average(module: nn.Module) -> None:
    """Its gradients become the mean over all processes."""
    if not several():
        return
    for value in module.parameters():
        if value.grad is not None:
            dist.all_reduce(value.grad)
            value.grad /= dist.get_world_size()


def total(values: Iterable[float], device: torch.device) -> list[float]:
    """Sums over all processes."""
    if not several():
        return list(values)
    sums: Tensor = torch.tensor(list(values), dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return sums.tolist()


def wait() -> None:
    """Until all are here."""
    if several():
        dist.barrier()
