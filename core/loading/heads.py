"""The last layers of a fine-tuned model, where they are others than the architecture's own."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from core.errors import UserError
from core.loading.checkpoints import COUNTERS, OWN_CODE, State, fitted


def rebuild_head(module: nn.Module, state: State, what: str) -> tuple[str, int] | None:
    """Put one linear layer where a file has it, in place of the model's head: `fc.1` of Dropout and Linear for `fc`.

    Returns:
        A sentence about it and the number of classes; None where the names are the model's own, or tell nothing.

    Raises:
        UserError: the file's head has several layers, and nothing says what stands between them.
    """
    own = module.state_dict()
    state, _ = fitted(state, own)
    mine = {key for key in own if key not in state or state[key].shape != own[key].shape}
    theirs = {key for key in state if key not in own or key in mine}
    mine, theirs = ({key for key in keys if not key.endswith(COUNTERS)} for keys in (mine, theirs))
    place = _common([key.split(".")[:-1] for key in mine | theirs])
    head = ".".join(place)
    if not mine or not theirs or not head or any(key.startswith(f"{head}.") for key in own.keys() - mine):
        return None
    weights = sorted(key for key in theirs if state[key].dim() == 2)
    if len(weights) != 1 or theirs - {weights[0], f"{weights[0].removesuffix('weight')}bias"}:
        raise UserError(
            f"The head of {what} ({head!r}) has several layers of its own, and a file of weights does not say what "
            f"stands between them; {OWN_CODE}."
        )
    classes, features = state[weights[0]].shape
    first = next(own[key] for key in own if key in mine)
    if first.dim() == 2 and first.shape[1] != features:
        return None
    path = weights[0].split(".")[len(place) : -1]
    layer: nn.Module = nn.Linear(features, classes, bias=len(theirs) == 2)
    for name in reversed(path):
        layer = nn.Sequential(OrderedDict([(name, layer)]))
    owner, _, name = head.rpartition(".")
    setattr(module.get_submodule(owner), name, layer)
    note = f"The file's head is one linear layer ({'.'.join([*place, *path])!r}), which stands in place of the model's."
    return note, classes


def _common(paths: list[list[str]]) -> list[str]:
    """The parts that all begin with."""
    common = []
    for parts in zip(*paths):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return common
