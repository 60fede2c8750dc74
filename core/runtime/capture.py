"""Catch what modules answer during one call of a model, without leaving a trace."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def captured(modules: Iterable[tuple[str, nn.Module]]) -> Generator[dict[str, Any]]:
    """Record the output of named modules while the block runs; the hooks are gone when it ends, however it ends.

    Only calls made by this thread count: another thread may be sending its own pictures through the same modules.

    Yields:
        Name -> output, filled while the model runs, ordered by when each module answered last. Of a module that is
        used several times the last answer is kept.
    """
    mine = threading.get_ident()
    answers: dict[str, Any] = {}

    def recorder(name: str) -> Any:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            if threading.get_ident() == mine:
                answers.pop(name, None)
                answers[name] = output

        return record

    handles = []
    try:
        for name, module in modules:
            if isinstance(module, torch.jit.ScriptModule):
                continue  # a program of its own, which calls no hooks
            handles.append(module.register_forward_hook(recorder(name)))
        yield answers
    finally:
        for handle in handles:
            handle.remove()


def tensors_in(output: Any) -> list[Tensor]:
    """The tensors of a module's answer in order: a tensor, or tuples, lists and dictionaries of them."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for part in output for tensor in tensors_in(part)]
    return []
