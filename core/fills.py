"""What stands where something was removed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PLATES = ("mean", "blur", "black", "grey", "inpaint")
GREY = (0.485, 0.456, 0.406)  # the mean colour of ImageNet, which most classifiers are given as zeros
CELLS = 7  # along the shorter side: how fine the pieces are that an inpainted plate is guessed in


def fill_plate(images: Tensor, kind: str) -> Tensor:
    """A plate per picture to put in place of what is removed.

    Args:
        images: [B, 3, H, W] in [0, 1].
        kind: "mean" (the picture's own mean colour), "blur" (Gaussian, sigma a tenth of the side, so that no part
            keeps its shape), "black", "grey" (the mean colour of photographs), or "inpaint" (every cell of a grid as
            its neighbours suggest it).

    Returns:
        [B, 3, H, W] in [0, 1] on the same device.
    """
    if kind == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if kind == "black":
        return torch.zeros_like(images)
    if kind == "grey":
        return images.new_tensor(GREY).view(1, 3, 1, 1).expand_as(images)
    if kind == "blur":
        sigma = max(images.shape[-2:]) / 10
        return _blur(images, sigma)
    if kind == "inpaint":
        return _guessed(images)
    raise ValueError(f"fill must be one of {', '.join(PLATES)}, got {kind!r}")


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur; wide ones on a reduced picture, which looks the same and costs little."""
    from torchvision.transforms.functional import gaussian_blur

    height, width = images.shape[-2:]
    reduce = max(1, int(sigma // 4))
    small = F.interpolate(images, (max(1, height // reduce), max(1, width // reduce)), mode="area")
    reach = int(3 * sigma / reduce)
    # reflection needs a picture wider than the kernel reaches
    reach = max(1, min(reach, min(small.shape[-2:]) - 1))
    blurred = gaussian_blur(small, [2 * reach + 1] * 2, [sigma / reduce] * 2) if min(small.shape[-2:]) > 1 else small
    return F.interpolate(blurred, (height, width), mode="bilinear", align_corners=False)


def _guessed(images: Tensor) -> Tensor:
    """Each cell filled from what surrounds it: four rounds, so that in its own round a cell keeps all neighbours."""
    height, width = images.shape[-2:]
    cell = max(1, round(min(height, width) / CELLS))
    row = torch.arange(height, device=images.device)[:, None] // cell % 2
    column = torch.arange(width, device=images.device)[None, :] // cell % 2
    plate = torch.empty_like(images)
    for turn in range(4):
        hole = ((row == turn // 2) & (column == turn % 2)).to(images.dtype)
        plate = torch.where(hole > 0, inpaint(images, hole.expand(len(images), -1, -1)), plate)
    return plate


def inpaint(images: Tensor, holes: Tensor) -> Tensor:
    """[B, 3, H, W], [B, H, W] in [0, 1] -> [B, 3, H, W]: each hole filled smoothly from what surrounds it.

    Push-pull (Gortler et al., The Lumigraph, 1996): known pixels are averaged into ever coarser pictures, and each
    unknown pixel takes the finest level that knows anything there. Runs where the classifier runs.
    """
    known = (1 - holes).clamp(0, 1).unsqueeze(1)
    levels = [(images * known, known)]
    while min(levels[-1][1].shape[-2:]) > 1:
        colour, weight = levels[-1]
        colour = F.avg_pool2d(colour, 2, ceil_mode=True, count_include_pad=False)
        weight = F.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
        # full confidence from half-known cells on, so that coarse levels reach across wide holes
        gain = 1 / weight.clamp(min=0.5)
        levels.append((colour * gain, weight * gain))
    colour, weight = levels[-1]
    filled = colour / weight.clamp(min=1e-6)
    for colour, weight in reversed(levels[:-1]):
        coarse = F.interpolate(filled, colour.shape[-2:], mode="bilinear", align_corners=False)
        filled = colour + (1 - weight) * coarse
    return torch.lerp(images, filled, holes.unsqueeze(1))
