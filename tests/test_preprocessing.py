"""From a picture to the model's frame and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from core.errors import UserError
from core.images import Picture, turn_upright
from core.loading.huggingface import preprocessing_from_processor
from core.loading.timm_models import preprocessing_from_config
from core.loading.torchvision_models import preprocessing_of
from core.preprocessing import Preprocessing

# (width, height): odd, portrait, landscape, tiny, 3:1, 1:3, one pixel, square
SIZES = [(301, 207), (207, 301), (500, 375), (7, 5), (660, 220), (220, 660), (1, 1), (256, 256), (225, 224)]

CROP = Preprocessing(resize=64, crop=(56, 56))
SQUASH = Preprocessing(resize=(48, 40), crop=None)
PAD = Preprocessing(resize=None, crop=(120, 150))
CONTAIN = Preprocessing(resize=(64, 64), crop=(64, 64), fit="contain", fill=(1.0, 0.5, 0.0))
KINDS = {"crop": CROP, "squash": SQUASH, "pad": PAD, "contain": CONTAIN}


def picture_of(size: tuple[int, int]) -> Image.Image:
    """Smooth structure and noise, so that a shift or another filter shows."""
    random = np.random.default_rng(0)
    values = random.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    return Image.fromarray(values)


def normalised(preprocessing: Preprocessing, picture: Image.Image) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    return (preprocessing.apply(picture).tensor - mean) / std


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "weights",
    [
        torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1,
        torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V2,
        torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1,
        torchvision.models.Inception_V3_Weights.IMAGENET1K_V1,
    ],
    ids=str,
)
def test_equals_torchvisions_own_transform(weights, size):
    picture = picture_of(size)
    found = normalised(preprocessing_of(weights), picture)
    torch.testing.assert_close(found, weights.transforms()(picture), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("shape", [(3, 96, 96), (3, 96, 64)])
def test_equals_timms_own_transform(mode, shape, size):
    timm_data = pytest.importorskip("timm.data")
    if mode == "border" and min(size) * 96 < max(size):
        pytest.skip("timm itself fails where a side comes out as 0 pixels")
    config = {
        "input_size": shape,
        "interpolation": "bicubic",
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.3, 0.4),
        "crop_pct": 0.9,
        "crop_mode": mode,
    }
    picture = picture_of(size)
    expected = timm_data.create_transform(**config, is_training=False)(picture)
    torch.testing.assert_close(normalised(preprocessing_from_config(config), picture), expected, rtol=0, atol=1e-6)


HF = {
    "vit": ("ViTImageProcessor", {"size": {"height": 96, "width": 64}}),
    "deit": ("DeiTImageProcessor", {"size": {"height": 100, "width": 100}, "crop_size": {"height": 90, "width": 90}}),
    "clip": ("CLIPImageProcessor", {"size": {"shortest_edge": 97}, "crop_size": {"height": 90, "width": 90}}),
    "convnext": ("ConvNextImageProcessor", {"size": {"shortest_edge": 91}, "crop_pct": 0.875}),
    "convnext-squash": ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}, "crop_pct": 0.875}),
    "efficientnet": ("EfficientNetImageProcessor", {"size": {"height": 64, "width": 64}, "include_top": True}),
    "offset": ("EfficientNetImageProcessor", {"size": {"height": 64, "width": 64}, "rescale_offset": True,
               "rescale_factor": 1 / 127.5, "include_top": False}),
    "plain": ("ViTImageProcessor", {"size": {"height": 64, "width": 64}, "do_normalize": False}),
    "unscaled": ("ViTImageProcessor", {"size": {"height": 64, "width": 64}, "do_rescale": False,
                 "image_mean": [100, 110, 120], "image_std": [50, 60, 70]}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("size", [(301, 207), (207, 301), (660, 220), (64, 64)])
@pytest.mark.parametrize("kind", HF)
def test_equals_hugging_face_processors(kind, size):
    """Their resizing works on tensors and differs from PIL's by rounding: two grey levels at most."""
    transformers = pytest.importorskip("transformers")
    name, options = HF[kind]
    processor = getattr(transformers, name)(**options)
    smooth = Image.fromarray(np.asarray(picture_of((23, 17)))).resize(size, Image.Resampling.BICUBIC)
    expected = processor(smooth, return_tensors="pt")["pixel_values"][0]
    preprocessing = preprocessing_from_processor(processor.to_dict())
    found = normalised(preprocessing, smooth)
    level = 1 / (255 * min(preprocessing.std))
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=2.01 * level)
    assert float((found - expected).abs().mean()) < 0.35 * level


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (3, 2_000)])
@pytest.mark.parametrize("preprocessing", [*KINDS.values(), Preprocessing(resize=40, crop=(56, 56))])
def test_very_long_pictures_stay_small(preprocessing, size):
    prepared = preprocessing.apply(picture_of(size))
    assert prepared.tensor.shape == (3, *preprocessing.model_size)
    assert 0 <= float(prepared.tensor.min()) <= float(prepared.tensor.max()) <= 1


def test_a_strip_is_resized_as_the_whole_would_be():
    """Above 16 times the crop only the kept part is resized; the result is the same."""
    picture = picture_of((4, 600)).resize((40, 6000))
    preprocessing = Preprocessing(resize=32, crop=(24, 24))
    whole = picture.resize((32, 4800), Image.Resampling.BILINEAR)
    expected = whole.crop((4, 2388, 28, 2412))
    found = preprocessing.apply(picture).tensor.permute(1, 2, 0).numpy() * 255
    assert np.abs(found - np.asarray(expected, np.float32)).max() <= 1.01


def test_padding_has_the_fill_and_its_place():
    tensor = CONTAIN.apply(Image.new("RGB", (100, 50), (0, 0, 255))).tensor
    assert tensor[:, 0, 0].tolist() == pytest.approx([1.0, 128 / 255, 0.0])
    assert tensor[:, 32, 32].tolist() == [0.0, 0.0, 1.0]
    assert int((tensor[2] == 1).sum()) == 64 * 32


# --- geometry --------------------------------------------------------------------------------------------------------


def blob(size: tuple[int, int], top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def centre(values: torch.Tensor) -> tuple[float, float]:
    """Centre of mass, in pixel coordinates with pixel centres at .5."""
    total = float(values.sum())
    rows = (values.sum(1) * (torch.arange(values.shape[0]) + 0.5)).sum()
    columns = (values.sum(0) * (torch.arange(values.shape[1]) + 0.5)).sum()
    return float(rows) / total, float(columns) / total


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_lies_where_its_pixels_went(kind):
    """The same square, once as a mask and once drawn: both arrive at the same place in the model's frame."""
    preprocessing = KINDS[kind]
    mask = blob((90, 110), 40, 52, 12)
    drawn = Image.fromarray(np.repeat((mask * 255).astype(np.uint8)[..., None], 3, -1))
    prepared = preprocessing.apply(drawn)
    there = prepared.geometry.mask_to_model(mask)
    seen = prepared.tensor[2] if kind == "contain" else prepared.tensor[0]
    assert centre(there) == pytest.approx(centre(seen), abs=0.15)
    assert float((there - seen).abs().mean()) < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind):
    geometry = KINDS[kind].geometry(90, 110)
    mask = blob((90, 110), 33, 61, 12)
    back = geometry.map_to_picture(geometry.mask_to_model(mask))
    assert back.shape == (90, 110)
    assert centre(back) == pytest.approx((39.0, 67.0), abs=0.2)
    assert float(back[39, 67]) == pytest.approx(1.0, abs=0.02)
    assert float(back[:20].abs().max()) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_averaging_conserves_area(kind):
    geometry = KINDS[kind].geometry(90, 110)
    mask = blob((90, 110), 40, 50, 1)  # a single pixel
    there = geometry.mask_to_model(mask)
    assert float(there.sum()) == pytest.approx(geometry.scale_y * geometry.scale_x, rel=1e-4)
    full = geometry.mask_to_model(np.ones((90, 110)))
    assert float(full.max()) == pytest.approx(1.0, abs=1e-5)


def test_a_thin_segment_survives_a_large_reduction():
    geometry = Preprocessing(resize=(56, 56), crop=None).geometry(3000, 4000)
    mask = np.zeros((3000, 4000), bool)
    mask[:, 2000] = True
    assert float(geometry.mask_to_model(mask).sum()) == pytest.approx(3000 * 56 * 56 / (3000 * 4000), rel=1e-3)


def test_visible_is_the_part_inside_the_crop():
    geometry = Preprocessing(resize=100, crop=(100, 100)).geometry(100, 200)  # columns 50 to 150 are kept
    assert geometry.visible(blob((100, 200), 10, 100, 10)) == pytest.approx(1.0)
    assert geometry.visible(blob((100, 200), 10, 45, 10)) == pytest.approx(0.5)
    assert geometry.visible(blob((100, 200), 10, 0, 10)) == 0.0
    assert geometry.visible(np.zeros((100, 200), bool)) == 0.0
    assert geometry.seen_box() == (0, 50, 100, 150)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_map_is_constant_inside_and_zero_outside(kind):
    geometry = KINDS[kind].geometry(90, 140)
    laid = geometry.map_to_picture(torch.ones(geometry.model_size))
    top, left, bottom, right = geometry.seen_box()
    inside = torch.zeros(90, 140, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    torch.testing.assert_close(laid[top + 1 : bottom - 1, left + 1 : right - 1].unique(), torch.ones(1))
    assert float(laid[~inside].abs().sum()) == 0
    if not inside.all():
        assert float(geometry.map_to_picture(torch.ones(geometry.model_size), outside=-3.0)[~inside].max()) == -3.0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_over_stored_pixels_are_turned_with_the_picture(orientation):
    stored = blob((60, 90), 10, 60, 8)
    upright = np.array(turn_upright(Image.fromarray(stored.astype(np.uint8)), orientation)).astype(bool)
    picture = Picture(Image.fromarray((upright * 255).astype(np.uint8)).convert("RGB"), orientation=orientation)
    prepared = Preprocessing(resize=(60, 60), crop=None).apply(picture)
    there = prepared.geometry.mask_to_model(stored, stored=True)
    torch.testing.assert_close(there, prepared.geometry.mask_to_model(upright))
    assert centre(there) == pytest.approx(centre(prepared.tensor[0]), abs=0.15)


def test_several_masks_at_once_and_a_wrong_size():
    geometry = CROP.geometry(90, 110)
    masks = np.stack([blob((90, 110), 10, 10, 5), blob((90, 110), 50, 60, 9)])
    both = geometry.mask_to_model(masks)
    torch.testing.assert_close(both[1], geometry.mask_to_model(masks[1]))
    assert geometry.map_to_picture(both).shape == (2, 90, 110)
    with pytest.raises(UserError, match=r"110x90 pixels .*90x110; make them equal"):
        geometry.mask_to_model(masks[0].T)


def test_settings_survive_json_and_wrong_ones_are_refused():
    for preprocessing in KINDS.values():
        import json

        assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing
    for wrong in (
        {"resize": 256, "crop": None},
        {"interpolation": "cubic"},
        {"fit": "stretch"},
        {"crop_rounding": "up"},
    ):
        with pytest.raises(ValueError):
            Preprocessing(**wrong)


def test_what_is_changed_of_it_leaves_the_rest():
    usual = Preprocessing(resize=256, crop=(224, 224), fill=(0.1, 0.2, 0.3))
    assert usual.changed() == usual
    assert usual.changed(mean=0.5).mean == (0.5, 0.5, 0.5)
    assert usual.changed(std=[0.1, 0.2, 0.3]).std == (0.1, 0.2, 0.3)
    for size, crop, resize, frame in [
        (32, None, 32, (32, 32)),
        ((32, 48), None, (32, 48), (32, 48)),
        (40, 32, 40, (32, 32)),
        (40, (32, 24), 40, (32, 24)),
        (None, 128, 256, (128, 128)),
    ]:
        changed = usual.changed(size=size, crop=crop)
        assert (changed.resize, changed.model_size, changed.fill) == (resize, frame, usual.fill)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"crop": [224]}, "crop must be a size"),
        ({"crop": [224, -1]}, "crop must be a size"),
        ({"resize": "256"}, "resize must be a size"),
        ({"resize": [10**6, 10**6]}, "resize must be a size"),
        ({"resize": True}, "resize must be a size"),
        ({"mean": [0.5, 0.5]}, "mean must be three numbers"),
        ({"std": [0.5, 0.5, 0.0]}, "std must be above 0"),
        ({"std": float("nan")}, "std must be three numbers"),
    ],
)
def test_values_out_of_a_file_that_make_none(values, words):
    with pytest.raises(ValueError, match=words):
        Preprocessing.from_dict(values)
    assert Preprocessing.from_dict({"mean": [0.5], "std": 0.5}).std == (0.5, 0.5, 0.5)
