"""A SAM behind its face: prompts, everything-mode, the cache, memory, threads. Random weights do for all of it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, SamPredictor

from core.errors import UserError
from core.images import Picture
from core.runtime.interrupt import Interrupted, interruptible
from core.segments.sam import everything as everything_module
from core.segments.sam.compact import Shape, build
from core.segments.sam.embeddings import EmbeddingCache
from core.segments.sam.model import LONGEST, EverythingParameters, Sam

TINY = Shape(64, (8, 8, 16, 16), (1, 1, 1, 1), (8, 8, 8, 8), embedding=32, decoder_hidden=32)
ALL = EverythingParameters(points=4, quality=0.0, stability=0.0, duplicates=0.9)


def picture(height: int = 40, width: int = 60, seed: int = 0) -> Picture:
    """Smooth noise, so that neighbouring points do not all give the same mask."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    return Picture(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def tiny(tmp_path, name: str = "compact", seed: int = 0, **options) -> Sam:
    return Sam(build(TINY, seed), name, device="cpu", cache=EmbeddingCache(tmp_path / "cache"), **options)


@pytest.fixture
def sam(tmp_path) -> Sam:
    return tiny(tmp_path)


def count_encodings(sam: Sam) -> list[int]:
    """A list that grows by one whenever the encoder runs."""
    runs: list[int] = []
    sam._module.image_encoder.register_forward_hook(lambda *_: runs.append(1))
    return runs


def same(first, second) -> bool:
    return [(item.mask, item.score) for item in first] == [(item.mask, item.score) for item in second]


# --- prompts ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_the_predictors_own(tmp_path):
    sam, shown = tiny(tmp_path, "vit_b"), picture()
    answer = sam.predict(shown, [(30, 20), (5, 5)], [1, 0])
    predictor = SamPredictor(build(TINY).eval())
    predictor.set_image(shown.array())
    predictor.features = predictor.features.half().float()
    masks, scores, logits = predictor.predict(np.array([[30.0, 20], [5, 5]]), np.array([1, 0]), multimask_output=False)
    assert np.array_equal(answer.masks, masks)
    assert answer.scores == pytest.approx(np.clip(scores, 0, 1))
    np.testing.assert_allclose(answer.logits, logits, atol=1e-5)


def test_one_click_has_candidates_and_they_differ(tmp_path):
    for name in ("compact", "vit_b"):
        answer = tiny(tmp_path, name).predict(picture(), [(30, 20)], [1])
        assert (
            1 <= len(answer.masks) <= (8 if name == "compact" else 3)
        )  # the compact's own four, and regions like them
        assert answer.masks.shape[1:] == (40, 60)
        assert answer.masks.dtype == bool
        assert len(answer.scores) == len(answer.masks) == len(answer.logits)
        assert all(0 <= score <= 1 for score in answer.scores)
        if name == "vit_b":
            assert list(answer.scores) == sorted(answer.scores, reverse=True)


def test_a_box_and_a_correction_have_one_answer(sam):
    answer = sam.predict(picture(), box=(10, 5, 40, 30))
    assert len(answer.masks) == 1
    corrected = sam.predict(picture(), [(30, 20)], [0], box=(10, 5, 40, 30), previous=answer.logits[0])
    assert len(corrected.masks) == 1
    assert not np.array_equal(corrected.logits, answer.logits)


def test_prompts_are_in_pixels_of_the_upright_picture_whatever_its_size(sam):
    small = picture(30, 50)
    large = Picture(small.image.resize((5 * 300, 3 * 300), Image.Resampling.NEAREST))
    answer = sam.predict(large, [(1200, 450)], [1])
    assert answer.masks.shape[1:] == (900, 1500)
    assert sam._view(large).shape[1] == LONGEST
    lowered = sam.predict(
        Picture(Image.fromarray(sam._view(large))), [(1200 * LONGEST / 1500, 450 * LONGEST / 1500)], [1]
    )
    again = Image.fromarray(lowered.masks[0]).resize((1500, 900))
    assert (np.asarray(again) == answer.masks[0]).mean() > 0.99


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ({}, "Click on the picture or draw a box"),
        ({"points": [(3, 3)]}, "1 points need as many labels"),
        ({"points": [(3, 3)], "labels": [2]}, "must be 1 .inside. or 0"),
        ({"points": [(61, 3)], "labels": [1]}, "lies outside the picture of 60 x 40"),
        ({"points": [(float("nan"), 3)], "labels": [1]}, "lies outside"),
        ({"box": (5, 5, 5, 20)}, "covers no pixel"),
        ({"box": (70, 5, 90, 20)}, "covers no pixel"),
        ({"box": (5, 5, float("inf"), 20)}, "four numbers"),
    ],
)
def test_prompts_that_make_no_sense_are_told_so(sam, prompt, words):
    with pytest.raises(UserError, match=words):
        sam.predict(picture(), **prompt)


def test_a_picture_too_narrow_for_the_grid_is_refused(sam):
    with pytest.raises(UserError, match="too narrow for a SAM"):
        sam.predict(picture(1, 500), box=(0, 0, 9, 1))


# --- everything -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"crops": 1}, {"quality": 0.0, "stability": 0.9}, {"min_area": 30}])
def test_everything_finds_what_the_bare_generator_finds(sam, changes):
    parameters = EverythingParameters(**{**ALL.to_dict(), **changes})
    module = build(TINY).eval()
    hook = module.image_encoder.register_forward_hook(lambda _, __, out: out.half().float())
    bare = SamAutomaticMaskGenerator(
        module,
        points_per_side=4,
        pred_iou_thresh=parameters.quality,
        stability_score_thresh=parameters.stability,
        box_nms_thresh=0.9,
        crop_n_layers=parameters.crops,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=parameters.min_area,
    )
    expected = sorted((one["segmentation"] for one in bare.generate(picture().array())), key=lambda m: -m.sum())
    hook.remove()
    found = sam.everything(picture(), parameters)
    assert len(found) == len(expected)
    assert sorted(m.tobytes() for m in found.masks) == sorted(m.tobytes() for m in expected)
    assert [item.mask.area for item in found] == [m.sum() for m in expected]


def test_its_segments_are_unnamed_and_say_which_sam_cut_them(sam):
    found = sam.everything(picture(), ALL)
    assert len(found)
    assert set(found.names) == {""}
    assert {item.source for item in found} == {"sam:compact"}
    assert all(item.score is not None and 0 <= item.score <= 1 for item in found)


def test_the_place_of_a_file_stands_in_no_segment(tmp_path):
    assert tiny(tmp_path, f"vit_b@{tmp_path}/mine.pth").source == "sam:vit_b@mine.pth"


def test_nothing_found_is_nothing_whatever_the_crops(sam):
    strict = EverythingParameters(points=2, quality=1.0, stability=1.0, crops=1)
    assert len(sam.everything(picture(), strict)) == 0


@pytest.mark.slow
def test_masks_of_a_large_picture_come_back_at_its_size(sam):
    found = sam.everything(picture(1100, 1400), ALL)
    assert len(found)
    assert found.size == (1100, 1400)


def test_fewer_points_when_memory_runs_out_and_the_same_masks(sam, monkeypatch):
    expected = sam.everything(picture(), ALL)
    sam.cache.clear()
    whole = everything_module.Generator._masks_at
    asked = []

    def tight(self, points, *rest):
        asked.append(len(points))
        if len(points) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, points, *rest)

    monkeypatch.setattr(everything_module.Generator, "_masks_at", tight)
    assert same(sam.everything(picture(), ALL), expected)
    assert asked == [16, 8, 4, 4, 4, 4]


def test_no_memory_at_all_is_told_in_a_sentence(sam, monkeypatch):
    def none(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes")

    monkeypatch.setattr(everything_module.Generator, "_masks_at", none)
    with pytest.raises(UserError, match="Memory ran out in SAM compact"):
        sam.everything(picture(), ALL)
    monkeypatch.setattr(sam, "_encode", none)
    with pytest.raises(UserError, match="Memory ran out"):
        sam.predict(picture(seed=1), [(3, 3)], [1])


# --- the cache --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_everything_ends_when_it_is_not_wanted_any_more(sam, tmp_path):
    asked = []
    with interruptible(lambda: asked.append(1) or len(asked) > 1), pytest.raises(Interrupted):
        sam.everything(picture(), EverythingParameters(points=8, quality=0.0, stability=0.0))
    assert len(asked) == 2  # 64 points go 16 at a time; half of them were not asked
    again = EverythingParameters(points=8, quality=0.0, stability=0.0)
    assert len(sam.everything(picture(), again)) > 0  # nothing half done was kept


def test_a_picture_is_encoded_once_for_clicks_and_everything(sam):
    runs = count_encodings(sam)
    sam.predict(picture(), [(30, 20)], [1])
    sam.predict(picture(), [(10, 20)], [1])
    sam.everything(picture(), ALL)
    assert len(runs) == 1
    sam.predict(picture(seed=1), [(30, 20)], [1])
    assert len(runs) == 2


def test_another_process_finds_the_embedding_and_the_cut_on_disk(tmp_path):
    first = tiny(tmp_path)
    answer, found = first.predict(picture(), [(30, 20)], [1]), first.everything(picture(), ALL)
    second = tiny(tmp_path)
    runs = count_encodings(second)
    decoded: list[int] = []
    second._module.mask_decoder.register_forward_hook(lambda *_: decoded.append(1))
    assert same(second.everything(picture(), ALL), found)
    assert decoded == []
    again = second.predict(picture(), [(30, 20)], [1])
    assert runs == []
    assert np.array_equal(again.masks, answer.masks)
    assert again.scores == answer.scores


def test_other_weights_and_other_parameters_have_their_own(tmp_path):
    first, other = tiny(tmp_path), tiny(tmp_path, seed=1)
    assert first.fingerprint != other.fingerprint
    found = first.everything(picture(), ALL)
    assert not same(other.everything(picture(), ALL), found)
    laxer = EverythingParameters(**{**ALL.to_dict(), "duplicates": 1.0})
    assert len(first.everything(picture(), laxer)) > len(found)


def test_a_full_disk_costs_time_only(sam, monkeypatch):
    expected = sam.everything(picture(), ALL)
    sam.cache.clear()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sam.cache, "_write_whole", full)
    found = sam.everything(picture(), ALL)
    assert same(found, expected)
    assert len(found.notes) == 1
    assert "No space left" in found.notes[0]


def test_an_embedding_is_the_encoders(sam):
    embedding = sam.embedding(picture())
    assert embedding.shape == (32, 8, 8)
    predictor = SamPredictor(build(TINY))
    predictor.set_image(picture().array())
    torch.testing.assert_close(embedding, predictor.features[0], rtol=1e-3, atol=1e-3)


# --- hygiene ----------------------------------------------------------------------------------------------------------


def test_threads_do_not_disturb_one_another(sam):
    pictures = [picture(30 + 5 * i, 60, seed=i) for i in range(4)]
    alone = [sam.predict(shown, [(30, 20)], [1]).masks for shown in pictures]
    found: dict[int, bool] = {}

    def work(i: int) -> None:
        found[i] = all(np.array_equal(sam.predict(pictures[i], [(30, 20)], [1]).masks, alone[i]) for _ in range(5))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), True)


def test_nothing_global_is_changed(sam):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    sam.everything(picture(), ALL)
    sam.predict(picture(), [(3, 3)], [1])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
