"""Weights files as training scripts leave them: the same logits, or a sentence; damaged ones, and bombs."""

from __future__ import annotations

import argparse
import io
import json
import struct
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from core.classifier import Classifier
from core.loading import load_classifier
from core.loading.checkpoints import read_checkpoint

from .damage import EDGES, damaged
from .harness import Case, Family

CLASSES = 3
PREFIXES = ("", "module.", "_orig_mod.", "model.", "module.model.", "net.", "backbone.", "encoder.", "my_model.net.")
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "weights",
    "model_state",
    "params",
    "my_weights",
)
#: What may stand in a file's metadata.
LABELS: tuple[Any, ...] = (["a", "b", "c"], ["a"], "x", {"0": "a"}, [1, 2, 3], [[], {}, None])
PREPROCESSINGS: tuple[Any, ...] = (
    {}, {"resize": 8, "crop": [8, 8]}, {"resize": -1}, {"mean": [0]}, {"std": [0, 0, 0]}, {"crop": [0, 0]},
    {"crop": "x"}, {"resize": 1e9}, {"x": 1}, {"fit": 3}, {"mean": ["a", "b", "c"]}, {"interpolation": []},
    {"resize": [8]}, [],
)  # fmt: skip


def tiny() -> nn.Module:
    """The architecture of all of them, its weights the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            OrderedDict(
                first=nn.Conv2d(3, 4, 3, stride=4), norm=nn.BatchNorm2d(4), act=nn.ReLU(), pool=nn.AdaptiveAvgPool2d(1),
                flat=nn.Flatten(), head=nn.Linear(4, CLASSES),
            )
        ).eval()  # fmt: skip


SPEC = f"python:{__name__}:tiny"


def _weights(case: Case) -> dict[str, Tensor]:
    state = {key: value.clone() for key, value in tiny().state_dict().items()}
    for value in state.values():
        if value.is_floating_point():
            value += torch.from_numpy(case.rng.normal(0, 0.3, tuple(value.shape))).float().abs()
    return state


def _picture(case: Case) -> Tensor:
    return torch.from_numpy(case.rng.random((1, 3, 224, 224), dtype=np.float32))


def _logits(module: nn.Module, classifier: Classifier, picture: Tensor) -> Tensor:
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (classifier.preprocessing.mean, classifier.preprocessing.std)
    )
    with torch.no_grad():
        return module((picture - mean) / std)


def _loaded(case: Case, path: Path, states: list[dict[str, Tensor]], precise: bool = True) -> Classifier:
    """The classifier; its logits must be those of one of these weights."""
    classifier = load_classifier(f"{SPEC}@{path}", allow_python=True, device="cpu", precision="float32")
    picture = _picture(case)
    with torch.no_grad():
        got = classifier.logits(picture)
    for state in states:
        module = tiny()
        module.load_state_dict(state, strict=False)
        if torch.allclose(got, _logits(module, classifier, picture), atol=1e-4 if precise else 2e-2, rtol=1e-3):
            return classifier
    case.expect(False, "loaded, but the logits are not those of the weights")
    return classifier


def attempt(case: Case) -> None:
    how = case.pick(("wrapped",) * 4 + ("beside", "beside", "foreign", "damaged", "damaged", "damaged", "code"))
    how = "bomb" if case.chance(0.02) else how
    {"wrapped": _wrapped, "beside": _beside, "foreign": _foreign, "damaged": _damaged, "code": _code, "bomb": _bomb}[
        how
    ](case)


def _stored(case: Case, value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=case.chance(0.8))


def _wrapped(case: Case) -> None:
    state = _weights(case)
    kept = dict(state)
    notes = []
    if case.chance(0.3):
        kept = {key: value for key, value in kept.items() if "num_batches" not in key}
    dtype = case.pick((torch.float32, torch.float32, torch.float32, torch.float16, torch.float64))
    if dtype != torch.float32:
        kept = {key: value.to(dtype) if value.is_floating_point() else value for key, value in kept.items()}
        notes.append(str(dtype).removeprefix("torch."))
    prefix = case.pick(PREFIXES)
    kept = {prefix + key: value for key, value in kept.items()}
    if case.chance(0.2):
        kept |= {f"{prefix}total_ops": torch.zeros(1), f"{prefix}first.total_params": torch.zeros(1)}
        notes.append("total_ops counters")
    if case.chance(0.25):
        case.kind = " ".join(("safetensors, prefix", repr(prefix), *notes))
        path = case.folder / case.pick(("x.safetensors", "x.bin"))
        path.write_bytes(save_tensors({key: value.contiguous() for key, value in kept.items()}))
    else:
        value: Any = OrderedDict(kept) if case.chance(0.5) else kept
        wrapper = case.pick(("", *WRAPPERS))
        if wrapper:
            value = {wrapper: value, "epoch": 3, "loss": 0.1, "name": "resnet", "history": [1, 2], "none": None}
        if wrapper and case.chance(0.25):
            value["args"] = argparse.Namespace(lr=0.1, data="x")
            notes.append("a Namespace beside")
        if wrapper and case.chance(0.15):
            value = {case.pick(("checkpoint", "model")): value}
            notes.append("wrapped twice")
        case.kind = " ".join(("wrapper", repr(wrapper), "prefix", repr(prefix), *notes))
        path = case.folder / case.pick(("x.pth", "x.pt", "x.ckpt", "é x.bin", "x"))
        _stored(case, value, path)
    case.sound(lambda: _loaded(case, path, [state], dtype == torch.float32))


def _beside(case: Case) -> None:
    """Averaged weights beside the raw ones: either, and it is said which; an optimiser's tensors are none of them."""
    raw, averaged = _weights(case), _weights(case)
    names = case.pick(
        (("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model", "ema"), ("params", "params_ema"))
    )
    value = {names[0]: raw, names[1]: averaged}
    if case.chance(0.3):
        value["optimizer"] = {"state": {0: {"exp_avg": torch.zeros(4, 3, 3, 3)}}, "param_groups": [{"lr": 0.1}]}
    if case.chance(0.3):
        value = dict(reversed(value.items()))
    case.kind = f"{' and '.join(names)}"
    path = case.folder / "x.pth"
    _stored(case, value, path)
    classifier = case.sound(lambda: _loaded(case, path, [raw, averaged]))
    case.expect(getattr(classifier, "notes", ()), "which of two sets of weights was taken is not said")


def _foreign(case: Case) -> None:
    """Weights that do not fit must not be loaded."""
    state = _weights(case)
    how = case.pick(("missing", "extra", "shape", "nan", "empty", "list", "tensor", "number", "renamed"))
    case.kind = f"weights that do not fit: {how}"
    value: Any = state
    if how == "missing":
        del state[case.pick(("first.weight", "head.bias", "norm.running_var"))]
    elif how == "extra":
        state["second.weight"] = torch.zeros(4, 4, 3, 3)
    elif how == "shape":
        state["head.weight"] = torch.zeros(CLASSES + 2, 4)
        state["head.bias"] = torch.zeros(CLASSES + 2)
    elif how == "nan":
        state["head.weight"][0, 0] = case.pick((float("nan"), float("inf")))
    elif how == "renamed":
        value = {f"{'abc'[place % 3]}.{key}": tensor for place, (key, tensor) in enumerate(state.items())}
    else:
        value = {"empty": {}, "list": [state], "tensor": torch.zeros(3), "number": 3}[how]
    path = case.folder / "x.pth"
    _stored(case, value, path)
    load_classifier(f"{SPEC}@{path}", allow_python=True, device="cpu")
    case.expect(how == "list", "weights that do not fit were loaded")


def _damaged(case: Case) -> None:
    state = _weights(case)
    if case.chance(0.4):
        metadata = {
            "labels": json.dumps(case.pick(LABELS)),
            "preprocessing": json.dumps(case.pick(PREPROCESSINGS)),
            "output": case.pick(("softmax", "sigmoid", "x", "")),
        }
        kept = {key: metadata[key] for key in metadata if case.chance(0.5)}
        data, path = save_tensors(state, metadata=kept), case.folder / "x.safetensors"
        case.kind = f"safetensors with odd metadata ({', '.join(kept)})"
    else:
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=case.chance(0.7))
        data, path = buffer.getvalue(), case.folder / "x.pth"
        case.kind = "damaged .pth"
    if path.suffix == ".pth" or case.chance(0.6):
        case.kind = f"damaged {path.suffix}"
        data = damaged(case, data)
        if path.suffix == ".safetensors" and case.chance(0.3):
            data = struct.pack("<Q", case.pick((*EDGES, 2**63, 10**11))) + data[8:]
    path.write_bytes(data)
    load_classifier(f"{SPEC}@{path}", allow_python=True, device="cpu")


class Dangerous:
    """What a pickle may do."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit",)


def _code(case: Case) -> None:
    path = case.folder / "x.pth"
    how = case.pick(("module", "program", "reducer"))
    case.kind = f"code: {how}"
    if how == "program":
        torch.jit.save(torch.jit.script(tiny()), path)
    else:
        _stored(case, tiny() if how == "module" else {"state_dict": _weights(case), "x": Dangerous()}, path)
    read_checkpoint(path)
    case.expect(False, "code was read")


def _bomb(case: Case) -> None:
    case.kind = "a zip bomb"
    path = case.folder / "x.pth"
    path.write_bytes(bomb(case.pick(("data.pkl", "data/0"))))
    case.begin()
    read_checkpoint(path)


@cache
def bomb(victim: str) -> bytes:
    """A weights file of 1 MB, one entry of which unpacks to 300 MB."""
    sound, out = io.BytesIO(), io.BytesIO()
    torch.save({"w": torch.zeros(4)}, sound)
    with zipfile.ZipFile(sound) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name in source.namelist():
            with packed.open(name, "w") as entry:
                for piece in [bytes(1 << 20)] * 300 if name.endswith(victim) else [source.read(name)]:
                    entry.write(piece)
    return out.getvalue()


FAMILY = Family("checkpoints", 0.012, attempt)
