"""Do perturbed pictures still have the spectrum of the natural one? A property of a sampler, not of a map.

Luo, McDermott, O'Riordan: Sampling Matters in Explanations (arXiv 2506.19442) ask that the pictures an explainer visits
follow the distribution of natural pictures. How they measure it is not public; this is this project's own measure.
"""

from __future__ import annotations

import torch
from torch import Tensor


def spectrum_distance(clean: Tensor, samples: Tensor) -> Tensor:
    """How far the shape of the samples' power spectra is from the clean picture's; 0 is the same shape.

    Power over all directions and channels as a function of spatial frequency, scaled to the sum 1, so that brightness
    contrast does not count; root mean square difference of its logarithm over frequencies and samples.

    Args:
        clean: [B, 3, H, W].
        samples: [B, N, 3, H, W], perturbed copies of each.

    Returns:
        [B] float32, in nats.
    """
    natural, total = _shape(radial_power(clean)), torch.zeros(len(clean), dtype=torch.float64, device=clean.device)
    for n in range(samples.shape[1]):  # one at a time: spectra are as large as pictures
        total += (_shape(radial_power(samples[:, n])) - natural).square().mean(1)
    return (total / samples.shape[1]).sqrt().float()


def radial_power(images: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, R] float64: mean power in rings of one cycle along the shorter side, up to Nyquist.

    Frequencies above Nyquist, which only diagonals have, and the mean colour are left out.
    """
    height, width = images.shape[-2:]
    rings = min(height, width) // 2
    spectrum = torch.fft.rfft2(images.double()).abs().square().mean(1).flatten(1)
    down = torch.fft.fftfreq(height, device=images.device)
    along = torch.fft.rfftfreq(width, device=images.device)
    cycles = (down.view(-1, 1).square() + along.square()).sqrt().flatten() * min(height, width)
    ring = cycles.round().long()
    inside = (ring >= 1) & (ring <= rings)
    sums = torch.zeros(len(images), rings + 1, dtype=spectrum.dtype, device=images.device)
    sums.index_add_(1, ring[inside], spectrum[:, inside])
    counts = torch.bincount(ring[inside], minlength=rings + 1)
    return sums[:, 1:] / counts[1:]


def _shape(power: Tensor) -> Tensor:
    """Logarithm of the part of the power that each ring has."""
    power = power.clamp(min=1e-30)
    return (power / power.sum(1, keepdim=True)).log()
