"""Weights files, distrusted: safetensors, or PyTorch files read with `weights_only=True` and in no other way."""

from __future__ import annotations

import itertools
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from core.errors import UserError
from core.paths import existing_file, kind_at, readable

State = dict[str, Tensor]
INSTEAD = "save a plain state_dict or a safetensors file instead"
# Training scripts put the weights under one of these keys, or before every name one of these prefixes.
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.")
WHOLE_MODELS = ("torch.nn.", "torchvision.", "timm.", "transformers.", "torch.fx.")


def read_checkpoint(path: str | Path) -> tuple[State, dict[str, str]]:
    """Read weights without ever running what the file holds.

    Returns:
        The state dict, on the CPU, taken out of the usual wrappers; and the safetensors metadata (else empty).

    Raises:
        UserError: missing, empty, cut off, holding code, or no weights at all.
    """
    path = Path(path)
    if kind_at(path, "weights file") == "folder":
        raise UserError(f"{path} is a folder, not a weights file; name the file in it (for a saved Hugging Face model "
                        "write hf:DIR).")  # fmt: skip
    existing_file(path, "weights file", "check the path after the @")
    with readable(path, "weights file"), path.open("rb") as file:
        size, head = path.stat().st_size, file.read(16)
    if size == 0:
        raise UserError(f"The weights file {path} is empty (0 bytes); download or save it again.")
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _read_safetensors(path)
    return _unwrapped(_read_torch(path, head), path), {}


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no whole safetensors file ({error}); download or save it again.") from error


def _read_torch(path: Path, head: bytes) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd pickles; the errors below say what matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, head, str(error)) from error
    except RuntimeError as error:
        if "TorchScript" in str(error):
            raise UserError(f"{path} is a TorchScript program, which is code; {INSTEAD}.") from error
        raise UserError(f"{path} is damaged or cut off; download or save it again.") from error
    except (EOFError, OSError) as error:
        raise UserError(f"{path} is damaged or cut off; download or save it again.") from error
    except Exception as error:  # the restricted reader meets arbitrary bytes: KeyError, IndexError, ...
        raise UserError(f"{path} is no weights file; give a .safetensors, .pth or .pt file.") from error


def _refusal(path: Path, head: bytes, message: str) -> UserError:
    found = re.search(r"(?:GLOBAL|class) ([\w.]+)", message)
    if found and found[1].startswith(WHOLE_MODELS):
        return UserError(
            f"{path} holds a whole pickled model ({found[1]}), which is code that Satchel never runs; {INSTEAD} "
            "(torch.save(model.state_dict(), ...))."
        )
    if found:
        return UserError(f"{path} holds code ({found[1]}), which Satchel never runs; {INSTEAD}.")
    if head[:1] == b"\x80":
        return UserError(f"{path} is a pickle that may hold code, which Satchel never runs; {INSTEAD}.")
    return UserError(f"{path} is no weights file; give a .safetensors, .pth or .pt file.")


def _unwrapped(value: object, path: Path) -> State:
    for _ in range(3):
        if not isinstance(value, Mapping):
            raise UserError(f"{path} holds a {type(value).__name__}, not a model's weights; {INSTEAD}.")
        inner = next((value[key] for key in WRAPPERS if isinstance(value.get(key), Mapping)), None)
        if inner is None:
            break
        value = inner
    assert isinstance(value, Mapping)
    state = {str(key): tensor for key, tensor in value.items() if isinstance(tensor, Tensor)}
    if not state:
        raise UserError(f"{path} holds no tensors; {INSTEAD}.")
    return state


def without_prefix(state: State, wanted: set[str]) -> State:
    """Names as the model has them: of the usual prefixes, the one under which most names are known is cut off.

    Tensors outside that prefix (a loss's, a second network's) are left out.
    """
    best, most = state, len(wanted & state.keys())
    for count in (1, 2, 3):
        for parts in itertools.product(PREFIXES, repeat=count):
            prefix = "".join(parts)
            cut = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
            if (known := len(wanted & cut.keys())) > most:
                best, most = cut, known
    return best


def load_weights(module: nn.Module, state: State, what: str) -> None:
    """Load a state dict into the architecture it was saved from, in place.

    Raises:
        UserError: it was saved from another architecture, or holds NaN or infinity.
    """
    own = module.state_dict()
    state = without_prefix(state, set(own))
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    # a lazy layer takes the shapes that it is given
    fixed = [key for key in own if key in state and not is_lazy(own[key])]
    other = [key for key in fixed if state[key].shape != own[key].shape]
    extra = [key for key in state if key not in own]
    if missing or other or extra:
        raise UserError(f"{what} was saved from another architecture: {_differences(own, state, missing, other, extra)}"
                        "; name the model that it belongs to.")  # fmt: skip
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{what} holds NaN or infinity (first in {key!r}); train or export the model again.")
    module.load_state_dict(state, strict=False)  # strict but for counters that old files lack; checked above


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
