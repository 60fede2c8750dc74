"""Where the passes run and in what precision."""

from __future__ import annotations

import torch

from core.errors import UserError


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """ "auto" takes a GPU if there is one.

    Raises:
        UserError: the device does not exist here.
    """
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"There is no device {device!r}; use auto, cpu or cuda.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UserError("No CUDA device was found; use --device cpu.")
    return chosen


def choose_precision(precision: str, device: torch.device) -> str:
    """ "auto" is bfloat16 passes on a GPU that has them, float32 elsewhere."""
    if precision == "auto":
        return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if precision not in ("float32", "bfloat16"):
        raise UserError(f"Precision must be auto, float32 or bfloat16, got {precision!r}.")
    return precision


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that a clock read now is the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
