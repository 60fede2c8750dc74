"""`satchel segment` and `satchel name` with models that know names: semantic ones, CLIPSeg, CLIP."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from parts import draw, nameless
from safetensors.torch import save_file
from text_models import write_clip, write_clipseg, write_grounding_dino
from torchvision.models import get_model

from core.segments.files import coco, open_segments
from core.segments.saved.store import Store

LRASPP = "lraspp_mobilenet_v3_large"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures, their masks without names, and tiny models."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "pictures").mkdir()
    for seed in range(2):
        draw(seed)[0].image.save(folder / "pictures" / f"{seed}.png")
    coco.write(folder / "unnamed.json", [(f"{seed}.png", nameless(draw(seed)[1])) for seed in range(2)])
    torch.manual_seed(0)
    module = get_model(LRASPP, weights=None, weights_backbone=None, num_classes=2)
    save_file(
        module.state_dict(),
        folder / "semantic.safetensors",
        {"preprocessing": json.dumps({"resize": [32, 32], "crop": None})},
    )
    (folder / "labels.txt").write_text("__background__\nbird\n")
    write_clip(folder / "clip")
    write_clipseg(folder / "clipseg")
    return folder


def assert_told(done, *words: str):
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err


@pytest.mark.slow
def test_semantic(satchel, folder, tmp_path):
    spec = f"{LRASPP}@{folder / 'semantic.safetensors'}"
    words = ("segment", folder / "pictures", "--semantic", spec, "--set", "confidence=0", "--out", tmp_path / "out")
    assert_told(satchel(*words), "2 categories", "--labels")
    done = satchel(*words, "--labels", folder / "labels.txt")
    assert (done.code, done.err) == (0, "")
    assert "satchel report" in done.out
    found = [item for record in map(Store(tmp_path / "out").load, ("0.png", "1.png")) for item in record.segments]
    assert {item.name for item in found} <= {"background", "bird"}
    assert {(item.naming, item.source) for item in found} == {("model", f"semantic:{LRASPP}@semantic.safetensors")}
    assert_told(satchel("segment", folder / "pictures", "--semantic", "unet"), "no semantic model 'unet'")


@pytest.mark.slow
def test_concepts(satchel, folder, tmp_path):
    words = ("segment", folder / "pictures", "--model-of-concepts", folder / "clipseg", "--out", tmp_path / "out")
    setting = ("--set", "threshold=0.1,confidence=0")
    done = satchel(*words, "--concepts", "beak, water mark", "--concepts", "a/<b>", *setting)
    assert (done.code, done.err) == (0, "")
    assert "Cut by clipseg:" in done.out
    assert Store(tmp_path / "out").load("0.png").segments.names == ("beak", "water mark", "a/<b>")
    assert "Everything is done" in satchel(*words, "--concepts", "beak,water mark,a/<b>", *setting).out
    assert "2 pictures cut" in satchel(*words, "--concepts", "beak", *setting).out
    for form, place in (("coco", "out.json"), ("folders", "folders")):
        assert satchel("export", tmp_path / "out", "--format", form, "--out", tmp_path / place).code == 0
        sources = {item.source for found in open_segments(tmp_path / place).values() for item in found}
        assert sources == {"concepts:clipseg"}


@pytest.mark.slow
def test_concepts_cut_out_by_a_sam(satchel, folder, tmp_path):
    dino = write_grounding_dino(tmp_path / "dino")
    words = ("segment", folder / "pictures", "--concepts", "beak", "--model-of-concepts", dino, "--sam", "vit_z")
    assert_told(satchel(*words, "--out", tmp_path / "out"), "There is no SAM 'vit_z'")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--concepts", "beak,,sky"), "is empty"),
        (("--concepts", ""), "is empty"),
        (("--concepts", "beak,beak"), "given twice"),
        (("--concepts", "b" * 10_000), "10000 characters"),
        (("--concepts", "beak", "--set", "points=3"), "no parameter 'points'"),
        (("--concepts", "beak", "--superpixels"), "together"),
        (("--concepts", "beak", "--sam", "vit_b"), "CLIPSeg cuts by itself"),
    ],
    ids=["empty between", "empty", "twice", "long", "parameter", "two ways", "needless SAM"],
)
def test_concepts_that_do_not_fit(satchel, folder, tmp_path, words, told):
    rest = ("--model-of-concepts", folder / "clipseg", "--out", tmp_path / "out")
    assert_told(satchel("segment", folder / "pictures", *words, *rest), told)
    assert not (tmp_path / "out" / "pictures").exists()


def test_models_that_are_not_there(satchel, folder, tmp_path, monkeypatch):
    words = ("segment", folder / "pictures", "--concepts", "beak", "--out", tmp_path / "out")
    assert_told(satchel(*words, "--model-of-concepts", tmp_path / "none"), "no folder")
    assert_told(satchel(*words, "--model-of-concepts", folder / "clip"), "'clip'")
    name = ("name", folder / "pictures", "--segments", folder / "unnamed.json", "--out", tmp_path / "out")
    assert_told(satchel(*name, "--vocabulary", "a", "--clip", folder / "clipseg"), "'clipseg'")
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert_told(satchel(*words), "pip install 'satchel[text]'")
    assert_told(satchel(*name, "--vocabulary", "a"), "pip install 'satchel[text]'")


@pytest.mark.slow
def test_vocabulary(satchel, folder, tmp_path):
    words = ("name", folder / "pictures", "--segments", folder / "unnamed.json", "--out", tmp_path / "out")
    clip = ("--clip", folder / "clip")
    done = satchel(*words, "--vocabulary", "disc,bar", *clip)
    assert (done.code, done.err) == (0, "")
    assert "6 masks in 2 pictures: 0 with a certain name" in done.out
    assert "6 masks await review." in done.out
    assert {item.name for item in Store(tmp_path / "out").load("0.png").segments} <= {"disc", "bar", ""}
    assert "Everything is done already." in satchel(*words, "--vocabulary", "bar,disc", *clip).out
    assert_told(satchel(*words, "--vocabulary", "disc,", *clip), "is empty")
    assert_told(satchel(*words, *clip), "needs --vocabulary")
    assert_told(satchel(*words, "--vocabulary", "a", *clip, "--examples", folder / "unnamed.json"), "leave --examples")
