"""Models that a Hugging Face library saved to a folder."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from specs import load, says


@pytest.fixture(scope="module")
def hf_folder(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hf")
    config = transformers.ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        id2label={0: "ant", 1: "bee", 2: "cat"},
        label2id={"ant": 0, "bee": 1, "cat": 2},
    )
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_hugging_face_folder(hf_folder):
    import transformers

    classifier = load(f"hf:{hf_folder}")
    assert classifier.labels == ("ant", "bee", "cat")
    assert classifier.output == "softmax"
    picture = Image.linear_gradient("L").convert("RGB").resize((75, 50))
    processor = transformers.AutoImageProcessor.from_pretrained(hf_folder)
    module = transformers.ViTForImageClassification.from_pretrained(hf_folder).eval()
    expected = module(**processor(picture, return_tensors="pt")).logits
    torch.testing.assert_close(classifier.logits(classifier.prepare(picture).tensor[None]), expected, rtol=0, atol=5e-3)


def test_hugging_face_multi_label_is_sigmoid(hf_folder, tmp_path):
    folder = shutil.copytree(hf_folder, tmp_path / "multi")
    config = json.loads((folder / "config.json").read_text()) | {"problem_type": "multi_label_classification"}
    (folder / "config.json").write_text(json.dumps(config))
    assert load(f"hf:{folder}").output == "sigmoid"
    (folder / "model.safetensors").write_bytes(b"nothing")
    says(f"hf:{folder}", "cannot be loaded")
    (folder / "preprocessor_config.json").unlink()
    says(f"hf:{folder}", "no preprocessor_config.json")
    says(f"hf:{tmp_path / 'none'}", "no folder")
    says(f"hf:{tmp_path}", "no config.json")


def test_hugging_face_labels_from_1(hf_folder, tmp_path):
    folder = shutil.copytree(hf_folder, tmp_path / "from1")
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"1": "ant", "2": "bee", "3": "cat"}, "label2id": {"ant": 1, "bee": 2, "cat": 3}}
    (folder / "config.json").write_text(json.dumps(config))
    made = load(f"hf:{folder}")
    assert made.labels == ("ant", "bee", "cat")
    assert "from 1" in made.notes[0]
    config["id2label"] = {"0": "ant", "2": "bee", "5": "cat"}
    (folder / "config.json").write_text(json.dumps(config))
    says(f"hf:{folder}", "id2label", "without a gap")


def test_hugging_face_weights_without_a_head(hf_folder, tmp_path):
    folder = shutil.copytree(hf_folder, tmp_path / "headless")
    state = {k: v for k, v in load_file(folder / "model.safetensors").items() if "classifier" not in k}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    says(f"hf:{folder}", "lack 2 of the model's tensors", "classifier.bias")


def test_hugging_face_weights_that_are_a_pickle_with_code(hf_folder, tmp_path):
    folder = shutil.copytree(hf_folder, tmp_path / "code")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    assert load(f"hf:{folder}").labels == ("ant", "bee", "cat")
    torch.save({**state, "more": Path}, folder / "pytorch_model.bin")
    says(f"hf:{folder}", "pytorch_model.bin", "holds code", "Satchel never runs")


def test_without_transformers_the_extra_is_named(monkeypatch, hf_folder):
    monkeypatch.setitem(sys.modules, "transformers", None)
    says(f"hf:{hf_folder}", "satchel[text]")
