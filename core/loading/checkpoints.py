"""Weights files, distrusted: safetensors, or PyTorch files read with `weights_only=True` and in no other way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from core.errors import UserError
from core.loading.specs import weights_file
from core.loading.torch_files import INSTEAD, read_torch
from core.paths import readable

State = dict[str, Tensor]
SET = "/"  # in names, between a set of weights (of several in a file) and a tensor's own name
DEEPEST = 4  # mappings within mappings, and parts of a prefix times two
COUNTERS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")  # count what is done, and do nothing
AVERAGED = re.compile(r"(?<![a-z])(ema|avg|averaged?|swa|teacher|shadow|polyak)(?![a-z])")
OWN_CODE = "build it in a function of your own (python:package.module:function@FILE)"


def read_checkpoint(path: str | Path) -> tuple[State, dict[str, str]]:
    """Read weights without ever running what the file holds.

    Returns:
        The state dict, on the CPU, taken out of what is wrapped around it; and the safetensors metadata (else empty).
        Where a file holds several sets of weights, names begin with their set's (`fitted` chooses).

    Raises:
        UserError: missing, empty, cut off, holding code, or no weights at all.
    """
    path = weights_file(Path(path))
    with readable(path, "weights file"), path.open("rb") as file:
        size, head = path.stat().st_size, file.read(16)
    if size == 0:
        raise UserError(f"The weights file {path} is empty (0 bytes); download or save it again.")
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _read_safetensors(path)
    state = _unwrapped(read_torch(path, head), path)
    _check_sizes(state, path, size)
    return state, {}


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no whole safetensors file ({error}); download or save it again.") from error


def _unwrapped(value: object, path: Path) -> State:
    if not isinstance(value, Mapping):
        raise UserError(f"{path} holds a {type(value).__name__}, not a model's weights; {INSTEAD}.")
    sets = dict(_sets(value, "", set()))
    if not sets:
        raise UserError(f"{path} holds no tensors; {INSTEAD}.")
    if len(sets) == 1:
        return next(iter(sets.values()))
    return {
        f"{name}{SET}{key}" if name else key: tensor for name, state in sets.items() for key, tensor in state.items()
    }


def _sets(value: Mapping[object, object], name: str, seen: set[int]) -> Iterator[tuple[str, State]]:
    """Every mapping that holds tensors by name, with its place; an optimizer's are none."""
    if id(value) in seen or "param_groups" in value or name.count(SET) >= DEEPEST:
        return
    seen.add(id(value))
    state = {key: tensor for key, tensor in value.items() if isinstance(key, str) and isinstance(tensor, Tensor)}
    if state:
        yield name, state
    for key, inner in value.items():
        if isinstance(key, str) and isinstance(inner, Mapping):
            yield from _sets(inner, f"{name}{SET}{key}" if name else key, seen)


def _check_sizes(state: State, path: Path, size: int) -> None:
    """Tensors may be laid out so that a few bytes pose as many; and some kinds are no plain numbers."""
    for key, value in state.items():
        if value.is_quantized:
            raise UserError(f"{path} holds integer-quantised weights (first {key!r}); save those of the float model.")
        if value.layout is not torch.strided or value.is_meta or value.numel() * value.element_size() > size:
            raise UserError(f"{path} promises more numbers than it holds (first in {key!r}); {INSTEAD}.")


def fitted(state: State, wanted: Collection[str]) -> tuple[State, str | None]:
    """Weights by the names that the model has for them: the one prefix under which most are known is cut off.

    Tensors outside that prefix (a loss's, a second network's) are left out. Of a raw and an averaged set, the averaged
    one is taken, as timm does.

    Returns:
        The weights, and a sentence where several sets would have fitted.
    """
    wanted = set(wanted)
    known: Counter[str] = Counter()
    for key in state:
        starts = [0, *(found.end() for found in re.finditer(r"[./]", key))][: 2 * DEEPEST]
        if not key.endswith(COUNTERS):
            known.update(key[:start] for start in starts if key[start:].replace(SET, ".") in wanted)
    if not known:
        return state, None
    most = max(known.values())
    sets = sorted((prefix for prefix, count in known.items() if count == most), key=len)
    averaged = [prefix for prefix in sets if AVERAGED.search(prefix.lower())]
    taken = (averaged or sets)[0]
    inside = {key[len(taken) :]: value for key, value in state.items() if key.startswith(taken)}
    renamed = {key.replace(SET, "."): value for key, value in inside.items()}
    other_sets = {key.replace(SET, ".") for key in inside if SET in key} - wanted
    note = None
    if len(sets) > 1:
        names = ", ".join(repr(prefix.rstrip("./")) for prefix in sets)
        kind = "averaged one" if averaged else "first"
        note = f"The file holds {len(sets)} sets of weights ({names}); the {kind}, {taken.rstrip('./')!r}, was taken."
    return {key: value for key, value in renamed.items() if key not in other_sets}, note


def load_weights(module: nn.Module, state: State, what: str) -> list[str]:
    """Load a state dict into the architecture it was saved from, in place.

    Returns:
        One sentence for each choice that had to be made.

    Raises:
        UserError: it was saved from another architecture, or holds NaN or infinity.
    """
    own = module.state_dict()
    state, note = fitted(state, own)
    missing = [key for key in own if key not in state and not key.endswith(COUNTERS)]
    # a lazy layer takes the shapes that it is given
    fixed = [key for key in own if key in state and not is_lazy(own[key])]
    other = [key for key in fixed if state[key].shape != own[key].shape]
    extra = [key for key in state if key not in own and not key.endswith(COUNTERS)]
    if missing or other or extra:
        raise UserError(f"{what} was saved from another architecture: {_differences(own, state, missing, other, extra)}"
                        f"; name the model that it belongs to, or {OWN_CODE}.")  # fmt: skip
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{what} holds NaN or infinity (first in {key!r}); train or export the model again.")
    module.load_state_dict(state, strict=False)  # strict but for counters; checked above
    return [note] if note else []


def _differences(
    own: Mapping[str, Tensor], state: State, missing: list[str], other: list[str], extra: list[str]
) -> str:
    found = []
    if missing:
        found.append(f"{len(missing)} of the model's {len(own)} tensors are missing (such as {missing[0]!r})")
    if other:
        got, want = ("x".join(map(str, t[other[0]].shape)) for t in (state, own))
        found.append(f"{len(other)} are of another shape (such as {other[0]!r}: {got} instead of {want})")
    if extra:
        found.append(f"{len(extra)} have no place in it (such as {extra[0]!r})")
    return ", ".join(found)
