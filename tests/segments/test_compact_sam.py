"""The small SAM: its classes, its file, and that the package's own drivers take it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import UserError
from core.loading.checkpoints import read_checkpoint
from core.segments.sam.compact import CYCLES, Shape, build, restore, save

TINY = Shape(64, (8, 8, 16, 16), (1, 1, 1, 1), (8, 8, 8, 8), embedding=32, decoder_hidden=32)


def test_the_shipped_size_fits_its_file():
    weights = sum(weight.numel() for weight in build().state_dict().values())
    assert weights * 2 < 10e6


def test_the_package_drives_it_unchanged():
    from segment_anything import SamAutomaticMaskGenerator, SamPredictor

    sam = build(TINY)
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    predictor = SamPredictor(sam)
    predictor.set_image(picture)
    masks, scores, low = predictor.predict(np.array([[30, 20]]), np.array([1]))
    assert masks.shape == (3, 40, 60)
    assert scores.shape == (3,)
    assert low.shape == (3, 32, 32)
    made = SamAutomaticMaskGenerator(sam, points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    assert all(one["segmentation"].shape == (40, 60) for one in made.generate(picture))


def test_the_encoder_takes_any_window_and_answers_alike_wherever_it_lies():
    encoder = build(TINY).image_encoder
    picture = torch.zeros(1, 3, 128, 128)
    picture[..., 40:56, 40:60] = torch.randn(1, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, window = encoder(picture), encoder(picture.roll((32, 32), (2, 3)))
        assert encoder(picture[..., :64, :96]).shape == (1, 32, 8, 12)
    torch.testing.assert_close(whole.roll((4, 4), (2, 3))[..., 7:13, 7:13], window[..., 7:13, 7:13], atol=0.02, rtol=0)


def test_a_place_of_the_grid_is_one_turn_of_the_finest_wave():
    waves = build(TINY).prompt_encoder.pe_layer.get_buffer("positional_encoding_gaussian_matrix")
    frequencies = waves.norm(dim=0)
    assert [float(frequencies.min()), float(frequencies.max())] == pytest.approx(list(CYCLES))


def test_random_weights_come_from_the_seed_and_leave_the_global_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = build(TINY), build(TINY), build(TINY, seed=1)
    assert torch.equal(torch.rand(1), expected)
    key = "image_encoder.levels.2.0.0.weight"
    assert torch.equal(first.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])


def test_a_file_gives_back_what_was_saved_within_half_precision(tmp_path):
    sam = build(TINY, seed=2)
    save(sam, TINY, tmp_path / "sam.safetensors", {"minutes": 1})
    state, metadata = read_checkpoint(tmp_path / "sam.safetensors")
    assert all(value.dtype == torch.float16 for value in state.values())
    again = restore(state, metadata, "sam.safetensors")
    assert all(value.dtype == torch.float32 for value in again.state_dict().values())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before, after = sam.image_encoder(x), again.image_encoder(x)
    assert (before - after).abs().max() < 0.02 * before.abs().max()


@pytest.mark.parametrize("metadata", [{}, {"shape": "nothing"}, {"shape": '{"patch": 8}'}, {"shape": '{"widths": 3}'}])
def test_a_file_without_its_size_is_refused_in_a_sentence(tmp_path, metadata):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors", metadata)
    with pytest.raises(UserError, match="does not state the size"):
        restore(*read_checkpoint(tmp_path / "other.safetensors"), "other.safetensors")


def test_weights_of_another_size_are_refused():
    metadata = {"shape": '{"side": 64, "widths": [8, 8, 8, 8]}'}
    with pytest.raises(UserError, match="another architecture"):
        restore(dict(build(TINY).state_dict()), metadata, "it")


@pytest.mark.parametrize("wrong", [{"side": 60}, {"widths": (8, 8, 8, 12)}, {"embedding": 100}, {"blocks": (1, 1)}])
def test_sizes_that_do_not_fit_together_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Shape(**wrong)
