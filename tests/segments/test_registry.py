"""The contract of everything that cuts pictures by itself, over the whole list."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from segment_anything import SamAutomaticMaskGenerator
from torchvision.models import get_model

from core.errors import UserError
from core.images import Picture
from core.segments import registry
from core.segments.registry import Segmenter, get_segmenter, segmenters
from core.segments.sam import checkpoints
from core.segments.sam.compact import Shape, build, save
from core.segments.sam.embeddings import EmbeddingCache
from core.segments.sam.model import CompactParameters
from core.segments.segmenters.unnamed import Superpixels
from core.segments.segments import MIN_AREA
from core.segments.unsure import NOTE, REGIONS

TINY = Shape(64, (8, 8, 16, 16), (1, 1, 1, 1), (8, 8, 8, 8), embedding=32, decoder_hidden=32)
CONCEPTS = ("beak", "a/<b>", "the sky \N{BIRD}")
QUICK = {
    "sam": {"points": 3, "quality": 0.0, "stability": 0.0},
    "regions": {"count": 6},
    "superpixels": {"count": 6},
    "semantic": {"confidence": 0.0},
    "clipseg": {"threshold": 0.3, "confidence": 0.0},
    "grounding-dino": {"confidence": 0.0, "most": 3},
    "sam3": {"threshold": 0.0, "confidence": 0.0},
}
LRASPP = "lraspp_mobilenet_v3_large"


def noise(height: int, width: int) -> Picture:
    values = np.random.default_rng(height * width).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return Picture(Image.fromarray(values), f"{width} x {height}")


PICTURES = {
    "ordinary": noise(40, 50),
    "one pixel": noise(1, 1),
    "three to one": noise(30, 90),
    "flat": Picture(Image.new("RGB", (48, 32), (90, 120, 30)), "flat"),
}


@pytest.fixture(scope="module")
def semantic_file(tmp_path_factory) -> Path:
    """Untrained weights of a semantic model with three categories, for frames of 32 x 32."""
    torch.manual_seed(0)
    module = get_model(LRASPP, weights=None, weights_backbone=None, num_classes=3)
    about = {"labels": ["__background__", "bird", "sky"], "preprocessing": {"resize": [32, 32], "crop": None}}
    path = tmp_path_factory.mktemp("semantic") / "tiny.safetensors"
    save_file(module.state_dict(), path, {key: json.dumps(value) for key, value in about.items()})
    return path


@pytest.fixture(params=list(segmenters()))
def segmenter(request, tmp_path, monkeypatch, semantic_file, reader_folder) -> Segmenter:
    save(build(TINY), TINY, tmp_path / "compact_sam.safetensors", {})
    monkeypatch.setattr(checkpoints, "assets_dir", lambda: tmp_path)
    text = request.param
    if text == "semantic":
        text = f"semantic:{LRASPP}@{semantic_file}"
    elif segmenters()[text].family == "concepts":
        text = f"{text}:{reader_folder(text)}"
    return get_segmenter(text, device="cpu", cache=EmbeddingCache(tmp_path / "cache"), concepts=CONCEPTS)


def quick(segmenter: Segmenter):
    return segmenter.parameters(**QUICK[segmenter.name])


@pytest.mark.slow
@pytest.mark.parametrize("kind", PICTURES)
def test_segments_lie_over_their_picture(segmenter, kind):
    assert segmenter.supports() is None
    shown = PICTURES[kind]
    found = segmenter.segment(shown, quick(segmenter))
    assert found.size == shown.size
    assert found.masks.shape == (len(found), *shown.size)
    assert found.masks.dtype == bool
    assert all(item.mask.area >= MIN_AREA for item in found)
    assert all(item.score is None or 0 <= item.score <= 1 for item in found)
    if NOTE in found.notes:  # the compact SAM gave way, and says so
        assert {item.source for item in found} <= {REGIONS}
    else:
        assert all(item.source.partition(":")[0] in (segmenter.name, segmenter.family) for item in found)
        assert all(item.source == segmenter.source for item in found)
    if segmenter.family == "unnamed":
        assert all(item.name == "" and item.naming == "" for item in found)
    else:
        assert all(item.name and item.naming == "model" for item in found)
    if segmenter.family == "concepts":
        assert set(found.names) <= set(CONCEPTS)
    if kind == "ordinary":
        assert len(found)


@pytest.mark.slow
def test_the_same_again_gives_the_same(segmenter):
    first, again = (segmenter.segment(PICTURES["ordinary"], quick(segmenter)) for _ in range(2))
    assert first == again


@pytest.mark.slow
def test_its_controls_are_complete(segmenter):
    assert segmenter.title
    assert segmenter.summary
    for spec in segmenter.parameters.specs():
        assert spec.help
        if spec.kind == "bool":
            continue
        assert None not in (spec.low, spec.high, spec.step)
        assert spec.low <= spec.default <= spec.high
        with pytest.raises(UserError, match=spec.name):
            segmenter.parameters(**{spec.name: spec.high + 1})


@pytest.mark.slow
def test_it_is_on_the_list_with_all_that_is_shown(segmenter):
    listed = segmenters()[segmenter.name]
    assert (listed.title, listed.summary, listed.family) == (segmenter.title, segmenter.summary, segmenter.family)
    assert segmenter.family in registry.FAMILIES
    assert bool(segmenter.specs) == (segmenter.load() is not None)


def test_its_signature_says_all_that_it_depends_on(segmenter):
    """It is one line, known before a model is loaded, and changes with the parameters."""
    assert segmenter.signature(quick(segmenter)).startswith(segmenter.name)
    assert "\n" not in segmenter.signature(quick(segmenter))
    others = {segmenter.signature(segmenter.parameters(**{spec.name: spec.high})) for spec in
              segmenter.parameters.specs() if spec.kind != "bool"}  # fmt: skip
    assert len(others) == sum(spec.kind != "bool" for spec in segmenter.parameters.specs())


def test_memory_that_runs_out_is_told(segmenter, monkeypatch):
    def cut(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(segmenter, "cut", cut)
    with pytest.raises(UserError, match="Memory ran out"):
        segmenter.segment(PICTURES["flat"])


def test_the_parameters_of_another_are_refused(segmenter):
    other = next(cls for name, cls in segmenters().items() if name != segmenter.name)
    with pytest.raises(UserError, match=f"{segmenter.name} takes"):
        segmenter.segment(PICTURES["flat"], other.parameters())


def test_unknown_names_get_a_hint_and_names_are_taken_once():
    with pytest.raises(UserError, match="did you mean 'superpixels'"):
        get_segmenter("superpixel")
    with pytest.raises(ValueError, match="two segmenters"):
        registry.register(Superpixels)


def test_a_sam_that_is_not_there_says_so_before_and_when_it_is_used(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "assets_dir", lambda: tmp_path)
    one = get_segmenter("sam")
    assert "missing" in one.supports()
    with pytest.raises(UserError, match="missing"):
        one.segment(PICTURES["flat"])
    with pytest.raises(UserError, match="There is no SAM 'vit_z'"):
        get_segmenter("sam:vit_z").segment(PICTURES["flat"])


def test_each_sam_starts_from_the_parameters_that_fit_it() -> None:
    package = inspect.signature(SamAutomaticMaskGenerator).parameters
    usual = get_segmenter("sam:vit_b").parameters().to_dict()
    for ours, theirs in {
        "points": "points_per_side",
        "quality": "pred_iou_thresh",
        "stability": "stability_score_thresh",
    }.items():
        assert usual[ours] == package[theirs].default
    compact = get_segmenter("sam").parameters()
    assert compact == CompactParameters()
    assert compact.to_dict() != usual
    assert get_segmenter("sam:compact@mine.safetensors").parameters is CompactParameters
