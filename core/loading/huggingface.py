"""Image classifiers that Hugging Face transformers saved to a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn

from core.classifier import Classifier
from core.errors import UserError
from core.loading.checkpoints import read_checkpoint
from core.loading.labels import in_order
from core.loading.pretrained import CONFIG, SAFELY, load_module, told, transformers_for
from core.loading.request import Request
from core.loading.specs import hf_folder
from core.loading.timm_models import preprocessing_from_config
from core.preprocessing import RESAMPLING, Preprocessing

# ConvNeXT's processors crop below this side and squash from it on.
CONVNEXT_SQUASH_SIDE = 384


class ChannelFlip(nn.Module):
    """A model that wants blue, green, red, behind red, green, blue."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        """[B, 3, H, W] RGB -> what the model answers."""
        return self.model(images.flip(1))


def load(request: Request) -> Classifier:
    """`hf:DIR`, a folder that `save_pretrained` wrote, with its image processor.

    Raises:
        UserError: transformers is not installed, or the folder holds no whole image classifier.
    """
    transformers = transformers_for("hf: models")
    folder = hf_folder(request.rest)
    for file, help_ in (
        (CONFIG, "give the folder that save_pretrained wrote"),
        ("preprocessor_config.json", "save the image processor beside the model (processor.save_pretrained)"),
    ):
        if not (folder / file).is_file():
            raise UserError(f"{folder} has no {file}; {help_}.")
    what = "an image classifier"
    with told(folder, what):
        config = transformers.AutoConfig.from_pretrained(folder, **SAFELY)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **SAFELY).to_dict()
    kind = transformers.AutoModelForImageClassification
    try:
        module = load_module(kind, folder, what, config=config, use_safetensors=None, weights_only=True)
    except UserError:
        if not any(folder.glob("*.safetensors")):
            for pickled in sorted(folder.glob("*.bin")):
                read_checkpoint(pickled)  # says what is wrong with it in our words
        raise
    flip = bool(processor.get("do_flip_channel_order"))
    output = "sigmoid" if config.problem_type == "multi_label_classification" else None
    labels, notes = in_order({n: str(label) for n, label in config.id2label.items()}, f"id2label in {folder / CONFIG}")
    preprocessing = _preprocessing(config, processor, folder)
    return request.classifier(ChannelFlip(module) if flip else module, {}, preprocessing, labels, output, notes)


def _preprocessing(config: Any, processor: Mapping[str, Any], folder: Path) -> Preprocessing:
    timm_config = getattr(config, "pretrained_cfg", None)
    if timm_config:
        return preprocessing_from_config({"crop_pct": 0.875, "interpolation": "bicubic", **timm_config})
    try:
        return preprocessing_from_processor(processor)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / 'preprocessor_config.json'} does not say to what size pictures go ({error})."
        ) from error


def preprocessing_from_processor(processor: Mapping[str, Any]) -> Preprocessing:
    """A Hugging Face image processor's settings (its `to_dict()`) as preprocessing.

    Raises:
        KeyError, ValueError: no fixed size can be read from it.
    """
    size = processor.get("size") or {}
    crop = _pair(processor["crop_size"]) if processor.get("do_center_crop") else None
    resize: int | tuple[int, int] | None = None
    if processor.get("do_resize", True):
        resize = _pair(size) if _has(size, "height") else int(size["shortest_edge"])
    if isinstance(resize, int) and processor.get("crop_pct"):
        side = resize
        if side < CONVNEXT_SQUASH_SIDE:
            resize, crop = int(side / processor["crop_pct"]), crop or (side, side)
        else:
            resize = (side, side)
    elif isinstance(resize, int) and crop is None:
        crop = (resize, resize)  # the processor would keep the picture's shape; the middle of it is taken
    mean, std = _normalisation(processor)
    return Preprocessing(
        resize=resize,
        crop=crop,
        interpolation=_interpolation(processor.get("resample")),
        mean=mean,
        std=std,
        crop_rounding="down",
    )


def _normalisation(processor: Mapping[str, Any]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation for pictures in [0, 1], with the processor's own rescaling folded in."""
    factor = 255 * float(processor.get("rescale_factor") or 1 / 255) if processor.get("do_rescale", True) else 255.0
    offset = 1.0 if processor.get("rescale_offset") else 0.0
    normalise = processor.get("do_normalize", True)
    mean = processor["image_mean"] if normalise else (0.0, 0.0, 0.0)
    std = processor["image_std"] if normalise else (1.0, 1.0, 1.0)
    top = std if processor.get("include_top") else (1.0, 1.0, 1.0)  # EfficientNet's processor divides twice
    means = [(float(m) + offset) / factor for m in mean]
    stds = [float(s) * float(t) / factor for s, t in zip(std, top)]
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])


def _interpolation(resample: int | str | None) -> str:
    if isinstance(resample, str) and resample.lower() in RESAMPLING:
        return resample.lower()
    wanted = Image.Resampling(resample) if isinstance(resample, int) else Image.Resampling.BILINEAR
    return next((name for name, known in RESAMPLING.items() if known == wanted), "bilinear")


def _has(size: Any, key: str) -> bool:
    return isinstance(size, Mapping) and size.get(key) is not None


def _pair(size: Any) -> tuple[int, int]:
    if _has(size, "height"):
        return int(size["height"]), int(size["width"])
    side = int(size["shortest_edge"] if isinstance(size, Mapping) else size)
    return side, side


def known() -> list[dict[str, str]]:
    """For `known_models`."""
    return [
        {
            "spec": "hf:DIR",
            "title": "A Hugging Face image classifier saved to a folder",
            "needs": "the folder and the extra satchel[text]",
        }
    ]
