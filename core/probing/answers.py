"""What a model answers with: logits, or probabilities of one kind or another, and the way back from them."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.runtime.capture import captured

Kind = Literal["logits", "softmax", "log-softmax", "sigmoid", "log-sigmoid"]

# float32 holds probabilities down to the one and up to the other; beyond them their logarithms are not known
LEAST, MOST = torch.finfo(torch.float32).tiny, 1 - 2.0**-24
WITHIN = 1e-6  # of [0, 1], by rounding
SUM_TOLERANCE = 1e-4  # of sums of 1 over the classes, where nothing but the numbers speaks for a softmax
KNOWN_TOLERANCE = 1e-2  # where the last operation is one, in whatever precision

# operations by autograd's name for them: those that make probabilities, and those that keep them such
MAKING: dict[str, Kind] = {
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "Hardsigmoid": "sigmoid",
    "LogSoftmax": "log-softmax",
    "LogSigmoid": "log-sigmoid",
}
SAME = {"View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice", "Index", "IndexSelect", "Cat",
        "Stack", "Clone", "ToCopy", "T", "Transpose", "Permute", "Expand", "AsStrided", "Alias", "Split", "Unbind",
        "SplitWithSizes", "Gather"}  # fmt: skip
MIXING = {"Mean", "Sum", "Add", "Sub", "Rsub", "Mul", "Div", "Clamp", "ClampMin", "ClampMax", "Where", "Prod"}
# what may bound numbers to [0, 1]; "": an operation of the model's own
BOUNDING = {"Clamp", "ClampMin", "ClampMax", "Hardtanh", "Exp", "Reciprocal", "Tanh", "Atan", "Erf", ""}
LAYERS: dict[type[nn.Module], Kind] = {
    nn.Softmax: "softmax",
    nn.LogSoftmax: "log-softmax",
    nn.Sigmoid: "sigmoid",
    nn.LogSigmoid: "log-sigmoid",
}


def tensor_of(output: object, batch: int) -> Tensor:
    """The [batch, classes] among what a model answers: a tensor, a tuple, a dictionary or an object with `logits`.

    One number a picture may come as [batch].

    Raises:
        UserError: there is none.
    """
    logits = output
    if not isinstance(output, Tensor):
        logits = getattr(output, "logits", None)
        if logits is None and isinstance(output, dict):
            logits = output.get("logits", output.get("out"))
        if logits is None and isinstance(output, (tuple, list)) and output:
            logits = output[0]
    if not isinstance(logits, Tensor):
        raise UserError(f"The model answers with {type(output).__name__}; a classifier gives logits.")
    if logits.dim() < 2 and logits.numel() and logits.numel() % batch == 0:
        logits = logits.reshape(batch, -1)
    if logits.dim() != 2 or 0 in logits.shape:
        raise UserError(
            f"The model gives an output of shape {tuple(logits.shape)}; a classifier gives [batch, classes]."
        )
    return logits


def recognised(answers: Tensor, made_by: set[Kind] | None) -> Kind | None:
    """What kind of answers these are.

    Args:
        answers: [P, C] to pictures that differ much.
        made_by: of `makers_of`.

    Returns:
        None where they may be probabilities, and nothing shows it.

    Raises:
        UserError: probabilities that do not tell the classes apart.
    """
    values = answers.double()
    if values.isnan().any() or float(values.max()) == float("inf"):
        return "logits"
    varied = float((values - values[:1]).abs().max()) > SUM_TOLERANCE
    known = bool(made_by)  # in whatever precision it was taken
    tolerance = KNOWN_TOLERANCE if known else SUM_TOLERANCE

    def sums_to_one(these: Tensor, axis: int = 1) -> bool:
        return these.shape[axis] > 1 and float((these.sum(axis) - 1).abs().max()) < tolerance

    if float(values.min()) >= -WITHIN and float(values.max()) <= 1 + WITHIN:
        if sums_to_one(values) and (known or varied):
            return "softmax"
        if made_by == {"softmax"} and (values.shape[1] == 1 or sums_to_one(values, 0)):
            raise UserError(
                "The model ends in a softmax that is not taken over its classes, so that it cannot tell them apart; "
                "take it over dimension 1, or give one output a sigmoid."
            )
        if known:
            return "sigmoid"
        return None if made_by is None and varied else "logits"
    if float(values.max()) <= WITHIN:
        if made_by == {"log-sigmoid"}:
            return "log-sigmoid"
        if sums_to_one(values.exp()) and (known or varied):
            return "log-softmax"
    return "logits"


def makers_of(answer: Tensor) -> set[Kind] | None:
    """What made these numbers, read off autograd's record: which of `MAKING` stand at the end of every path.

    Averages, products and complements of probabilities are probabilities.

    Returns:
        Empty where some path ends in another operation; None where the record does not tell.
    """
    if answer.grad_fn is None:
        return None
    found: set[Kind] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [answer.grad_fn]
    bounded = False
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        name = _operation(node)
        if name in MAKING:
            found.add(MAKING[name])
        elif name in SAME or name in MIXING:
            bounded = bounded or name in BOUNDING
            waiting += [before for before, _ in node.next_functions if before is not None]
        else:
            return None if bounded or name in BOUNDING else set()
    return found


def _operation(node: Any) -> str:
    """ "Mean" of "MeanBackward1"; nothing for operations that are not PyTorch's own."""
    known = re.fullmatch(r"([A-Za-z]+)Backward\d+", node.name())
    if known:
        return known[1]
    return "AccumulateGrad" if node.name().endswith("AccumulateGrad") else ""


def without_last(module: nn.Module, images: Tensor, kind: Kind) -> nn.Module | None:
    """The same module (changed in place) without the layer that makes probabilities of its logits.

    Args:
        images: as the module takes them; on these the layer's answer must be the model's, and on the logits that come
            out without it the function must give the same again.

    Returns:
        None where no layer of `LAYERS` stands at the very end; the module is then as it was.
    """
    with captured(module.named_modules()) as answers:
        wanted = tensor_of(module(images), len(images))
    last = [name for name, part in module.named_modules() if LAYERS.get(type(part)) == kind and name in answers
            and isinstance(answers[name], Tensor) and answers[name].data_ptr() == wanted.data_ptr()]  # fmt: skip
    if len(last) != 1 or not last[0]:
        return None
    owner, _, name = last[0].rpartition(".")
    parent = module.get_submodule(owner)
    layer = getattr(parent, name)
    setattr(parent, name, nn.Identity())
    try:
        bare = tensor_of(module(images), len(images))
        if torch.allclose(forward_of(bare, kind), wanted, rtol=1e-4, atol=1e-6):
            return module
    except Exception:  # noqa: BLE001 - the model's own code may ask the layer for something
        pass
    setattr(parent, name, layer)
    return None


def forward_of(logits: Tensor, kind: Kind) -> Tensor:
    """Logits -> answers of that kind."""
    if kind == "softmax":
        return logits.softmax(-1)
    if kind == "log-softmax":
        return logits.log_softmax(-1)
    if kind == "sigmoid":
        return logits.sigmoid()
    return F.logsigmoid(logits) if kind == "log-sigmoid" else logits


class Undone(nn.Module):
    """A model that answers with probabilities, as one that answers with logits.

    Attributes:
        module: the model itself.
        undo: what its answers are. "softmax": logarithms are taken; "sigmoid": log-odds; "log-sigmoid": log-odds of the
            exponential. Numbers that float32 cannot tell from 0 or 1 are held there.
    """

    def __init__(self, module: nn.Module, undo: Kind) -> None:
        super().__init__()
        assert undo in get_args(Kind)
        self.module, self.undo = module, undo

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] as the model takes them -> [B, classes] logits, float32."""
        if self.undo == "softmax":
            return tensor_of(self.module(images), len(images)).float().clamp_min(LEAST).log()
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 knows no probability between 0.996 and 1
            answers = tensor_of(self.module(images), len(images)).float()
        if self.undo == "log-sigmoid":
            answers = answers.exp()
        return answers.clamp_min(LEAST).log() - (-answers.clamp_max(MOST)).log1p()

    def extra_repr(self) -> str:
        return f"undo={self.undo}"
