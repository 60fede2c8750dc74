"""What stands where something was removed."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

PLATES = ("mean", "blur", "black")


def fill_plate(images: Tensor, kind: str) -> Tensor:
    """A plate per picture to put in place of what is removed.

    Args:
        images: [B, 3, H, W] in [0, 1].
        kind: "mean" (the picture's own mean colour), "blur" (Gaussian, sigma a tenth of the side, so that no part
            keeps its shape) or "black".

    Returns:
        [B, 3, H, W] in [0, 1] on the same device.
    """
    if kind == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if kind == "black":
        return torch.zeros_like(images)
    if kind == "blur":
        sigma = max(images.shape[-2:]) / 10
        return _blur(images, sigma)
    raise ValueError(f"fill must be one of {', '.join(PLATES)}, got {kind!r}")


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur; wide ones on a reduced picture, which looks the same and costs little."""
    height, width = images.shape[-2:]
    reduce = max(1, int(sigma // 4))
    small = torch.nn.functional.interpolate(images, (max(1, height // reduce), max(1, width // reduce)), mode="area")
    reach = int(3 * sigma / reduce)
    # reflection needs a picture wider than the kernel reaches
    reach = max(1, min(reach, min(small.shape[-2:]) - 1))
    blurred = gaussian_blur(small, [2 * reach + 1] * 2, [sigma / reduce] * 2) if min(small.shape[-2:]) > 1 else small
    return torch.nn.functional.interpolate(blurred, (height, width), mode="bilinear", align_corners=False)
