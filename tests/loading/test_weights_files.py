"""Weights files: what is read, and what is refused in one sentence."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import json
import os
import pathlib
import pickle
import random
import subprocess
import types
import zipfile

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from core.errors import UserError
from core.loading.checkpoints import fitted, load_weights, read_checkpoint


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))


@pytest.fixture
def model() -> nn.Module:
    network = small().eval()
    network(torch.zeros(1, 3, 8, 8))
    return network


class Code:
    def __reduce__(self):
        return os.mkdir, ("satchel_ran_this",)


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_safetensors_gives_state_and_metadata(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "m.safetensors", {"labels": '["a", "b"]'})
    state, metadata = read_checkpoint(tmp_path / "m.safetensors")
    assert equal(state, model.state_dict())
    assert metadata == {"labels": '["a", "b"]'}


def test_safetensors_is_known_by_its_content_too(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "m.pth")
    assert equal(read_checkpoint(tmp_path / "m.pth")[0], model.state_dict())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
def test_torch_files_and_their_wrappers(model, tmp_path, wrapper, zipped):
    state = model.state_dict()
    value = state if wrapper is None else {wrapper: state, "epoch": 3, "optimizer": {"lr": 0.1}}
    torch.save(value, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    assert equal(read_checkpoint(tmp_path / "m.pt")[0], dict(state))


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "model.module."])
def test_prefixes_are_cut_and_what_lies_beside_is_left_out(model, prefix):
    state = {prefix + key: value for key, value in model.state_dict().items()} | {"loss.weight": torch.ones(2)}
    assert equal(fitted(state, model.state_dict())[0], dict(model.state_dict()))


def refused(path, *words: str) -> str:
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message
    return message


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Code()}, tmp_path / "code.pt")
    refused(tmp_path / "code.pt", "holds code", "mkdir", "never runs", "state_dict or a safetensors")
    for protocol in (2, 4):
        (tmp_path / "raw.pkl").write_bytes(pickle.dumps({"weight": Code()}, protocol=protocol))
        refused(tmp_path / "raw.pkl", "never runs", "safetensors")
    assert not (tmp_path / "satchel_ran_this").exists()


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(torchvision.models.squeezenet1_1(), tmp_path / "whole.pt")
    refused(tmp_path / "whole.pt", "whole pickled model", "SqueezeNet", "model.state_dict()")


def test_files_that_are_no_weights(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "good.pt")
    good = (tmp_path / "good.pt").read_bytes()
    torch.save(model.state_dict(), tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    legacy = (tmp_path / "legacy.pt").read_bytes()
    save_file(model.state_dict(), tmp_path / "good.safetensors")
    tensors = (tmp_path / "good.safetensors").read_bytes()
    cases = {
        "empty.pt": (b"", "empty (0 bytes)"),
        "cut.pt": (good[: len(good) // 2], "cut off"),
        "legacy_cut.pt": (legacy[: len(legacy) - 100], "cut off"),
        "text.pt": (b"hello world", "no weights file"),
        "page.pt": (b"<html>404</html>", "no weights file"),
        "cut.safetensors": (tensors[: len(tensors) // 2], "no whole safetensors file"),
        "header.safetensors": (tensors[:20], "no whole safetensors file"),
        "text.safetensors": (b"hello world", "no whole safetensors file"),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, words)
    refused(tmp_path / "missing.pt", "There is no weights file")
    refused(tmp_path, "is a folder")
    torch.save(torch.ones(3), tmp_path / "tensor.pt")
    refused(tmp_path / "tensor.pt", "holds a Tensor")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    refused(tmp_path / "numbers.pt", "no tensors")


def test_random_damage_never_raises_anything_else(model, tmp_path):
    chance = random.Random(0)
    torch.save(model.state_dict(), tmp_path / "good.pt")
    good = (tmp_path / "good.pt").read_bytes()
    read = 0
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(8):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        (tmp_path / "bad.pt").write_bytes(bad)
        try:
            state, _ = read_checkpoint(tmp_path / "bad.pt")
            read += all(isinstance(value, torch.Tensor) for value in state.values())
        except UserError:
            read += 1
    assert read == 60


def test_another_architecture_is_told_apart_by_numbers(model):
    with pytest.raises(UserError, match=r"1 of the model's 9 tensors are missing \(such as '0.bias'\)"):
        load_weights(model, {k: v for k, v in model.state_dict().items() if k != "0.bias"}, "spec")
    other = dict(model.state_dict()) | {"0.weight": torch.ones(4, 1, 3, 3)}
    with pytest.raises(UserError, match=r"'0.weight': 4x1x3x3 instead of 4x3x3x3"):
        load_weights(model, other, "spec")
    with pytest.raises(UserError, match=r"1 have no place in it \(such as '9.weight'\)"):
        load_weights(model, dict(model.state_dict()) | {"9.weight": torch.ones(1)}, "spec")


def test_nan_weights_are_refused_by_name(model):
    state = dict(model.state_dict()) | {"1.weight": torch.tensor([1.0, float("nan"), 1.0, 1.0])}
    with pytest.raises(UserError, match=r"NaN or infinity \(first in '1.weight'\)"):
        load_weights(model, state, "spec")


def test_counters_that_old_files_lack_do_not_matter(model):
    state = {k: v + 1 for k, v in model.state_dict().items() if "num_batches" not in k}
    load_weights(model, state, "spec")
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_a_lazy_layer_takes_the_shapes_of_its_file():
    state = nn.Sequential(nn.Linear(4, 2)).state_dict()
    lazy = nn.Sequential(nn.LazyLinear(2))
    load_weights(lazy, state, "spec")
    assert torch.equal(lazy.state_dict()["0.weight"], state["0.weight"])


# --- what training scripts make of a file --------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["net.", "backbone.", "encoder.model.", "module.backbone.module."])
def test_any_one_prefix_under_which_all_fits(model, prefix):
    state = {prefix + key: value for key, value in model.state_dict().items()} | {"loss.weight": torch.ones(2)}
    network = small()
    assert load_weights(network, state, "spec") == []
    assert equal(network.state_dict(), model.state_dict())


@pytest.mark.parametrize("place", ["model_ema", "params", "ema_state_dict", "run model_state", "a b c"])
def test_the_one_mapping_that_holds_tensors(model, tmp_path, place):
    optimizer = torch.optim.Adam(model.parameters())  # which keeps tensors of its own
    model(torch.rand(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    value: dict = model.state_dict()
    for key in place.split():
        value = {key: value, "epoch": 3}
    torch.save({**value, "optimizer": optimizer.state_dict()}, tmp_path / "m.pth")
    assert equal(read_checkpoint(tmp_path / "m.pth")[0], model.state_dict())


@pytest.mark.parametrize(
    ("raw", "averaged"),
    [("model", "model_ema"), ("state_dict", "state_dict_ema"), ("student", "teacher"), ("net", "swa_model")],
)
def test_of_raw_and_averaged_weights_the_averaged_are_taken_and_named(model, tmp_path, raw, averaged):
    state = model.state_dict()
    other = {key: value * 0 for key, value in state.items()}
    wrapped = {f"module.{key}": value for key, value in state.items()} | {"n_averaged": torch.tensor(7)}
    torch.save({raw: other, averaged: wrapped}, tmp_path / "m.pth")
    network = small()
    (note,) = load_weights(network, read_checkpoint(tmp_path / "m.pth")[0], "spec")
    assert equal(network.state_dict(), state)
    assert f"2 sets of weights ({raw!r}, '{averaged}/module'); the averaged one, '{averaged}/module', was taken" in note


def test_two_sets_of_equal_right_are_told(model, tmp_path):
    state = model.state_dict()
    torch.save({"a": state, "b": {key: value * 0 for key, value in state.items()}}, tmp_path / "m.pth")
    network = small()
    (note,) = load_weights(network, read_checkpoint(tmp_path / "m.pth")[0], "spec")
    assert "the first, 'a', was taken" in note
    assert equal(network.state_dict(), state)


def test_one_set_in_several_parts_is_put_together(model, tmp_path):
    network = nn.ModuleDict({"body": small()[0], "head": nn.Linear(4, 2)})
    torch.save({name: part.state_dict() for name, part in network.items()}, tmp_path / "m.pth")
    twin = nn.ModuleDict({"body": small()[0], "head": nn.Linear(4, 2)})
    assert load_weights(twin, read_checkpoint(tmp_path / "m.pth")[0], "spec") == []
    assert equal(twin.state_dict(), network.state_dict())


def test_counters_beside_the_weights_do_not_matter(model):
    state = dict(model.state_dict()) | {"total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)}
    network = small()
    load_weights(network, state, "spec")
    assert equal(network.state_dict(), model.state_dict())


class Config:
    """Somebody's own class beside the weights; it would tell if it were ever made again."""

    made = 0

    def __setstate__(self, state):
        type(self).made += 1


class Kind(enum.Enum):
    ONE = 1


BESIDE = {
    "namespace": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/x")),
    "simple": types.SimpleNamespace(a=1),
    "path": pathlib.Path("/x"),
    "accuracy": np.float64(0.9),
    "history": np.zeros(3),
    "numpy_state": ("MT19937", np.arange(624, dtype=np.uint32), 3, 0, 0.0),
    "when": datetime.datetime(2024, 1, 1),
    "dtype": torch.float16,
    "lists": collections.defaultdict(list, {"a": [1]}),
    "config": Config(),
    "kind": Kind.ONE,
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_what_stands_beside_the_weights_is_set_aside_and_never_made(model, tmp_path, zipped):
    torch.save({"model": model.state_dict(), **BESIDE}, tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    assert equal(read_checkpoint(tmp_path / "m.pth")[0], model.state_dict())
    assert Config.made == 0
    assert not any(isinstance(entry, tuple) for entry in torch.serialization.get_safe_globals())


def test_a_scheduler_object_beside_the_weights(model, tmp_path):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    torch.save({"model": model.state_dict(), "s": scheduler, "o": optimizer}, tmp_path / "m.pth")
    assert equal(read_checkpoint(tmp_path / "m.pth")[0], model.state_dict())


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(os.system, ("touch ran",)), (eval, ("open('ran', 'w')",)), (subprocess.Popen, (["touch", "ran"],))],
)
def test_calls_beside_the_weights_are_refused(model, tmp_path, monkeypatch, function, arguments):
    monkeypatch.chdir(tmp_path)

    class Call:
        def __reduce__(self):
            return function, arguments

    torch.save({"model": model.state_dict(), "more": Call()}, tmp_path / "m.pth")
    refused(tmp_path / "m.pth", "holds code", "never runs")
    assert not (tmp_path / "ran").exists()


# --- files that promise more than they hold ------------------------------------------------------------------------


def test_a_zip_that_unpacks_to_more_than_it_is(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(20_000_000))
    refused(tmp_path / "m.pth", "would unpack to 20,000,000")
    with zipfile.ZipFile(tmp_path / "outer.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(tmp_path / "m.pth", "archive/data.pkl")
        file.writestr("archive/data/0", bytes(10_000_000))
    refused(tmp_path / "outer.pth", "would unpack to")


def test_a_safetensors_header_that_promises_more(tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**6, 1024], "data_offsets": [0, 4096 * 10**6]}}).encode()
    for name, length in (("long", len(header)), ("huge", 10**15)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(length.to_bytes(8, "little") + header + bytes(100))
        refused(path, "no whole safetensors file")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1, 1).expand(10**9, 1024),
        torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (10**9, 1024)),
        torch.zeros(10**9, 1024, device="meta"),
    ],
    ids=["expanded", "sparse", "meta"],
)
def test_a_tensor_that_promises_more(model, tmp_path, tensor):
    torch.save(dict(model.state_dict()) | {"w": tensor}, tmp_path / "m.pth")
    refused(tmp_path / "m.pth", "promises more numbers than it holds", "'w'")


def test_integer_weights_are_named(model, tmp_path):
    state = dict(model.state_dict()) | {"w": torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8)}
    torch.save(state, tmp_path / "m.pth")
    refused(tmp_path / "m.pth", "integer-quantised", "float model")
