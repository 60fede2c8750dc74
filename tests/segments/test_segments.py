"""Segments: names, instances, background, and the way into the model's frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.preprocessing import Preprocessing
from core.segments import Mask, Segment, Segments, legal_name, segments_from_label_map
from core.segments import segments as module


def masks(*rows: str) -> np.ndarray:
    """One mask a word of "#" and ".", one line high."""
    return np.array([[[c == "#" for c in row]] for row in rows])


def test_instances_and_titles():
    segments = Segments.from_masks(masks("#...", ".#..", "..#.", "...#"), ("eye", "", "eye", "beak"), ("unset",) * 4)
    assert segments.instances == (0, 0, 1, 0)
    assert segments.titles == ("eye", "region 2", "eye 2", "beak")
    assert not segments.named
    assert segments.only_named().named
    assert segments.only_named().titles == ("eye", "eye 2", "beak")
    assert [segment.naming for segment in segments] == ["file", "", "file", "file"]
    assert segments.with_context(["eye"]).kinds == ("context", "unset", "context", "unset")


def test_dense_masks_are_kept_exactly(size, make_masks):
    dense = np.stack(make_masks(size))
    segments = Segments.from_masks(dense, ["a"] * len(dense), ["object"] * len(dense), "drawn", naming="typed")
    assert np.array_equal(segments.masks, dense)
    assert {segment.source for segment in segments} == {"drawn"}
    with pytest.raises(ValueError, match="1 names"):
        Segments.from_masks(dense, ["a"], ["object"] * len(dense))
    assert Segments(size, ()).masks.shape == (0, *size)


def test_background_is_what_no_named_segment_covers():
    segments = Segments.from_masks(masks("##..", ".#..", "...#"), ("beak", "eye", ""), ("object", "object", "unset"))
    background = segments.with_background().items[-1]
    assert (background.name, background.kind, background.source) == ("background", "context", "background")
    assert background.mask.decode().tolist() == [[False, False, True, True]]
    assert len(Segments.from_masks(masks("####"), ("beak",), ("object",)).with_background()) == 1
    assert Segments((2, 3), ()).with_background("rest").items[0].mask.area == 6
    assert Segments((2, 3), ()).with_background("rest").kinds == ("unset",)


def test_a_label_map_becomes_one_segment_a_named_value(size):
    rng = np.random.default_rng(3)
    label_map = rng.integers(-1, 5, size)
    names = {value: (f"n{value}", "object") for value in (4, 0, 2)}
    segments = segments_from_label_map(label_map, names)
    present = [value for value in (0, 2, 4) if (label_map == value).any()]
    assert segments.names == tuple(f"n{value}" for value in present)
    assert np.array_equal(segments.masks, np.array([label_map == value for value in present]).reshape(-1, *size))


def test_a_few_masks_at_a_time_give_the_same_frame(make_segments, monkeypatch):
    segments = make_segments((17, 40))
    geometry = Preprocessing(resize=16, crop=(12, 12)).geometry(17, 40)
    whole = segments.to_model(geometry)
    assert torch.equal(whole, geometry.mask_to_model(segments.masks))
    monkeypatch.setattr(module, "DECODED_AT_ONCE", 17 * 40 * 2)
    assert torch.allclose(segments.to_model(geometry), whole, atol=1e-6)
    assert Segments((17, 40), ()).to_model(geometry).shape == (0, 12, 12)


def test_names_are_data():
    for name in ("a/b\\c", "<script>alert(1)</script>", "\N{BIRD}", "x" * 200, "..", ""):
        assert legal_name(name) == name
    assert legal_name("  cafe\N{COMBINING ACUTE ACCENT} ") == "café"
    with pytest.raises(UserError, match=r"10000 characters.*limit is 200"):
        legal_name("x" * 10_000)
    for name in ("a\nb", "a\0b", "\x1b[31m", "\N{LINE SEPARATOR}x\N{LINE SEPARATOR}y", "\ud800"):
        with pytest.raises(UserError, match="control character") as caught:
            legal_name(name)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "thing"},
        {"naming": "typed"},
        {"name": "a", "naming": "guessed"},
        {"score": float("nan")},
        {"confidence": 1.2},
    ],
)
def test_segments_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match="expected"):
        Segment(Mask.from_dense(np.ones((1, 1), bool)), **wrong)


def test_masks_of_one_size():
    with pytest.raises(ValueError, match="of size"):
        Segments((2, 2), (Segment(Mask.from_dense(np.ones((2, 3), bool))),))
