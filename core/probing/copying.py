"""A private copy of a module that passes can go through: what cannot become one is told here."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from core.errors import UserError

QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def private_copy(module: nn.Module, name: str) -> tuple[nn.Module, list[str]]:
    """A copy in evaluation mode and float32, without parameter gradients and without in-place activations.

    Returns:
        The copy, and one sentence for each thing about it that is not as in the original.

    Raises:
        UserError: layers without weights yet, integer weights, weights that are not finite, or it cannot be copied.
    """
    module = _bare(module)
    _check_made(module, name)
    # weights that a layer works out at every call (weight normalisation) can only be copied without their history
    computed = {id(value): value.detach().clone() for part in module.modules() for value in vars(part).values()
                if isinstance(value, Tensor) and not value.is_leaf}  # fmt: skip
    try:
        with torch.no_grad():
            module = copy.deepcopy(module, computed).eval()
    except Exception as error:  # whatever the module's own code raises
        raise UserError(
            f"{name} cannot be copied and put into evaluation mode ({reason(error)}); load its weights into a freshly "
            "built model."
        ) from error
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    for part in module.modules():
        if getattr(part, "inplace", False) is True and not isinstance(part, torch.jit.ScriptModule):
            part.inplace = False  # ty: ignore[invalid-assignment]
    notes = []
    if others := {value.dtype for value in _tensors(module) if value.is_floating_point()} - {torch.float32}:
        kinds = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in others))
        notes.append(f"The model's weights are {kinds}; its passes are made with a float32 copy of them.")
        module = module.float()
    _check_finite(module)
    return module, notes


def reason(error: Exception) -> str:
    """What an error says, in one line of bounded length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    told = [line for line in lines if line.startswith("RuntimeError:")]  # TorchScript puts a traceback before it
    return (told[-1] if told else lines[0])[:120]


def _bare(module: nn.Module) -> nn.Module:
    """Without the wrappers that spread or compile a model; its weights are inside."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(module, parallel) or hasattr(module, "_orig_mod"):
        module = module.module if isinstance(module, parallel) else module._orig_mod  # ty: ignore[invalid-assignment]
    return module


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _check_made(module: nn.Module, name: str) -> None:
    for key, value in module.state_dict(keep_vars=True).items():
        if is_lazy(value):  # no weights before its first picture
            layer = key.rpartition(".")[0]
            raise UserError(
                f"{name} has layers that have not seen a picture yet (first {layer!r}); pass one through it before "
                "handing it over."
            )
        if isinstance(value, Tensor) and value.is_meta:
            raise UserError(f"{name} has weights without values (first {key!r}, on the meta device); load them first.")
    for key, part in module.named_modules():
        kind = getattr(part, "original_name", type(part).__name__)
        if type(part).__module__.startswith(QUANTISED) or "quantized" in str(getattr(part, "_c", "")):
            raise UserError(
                f"{name} has integer-quantised layers (first {key!r}, {kind}), which have no gradients; give the float "
                "model that it was made from."
            )
    if isinstance(module, torch.jit.ScriptModule) and not module.state_dict():
        raise UserError(
            f"{name} is a frozen TorchScript program, whose weights cannot be told apart from its code; give the "
            "module as it was before torch.jit.freeze."
        )


def _check_finite(module: nn.Module) -> None:
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"The weights hold NaN or infinity (first in {name!r}); train or export the model again.")
