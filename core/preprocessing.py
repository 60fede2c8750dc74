"""From a picture to the model's frame and back: resize, crop, pad, and where every pixel went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.errors import UserError
from core.images import Picture, turn_upright

Fit = Literal["squash", "cover", "contain"]

LARGEST_SIDE = 8192  # of the model's frame, in pixels
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Geometry:
    """What resize, crop, pad and EXIF turn did to one picture, both ways.

    A point (y, x) of the upright picture lies at (y * scale_y - top, x * scale_x - left) in the model's frame.

    Attributes:
        picture_size: (h, w) of the upright picture in pixels.
        model_size: (H, W) of the model's frame in pixels.
        scale_y, scale_x: model pixels per picture pixel.
        top, left: model pixels cut off above and on the left (negative: padded).
        orientation: EXIF orientation of the stored pixels, 1 to 8.
    """

    picture_size: tuple[int, int]
    model_size: tuple[int, int]
    scale_y: float
    scale_x: float
    top: float
    left: float
    orientation: int = 1

    def mask_to_model(self, mask: Tensor | np.ndarray, stored: bool = False) -> Tensor:
        """Area-average masks into the model's frame.

        Args:
            mask: [h, w] or [P, h, w], bool or in [0, 1], over the upright picture.
            stored: True if the mask lies over the pixels as stored in the file, before the EXIF turn.

        Returns:
            [H, W] or [P, H, W] float32 in [0, 1]: the part of each model pixel that the mask covers. A thin segment
            survives a large reduction as small fractions instead of vanishing.

        Raises:
            UserError: the mask's size is not the picture's.
        """
        values = torch.as_tensor(np.ascontiguousarray(mask) if isinstance(mask, np.ndarray) else mask)
        values = values.to(torch.float32)
        if stored and self.orientation != 1:
            values = _turn(values, self.orientation)
        if tuple(values.shape[-2:]) != self.picture_size:
            got, want = "x".join(map(str, values.shape[-2:])), "x".join(map(str, self.picture_size))
            raise UserError(f"A mask is {got} pixels (height x width), but its picture is {want}; make them equal.")
        rows, columns = self._footprints()
        return (rows @ values @ columns.T).clamp_(0, 1)

    def visible(self, mask: Tensor | np.ndarray) -> float:
        """Part of the mask's area that the model sees (inside the crop), in [0, 1]; 0 for an empty mask."""
        values = torch.as_tensor(mask).to(torch.float32)
        total = float(values.sum())
        if total == 0:
            return 0.0
        return min(1.0, float((values * self._seen()).sum()) / total)

    def map_to_picture(self, values: Tensor, outside: float = 0.0) -> Tensor:
        """Lay a map over the picture as it was given, bilinearly.

        Args:
            values: [H, W] or [P, H, W] in the model's frame.
            outside: value where the model saw nothing.

        Returns:
            [h, w] or [P, h, w] float32.
        """
        rows = _interpolation(self.picture_size[0], self.model_size[0], self.scale_y, self.top)
        columns = _interpolation(self.picture_size[1], self.model_size[1], self.scale_x, self.left)
        laid = rows @ values.to(torch.float32).cpu() @ columns.T
        if outside != 0.0:
            laid = torch.where(self._seen() >= 0.5, laid, torch.full_like(laid, outside))
        return laid

    def seen_box(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the part of the upright picture that the model sees, in pixels."""
        (h, w), (mh, mw) = self.picture_size, self.model_size
        return (
            max(0, round(self.top / self.scale_y)),
            max(0, round(self.left / self.scale_x)),
            min(h, round((mh + self.top) / self.scale_y)),
            min(w, round((mw + self.left) / self.scale_x)),
        )

    def _footprints(self) -> tuple[Tensor, Tensor]:
        return (
            _area(self.model_size[0], self.picture_size[0], self.scale_y, self.top),
            _area(self.model_size[1], self.picture_size[1], self.scale_x, self.left),
        )

    def _seen(self) -> Tensor:
        """[h, w] in [0, 1]: how much of each picture pixel lies inside the model's frame."""
        rows, columns = self._footprints()
        seen_rows = (rows.sum(0) / self.scale_y).clamp(max=1)
        seen_columns = (columns.sum(0) / self.scale_x).clamp(max=1)
        return seen_rows[:, None] * seen_columns[None, :]


@lru_cache(maxsize=8)  # a picture's segments all ask for the same two
def _area(model: int, picture: int, scale: float, offset: float) -> Tensor:
    """[model, picture]: the part of each model pixel's footprint that each picture pixel fills."""
    start = (np.arange(model) + offset) / scale
    end = start + 1 / scale
    pixels = np.arange(picture)
    overlap = np.minimum(end[:, None], pixels + 1) - np.maximum(start[:, None], pixels)
    return torch.from_numpy((np.clip(overlap, 0, None) * scale).astype(np.float32))


def _interpolation(picture: int, model: int, scale: float, offset: float) -> Tensor:
    """[picture, model]: linear weights of model pixels for each picture pixel; rows outside the frame are zero."""
    centres = (np.arange(picture) + 0.5) * scale - offset
    inside = (centres > 0) & (centres < model)
    position = np.clip(centres - 0.5, 0, model - 1)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, model - 1)
    weights = np.zeros((picture, model), np.float32)
    rows = np.arange(picture)
    np.add.at(weights, (rows, below), 1 - (position - below))
    np.add.at(weights, (rows, above), position - below)
    return torch.from_numpy(weights * inside[:, None])


def _turn(values: Tensor, orientation: int) -> Tensor:
    planes = values.reshape(-1, *values.shape[-2:]).numpy()
    turned = [np.asarray(turn_upright(Image.fromarray(plane), orientation)) for plane in planes]
    return torch.from_numpy(np.stack(turned)).reshape(*values.shape[:-2], *turned[0].shape)


@dataclass(frozen=True)
class Prepared:
    """A picture as a classifier takes it.

    Attributes:
        tensor: [3, H, W] float32 in [0, 1], on the CPU; normalisation is left to the classifier.
        geometry: the way there and back.
    """

    tensor: Tensor
    geometry: Geometry


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its pictures, as its weights' own metadata says.

    Attributes:
        resize: shorter side in pixels, or (H, W) to squash to, or None.
        crop: (H, W) of the centre crop, padded with `fill` where the picture is smaller, or None.
        interpolation: nearest, bilinear, bicubic or lanczos.
        mean, std: per channel, of pictures in [0, 1].
        fit: what becomes of the shape where `resize` is (H, W): "squash" to it, or keep it and "cover" or be
            "contain"ed in that frame.
        fill: colour of the padding, in [0, 1].
        crop_rounding: where half the surplus is no whole pixel, the crop begins at the "nearest" or one "down".
    """

    resize: int | tuple[int, int] | None = 256
    crop: tuple[int, int] | None = (224, 224)
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    fit: Fit = "squash"
    fill: tuple[float, float, float] = (0.0, 0.0, 0.0)
    crop_rounding: Literal["nearest", "down"] = "nearest"

    def __post_init__(self) -> None:
        if self.crop is None and (not isinstance(self.resize, tuple) or self.fit != "squash"):
            raise ValueError("preprocessing needs a crop or an exact size, or pictures would differ in size")
        if self.interpolation not in RESAMPLING:
            raise ValueError(f"interpolation must be one of {', '.join(RESAMPLING)}, got {self.interpolation!r}")
        if self.fit not in get_args(Fit):
            raise ValueError(f"fit must be one of {', '.join(get_args(Fit))}, got {self.fit!r}")
        if self.crop_rounding not in ("nearest", "down"):
            raise ValueError(f"crop_rounding must be nearest or down, got {self.crop_rounding!r}")
        for name, size in (("resize", self.resize), ("crop", self.crop)):
            sides = (size,) if name == "resize" and not isinstance(size, tuple) else size
            lengths = (1,) if sides != size else (2,)
            fits = isinstance(sides, tuple) and len(sides) in lengths and all(_is_side(side) for side in sides)
            if size is not None and not fits:
                raise ValueError(f"{name} must be a size of 1 to {LARGEST_SIDE} pixels, got {size!r}")
        for name, values in (("mean", self.mean), ("std", self.std), ("fill", self.fill)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name} must be three numbers, got {values!r}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {self.std!r}")

    @classmethod
    def from_dict(cls, values: dict) -> Preprocessing:
        """From plain JSON values (lists become tuples, and one number or a list of one stands for all channels).

        Raises:
            TypeError, ValueError: they make none.
        """
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        fields |= {name: _three(fields[name]) for name in ("mean", "std") if name in fields}
        return cls(**fields)

    def changed(
        self,
        *,
        size: int | tuple[int, int] | None = None,
        crop: int | tuple[int, int] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        interpolation: str | None = None,
    ) -> Preprocessing:
        """The same but for what is given.

        Args:
            size: shorter side in pixels, or (H, W) to squash to. Without a crop the middle of it is all that is taken.
            crop: side or (H, W) of the centre crop.
            mean, std: of pictures in [0, 1], one number a channel or one for all.
            interpolation: nearest, bilinear, bicubic or lanczos.

        Raises:
            TypeError, ValueError: they make no preprocessing.
        """
        fields: dict[str, Any] = {}
        if size is not None:
            fields |= {"resize": size, "fit": "squash", "crop": None if isinstance(size, tuple) else (size, size)}
        if crop is not None:
            fields["crop"] = crop if isinstance(crop, tuple) else (crop, crop)
        if mean is not None:
            fields["mean"] = _three(mean)
        if std is not None:
            fields["std"] = _three(std)
        if interpolation is not None:
            fields["interpolation"] = interpolation
        return replace(self, **fields)

    def to_dict(self) -> dict:
        return asdict(self)

    @property
    def model_size(self) -> tuple[int, int]:
        """(H, W) of what comes out."""
        size = self.crop or self.resize
        assert isinstance(size, tuple)
        return size

    def geometry(self, height: int, width: int, orientation: int = 1) -> Geometry:
        """Where a picture of this size goes."""
        if isinstance(self.resize, tuple):
            rh, rw = self.resize
            if self.fit != "squash":
                choose = min if self.fit == "cover" else max
                ratio = choose(height / rh, width / rw)  # picture pixels per resized pixel, as timm counts
                rh, rw = round(height / ratio), round(width / ratio)
        elif self.resize is not None:
            short = self.resize
            # torchvision's rounding: the longer side is truncated
            rh, rw = (short, int(short * width / height)) if height <= width else (int(short * height / width), short)
        else:
            rh, rw = height, width
        rh, rw = max(1, rh), max(1, rw)
        ch, cw = self.crop or (rh, rw)
        top, left = self._crop_offset(rh, ch), self._crop_offset(rw, cw)
        return Geometry((height, width), (ch, cw), rh / height, rw / width, top, left, orientation)

    def apply(self, picture: Picture | Image.Image) -> Prepared:
        """Resize and crop one picture."""
        if isinstance(picture, Image.Image):
            picture = Picture(picture.convert("RGB"))
        height, width = picture.size
        geometry = self.geometry(height, width, picture.orientation)
        image = _resized_crop(picture.image, geometry, RESAMPLING[self.interpolation], self.fill)
        array = np.asarray(image, dtype=np.float32) / 255.0
        return Prepared(torch.from_numpy(array).permute(2, 0, 1).contiguous(), geometry)

    def _crop_offset(self, resized: int, crop: int) -> int:
        if resized < crop:
            return -((crop - resized) // 2)  # padding puts its larger half right and below
        # torchvision's and timm's centre crop rounds (to even); transformers' rounds down
        surplus = (resized - crop) / 2.0
        return round(surplus) if self.crop_rounding == "nearest" else int(surplus)


def _is_side(side: object) -> bool:
    return type(side) is int and 1 <= side <= LARGEST_SIDE


def _three(values: float | Sequence[float]) -> tuple[float, ...]:
    """One number a channel; one alone is for all."""
    each = tuple(values) if isinstance(values, Sequence) else (values,)
    return each * 3 if len(each) == 1 else each


def _resized_crop(
    image: Image.Image, geometry: Geometry, resampling: Image.Resampling, fill: tuple[float, float, float]
) -> Image.Image:
    """Resize, then crop; of a very long picture only the strip that is kept is resized."""
    (h, w), (ch, cw) = geometry.picture_size, geometry.model_size
    sy, sx = geometry.scale_y, geometry.scale_x
    rh, rw = round(h * sy), round(w * sx)
    top, left = int(geometry.top), int(geometry.left)
    # the kept part, in pixels of the resized picture
    y0, x0, y1, x1 = max(0, top), max(0, left), min(rh, top + ch), min(rw, left + cw)
    if rh > 16 * ch or rw > 16 * cw:
        box = (x0 / sx, y0 / sy, min(w, x1 / sx), min(h, y1 / sy))
        kept = image.resize((x1 - x0, y1 - y0), resampling, box=box)
    else:
        resized = image if (rh, rw) == (h, w) else image.resize((rw, rh), resampling)
        kept = resized if (x0, y0, x1, y1) == (0, 0, rw, rh) else resized.crop((x0, y0, x1, y1))
    if kept.size == (cw, ch):
        return kept
    colour = tuple(round(255 * value) for value in fill)
    canvas = Image.new("RGB", (cw, ch), (colour[0], colour[1], colour[2]))
    canvas.paste(kept, (x0 - left, y0 - top))
    return canvas
