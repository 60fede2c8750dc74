"""The contract of everything that cuts pictures by itself, over the whole list."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.images import Picture
from core.segments import checkpoints, registry
from core.segments.compact_sam import Shape, build, save
from core.segments.embeddings import EmbeddingCache
from core.segments.registry import Segmenter, get_segmenter, segmenters
from core.segments.segments import MIN_AREA

TINY = Shape(64, (8, 8, 16, 16), (1, 1, 1, 1), (8, 8, 8, 8), embedding=32, decoder_hidden=32)
QUICK = {"sam": {"points": 3, "quality": 0.0, "stability": 0.0}, "superpixels": {"count": 6}}


def noise(height: int, width: int) -> Picture:
    values = np.random.default_rng(height * width).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return Picture(Image.fromarray(values), f"{width} x {height}")


PICTURES = {
    "ordinary": noise(40, 50),
    "one pixel": noise(1, 1),
    "three to one": noise(30, 90),
    "flat": Picture(Image.new("RGB", (48, 32), (90, 120, 30)), "flat"),
}


@pytest.fixture(params=list(segmenters()))
def segmenter(request, tmp_path, monkeypatch) -> Segmenter:
    save(build(TINY), TINY, tmp_path / "compact_sam.safetensors", {})
    monkeypatch.setattr(checkpoints, "assets_dir", lambda: tmp_path)
    options = {"device": "cpu", "cache": EmbeddingCache(tmp_path / "cache")} if request.param == "sam" else {}
    return get_segmenter(request.param, **options)


def quick(segmenter: Segmenter):
    return segmenter.parameters(**QUICK[segmenter.name])


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
    assert all(item.name == "" and item.naming == "" for item in found)
    assert all(item.source.partition(":")[0] == segmenter.name for item in found)
    if kind == "ordinary":
        assert len(found)


def test_the_same_again_gives_the_same(segmenter):
    first, again = (segmenter.segment(PICTURES["ordinary"], quick(segmenter)) for _ in range(2))
    assert first == again


def test_its_controls_are_complete(segmenter):
    assert segmenter.title
    assert segmenter.summary
    for spec in segmenter.parameters.specs():
        assert spec.help
        assert None not in (spec.low, spec.high, spec.step)
        assert spec.low <= spec.default <= spec.high
        with pytest.raises(UserError, match=spec.name):
            segmenter.parameters(**{spec.name: spec.high + 1})


def test_the_parameters_of_another_are_refused(segmenter):
    other = next(cls for name, cls in segmenters().items() if name != segmenter.name)
    with pytest.raises(UserError, match=f"{segmenter.name} takes"):
        segmenter.segment(PICTURES["flat"], other.parameters())


def test_unknown_names_get_a_hint_and_names_are_taken_once():
    with pytest.raises(UserError, match="did you mean 'superpixels'"):
        get_segmenter("superpixel")
    with pytest.raises(ValueError, match="two segmenters"):
        registry.register(registry.Superpixels)


def test_a_sam_that_is_not_there_says_so_before_and_when_it_is_used(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "assets_dir", lambda: tmp_path)
    one = get_segmenter("sam")
    assert "missing" in one.supports()
    with pytest.raises(UserError, match="missing"):
        one.segment(PICTURES["flat"])
    with pytest.raises(UserError, match="There is no SAM 'vit_z'"):
        get_segmenter("sam:vit_z").segment(PICTURES["flat"])
