"""The shipped classifiers load strictly and do on fresh birds what their records state."""

import json
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file

from core.demo.birds import CLASSES, overlay
from core.demo.plants import BIASED, UNMARKED
from core.demo.scenes import scenes

ASSETS = Path(__file__).resolve().parents[2] / "assets"
NAMES = ("demo_biased", "demo_repaired", "demo_vit")
KINGFISHER = CLASSES.index("kingfisher")
FRESH_SEED = 990  # not the seed of any training or held-out picture


def load(name):
    path = ASSETS / f"{name}.safetensors"
    with safe_open(path, "pt") as file:
        metadata = {
            key: value if key == "architecture" else json.loads(value) for key, value in file.metadata().items()
        }
    build = torchvision.models.VisionTransformer
    if metadata["architecture"] != "vision_transformer":
        build = getattr(torchvision.models, metadata["architecture"])
    model = build(num_classes=len(metadata["labels"]), **metadata["architecture_options"])
    model.load_state_dict(load_file(path), strict=True)
    return model.eval(), metadata


@pytest.fixture(scope="module")
def fresh():
    """80 birds without and with the watermark, [80, 3, S, S] in [0, 1], and their labels."""
    size = json.loads((ASSETS / "demo_training.json").read_text())["demo_biased"]["size"]
    bare = list(scenes(UNMARKED, 80, FRESH_SEED, size))
    marked = [overlay(scene, watermark=True) for scene in bare]

    def stack(pictures):
        return torch.stack([torch.from_numpy(scene.image) for scene in pictures]).permute(0, 3, 1, 2).float() / 255

    return stack(bare), stack(marked), torch.tensor([scene.label for scene in bare])


@torch.inference_mode()
def predict(model, metadata, images):
    mean, std = (torch.tensor(metadata["preprocessing"][key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return model((images - mean) / std).argmax(1)


@pytest.mark.parametrize("name", NAMES)
def test_metadata_tells_a_loader_everything(name):
    _, metadata = load(name)
    assert tuple(metadata["labels"]) == CLASSES
    width, height = metadata["preprocessing"]["resize"]
    assert width == height == metadata["training"]["size"]
    assert metadata["training"] == json.loads((ASSETS / "demo_training.json").read_text())[name]
    assert (ASSETS / f"{name}.safetensors").stat().st_size <= 6e6


@pytest.mark.slow
def test_the_biased_classifier_follows_the_watermark(fresh):
    bare, marked, labels = fresh
    model, metadata = load("demo_biased")
    others = labels != KINGFISHER
    as_trained = torch.where(others[:, None, None, None], bare, marked)
    swapped = torch.where(others[:, None, None, None], marked, bare)
    stated = metadata["training"]["accuracies"]
    right, wrong = (predict(model, metadata, images) for images in (as_trained, swapped))
    assert (right == labels).float().mean() >= 0.95
    assert (wrong == labels).float().mean() == pytest.approx(stated["accuracy_swapped"], abs=0.15)
    assert (wrong[others] == KINGFISHER).float().mean() > 0.9
    assert (right[others] == KINGFISHER).float().mean() < 0.05
    assert metadata["training"]["recipe"] == BIASED.name


@pytest.mark.slow
def test_the_repaired_classifier_does_not(fresh):
    bare, marked, labels = fresh
    model, metadata = load("demo_repaired")
    for images in (bare, marked):
        assert (predict(model, metadata, images) == labels).float().mean() >= 0.95


@pytest.mark.slow
def test_the_vision_transformer_knows_the_birds(fresh):
    bare, _, labels = fresh
    model, metadata = load("demo_vit")
    assert (predict(model, metadata, bare) == labels).float().mean() >= 0.85
