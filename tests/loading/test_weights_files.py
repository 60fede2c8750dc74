"""Weights files: what is read, and what is refused in one sentence."""

from __future__ import annotations

import os
import pickle
import random

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
