"""What a whole picture has and no segment holds: how each such property is measured, and given to another picture.

Everything happens in the model's frame: pictures [3, H, W] in [0, 1]. A property is given by changing nothing else: the
recipient takes on the donor's colour cast, brightness, sharpness and so on, and keeps what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core.fills import inpaint
from core.sat.batch import Scene

LUMA = (0.299, 0.587, 0.114)
BORDER = 0.05  # of the shorter side
BANDS = 8  # of the spectrum, each as wide as the next
FINEST = 0.5  # cycles a pixel
COARSEST = 0.08  # cycles a pixel: below, it is what the picture shows
GAIN = (0.1, 4.0)  # of a band
ZOOM = (0.5, 2.0)
FARTHEST = 0.4  # of a side, that a picture is moved
ENLARGED = 4.0  # times, that a picture is at most to be compressed; what is larger still hardly shows in the frame
FINER = 0.02  # of a step of quantisation, that counts as the same
LARGEST = 0.5  # part of the picture, above which an object has no place or size of its own


@dataclass(frozen=True)
class Property:
    """One property.

    Attributes:
        name: in a sentence, "its colour cast".
        measure: numbers of a picture by which classes may differ; None where the picture has no such thing.
        give: recipient, donor -> the recipient with the donor's; None where that cannot be.
        few: what is said where too few pictures have it.
    """

    name: str
    measure: Callable[[Scene], tuple[float, ...] | None]
    give: Callable[[Scene, Scene], Tensor | None]
    few: str = "too few pictures"


def _luma(image: Tensor) -> Tensor:
    """[3, H, W] -> [H, W]."""
    return torch.einsum("c,chw->hw", image.new_tensor(LUMA), image)


def _chroma(image: Tensor) -> Tensor:
    """[3]: mean colour without its brightness."""
    mean = image.mean((1, 2))
    return mean - mean @ mean.new_tensor(LUMA)


def _cast(scene: Scene) -> tuple[float, ...]:
    red, _, blue = _chroma(scene.image).tolist()
    return red, blue


def _with_cast(recipient: Scene, donor: Scene) -> Tensor:
    shift = _chroma(donor.image) - _chroma(recipient.image)
    return (recipient.image + shift[:, None, None]).clamp(0, 1)


def _brightness(scene: Scene) -> tuple[float, ...]:
    luma = _luma(scene.image)
    return float(luma.mean()), float(luma.std())


def _with_brightness(recipient: Scene, donor: Scene) -> Tensor:
    own, wanted = _luma(recipient.image), _luma(donor.image)
    gain = float((wanted.std() / own.std().clamp(min=1e-4)).clamp(*ZOOM))
    changed = (own - own.mean()) * gain + wanted.mean()
    return (recipient.image + (changed - own)).clamp(0, 1)


def _bands(luma: Tensor) -> tuple[Tensor, Tensor]:
    """(spectrum [H, W / 2 + 1], number of the band of each frequency, -1 below the coarsest)."""
    height, width = luma.shape
    down = torch.fft.fftfreq(height, device=luma.device)[:, None]
    right = torch.fft.rfftfreq(width, device=luma.device)[None]
    radius = (down**2 + right**2).sqrt()
    band = ((radius - COARSEST) / (FINEST - COARSEST) * BANDS).floor().clamp(max=BANDS - 1)
    return torch.fft.rfft2(luma), torch.where(radius < COARSEST, -1, band).long()


def _energy(luma: Tensor) -> Tensor:
    """[BANDS]: mean energy of each band."""
    spectrum, band = _bands(luma)
    known = band >= 0
    sums = torch.zeros(BANDS, device=luma.device).index_add(0, band[known], spectrum.abs()[known] ** 2)
    return sums / torch.bincount(band[known], minlength=BANDS).clamp(min=1)


def _sharpness(scene: Scene) -> tuple[float, ...]:
    energy = _energy(_luma(scene.image))
    return (float((energy[BANDS // 2 :].mean() / energy[: BANDS // 2].mean().clamp(min=1e-12)).clamp(min=1e-9).log()),)


def _with_sharpness(recipient: Scene, donor: Scene) -> Tensor:
    own = _luma(recipient.image)
    gain = (_energy(_luma(donor.image)) / _energy(own).clamp(min=1e-12)).sqrt().clamp(*GAIN)
    spectrum, band = _bands(own)
    gains = torch.where(band >= 0, gain[band.clamp(min=0)], 1.0)
    return (recipient.image + torch.fft.irfft2(spectrum * gains, own.shape) - own).clamp(0, 1)


def _middle(scene: Scene) -> tuple[float, float] | None:
    """(down, right) in [0, 1] of what is marked as object."""
    objects = scene.objects()[0]
    total = float(objects.sum())
    if total < 1 or float(objects.mean()) > LARGEST:
        return None
    height, width = objects.shape
    down = (torch.arange(height, device=objects.device) + 0.5) / height
    right = (torch.arange(width, device=objects.device) + 0.5) / width
    return float((objects.sum(1) * down).sum()) / total, float((objects.sum(0) * right).sum()) / total


def _with_place(recipient: Scene, donor: Scene) -> Tensor:
    own, wanted = _middle(recipient), _middle(donor)
    assert own is not None
    assert wanted is not None
    moves = [min(FARTHEST, max(-FARTHEST, w - o)) for w, o in zip(wanted, own)]
    return _resampled(recipient.image, moves=moves)


def _size(scene: Scene) -> tuple[float, ...] | None:
    return None if _middle(scene) is None else (float(scene.objects()[0].mean()),)


def _with_size(recipient: Scene, donor: Scene) -> Tensor:
    own, wanted = (float(scene.objects()[0].mean()) for scene in (recipient, donor))
    middle = _middle(recipient)
    assert middle is not None
    zoom = min(ZOOM[1], max(ZOOM[0], math.sqrt(wanted / own)))
    return _resampled(recipient.image, (zoom, zoom), middle)


def _proportions(scene: Scene) -> tuple[float, ...]:
    return (scene.stretch,)


def _with_proportions(recipient: Scene, donor: Scene) -> Tensor:
    root = math.sqrt(donor.stretch / recipient.stretch)
    return _resampled(recipient.image, (1 / root, root))


def _resampled(
    image: Tensor,
    zoom: tuple[float, float] = (1.0, 1.0),
    middle: tuple[float, float] = (0.5, 0.5),
    moves: list[float] | None = None,
) -> Tensor:
    """Enlarged round a point, or moved (down, right; in parts of the sides); what comes in over an edge is smooth."""
    down, right = moves or (0.0, 0.0)
    y, x = (2 * place - 1 for place in middle)
    theta = image.new_tensor(
        [[1 / zoom[1], 0, x - x / zoom[1] - 2 * right], [0, 1 / zoom[0], y - y / zoom[0] - 2 * down]]
    )
    grid = F.affine_grid(theta[None], [1, *image.shape], align_corners=False)
    both = torch.cat([image, torch.ones_like(image[:1])])[None]
    sampled = F.grid_sample(both, grid, padding_mode="zeros", align_corners=False)[0]
    known = sampled[3]
    # not mirrored: the object would be there twice
    return inpaint((sampled[:3] / known.clamp(min=1e-3)).clamp(0, 1)[None], 1 - known[None])[0]


def _edge(image: Tensor) -> Tensor:
    """[H, W]: 1 on the border."""
    wide = max(1, round(BORDER * min(image.shape[1:])))
    ring = torch.ones_like(image[0])
    ring[wide:-wide, wide:-wide] = 0
    return ring


def _border(scene: Scene) -> tuple[float, ...]:
    ring = _edge(scene.image) > 0
    colours = scene.image[:, ring]
    return (*colours.mean(1).tolist(), float(colours.std()))


def _with_border(recipient: Scene, donor: Scene) -> Tensor:
    return torch.lerp(recipient.image, donor.image, _edge(recipient.image))


def _compression(scene: Scene) -> tuple[float, ...] | None:
    return (scene.compression.step,) if scene.compression.known else None


def _with_compression(recipient: Scene, donor: Scene) -> Tensor | None:
    """What the donor's compression does to the recipient, at the size that the donor had: nothing else of that size."""
    own, wanted = recipient.compression, donor.compression
    if wanted.step < own.step * (1 - FINER):  # what was lost cannot be given back
        return None
    if wanted == own or not wanted.tables:
        return recipient.image
    height, width = recipient.image.shape[1:]
    down, right = (max(1 / ENLARGED, scale) for scale in donor.pixels)
    size = (max(8, round(height / down)), max(8, round(width / right)))
    array = (recipient.image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()
    before = Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    lost = np.asarray(wanted.of(before), np.float32) - np.asarray(before, np.float32)
    change = torch.from_numpy(lost).permute(2, 0, 1)[None].to(recipient.image) / 255
    change = F.interpolate(change, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return (recipient.image + change[0]).clamp(0, 1)


NO_OBJECT = "too few pictures have an object marked"
PROPERTIES = {
    "colour cast": Property("its colour cast", _cast, _with_cast),
    "brightness": Property("its brightness and contrast", _brightness, _with_brightness),
    "sharpness": Property("its sharpness", _sharpness, _with_sharpness),
    "position": Property("where its object stands", _middle, _with_place, NO_OBJECT),
    "size": Property("how large its object is", _size, _with_size, NO_OBJECT),
    "proportions": Property("its proportions", _proportions, _with_proportions),
    "compression": Property(
        "its compression", _compression, _with_compression, "too few files say how they were compressed"
    ),
    "border": Property("its border", _border, _with_border),
}
MIRROR = "orientation"  # needs no donor: a picture is turned round


def measures(scene: Scene) -> dict[str, list[float]]:
    """By property, of those that the picture has."""
    found = {name: one.measure(scene) for name, one in PROPERTIES.items()}
    return {name: [round(value, 5) for value in values] for name, values in found.items() if values is not None}
