"""The fine-tuning script: what it writes loads with nothing else given."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmarks.finetune import finetune, score, split
from core.data import open_dataset
from core.errors import UserError
from core.loading import load_classifier
from core.loading.checkpoints import read_checkpoint
from core.loading.torchvision_models import build


@pytest.fixture
def colours(tmp_path):
    """Twelve red and six blue pictures, and one green one."""
    random = np.random.default_rng(0)
    for label, channel, count in (("red", 0, 12), ("blue", 2, 6), ("green", 1, 1)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(count):
            values = random.integers(0, 90, (20, 24, 3)).astype(np.uint8)
            values[..., channel] = 220
            Image.fromarray(values).save(tmp_path / "data" / label / f"{i}.png")
    torch.manual_seed(0)
    save_file(build("squeezenet1_1").state_dict(), tmp_path / "start.safetensors")
    return tmp_path


@pytest.mark.slow
def test_a_file_that_needs_nothing_else(colours):
    data, start = open_dataset(colours / "data"), f"torchvision:squeezenet1_1@{colours / 'start.safetensors'}"
    torch.manual_seed(5)
    before = torch.get_rng_state()
    result = finetune(data, start, colours / "one.safetensors", epochs=1, size=33, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert (result.trained_on, result.held_out) == (15, 4)
    assert set(result.recall) == {"red", "blue"}
    assert result.balanced_accuracy == pytest.approx(np.mean(list(result.recall.values())))
    classifier = load_classifier(f"torchvision:squeezenet1_1@{colours / 'one.safetensors'}", device="cpu")
    assert classifier.labels == ("blue", "green", "red")
    assert classifier.input_size == (33, 33)
    _, metadata = read_checkpoint(colours / "one.safetensors")
    assert json.loads(metadata["training"])["seed"] == 1
    # the same seed, the same weights; another seed, others
    for seed, same in ((1, True), (2, False)):
        finetune(data, start, colours / "again.safetensors", epochs=1, size=33, seed=seed)
        one, again = load_file(colours / "one.safetensors"), load_file(colours / "again.safetensors")
        assert all(torch.allclose(one[key], again[key], atol=1e-6) for key in one) == same


def test_what_cannot_be_fine_tuned(colours):
    start = f"torchvision:squeezenet1_1@{colours / 'start.safetensors'}"
    for data, model, words in (
        (colours / "data" / "red", start, "a label for every picture"),
        (colours / "data", "timm:resnet18", "Only torchvision"),
    ):
        with pytest.raises(UserError, match=words):
            finetune(open_dataset(data), model, colours / "out.safetensors", epochs=1)


def test_whole_groups_are_held_out():
    targets = np.repeat([0, 1, 2], [20, 8, 1])
    groups = [f"g{i // 2}" for i in range(28)] + ["alone"]
    held_out = split(targets, groups, 0.25, seed=3)
    assert [int(held_out[targets == t].sum()) for t in range(3)] == [4, 2, 0]
    assert not {g for g, h in zip(groups, held_out) if h} & {g for g, h in zip(groups, held_out) if not h}


def test_scores_by_hand():
    recall, accuracy = score(torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 0, 1]), ("a", "b", "c"))
    assert recall == {"a": pytest.approx(2 / 3), "b": 0.0}
    assert accuracy == 0.5
