"""Samplers by name, with their usual settings, for explainers that take any of them."""

from __future__ import annotations

from core.explainers.samplers import Identity, Noise, Path, Sampler
from core.explainers.suppression import Suppression

SAMPLERS = ("none", "suppression", "gaussian", "uniform", "path")
SIGMA = 0.15  # of noise
FILL = "mean"


def preset(name: str, samples: int) -> Sampler:
    """The sampler of that name; "none" is the picture itself, once."""
    if name == "none":
        return Identity()
    if name == "suppression":
        return Suppression(samples)
    if name == "path":
        return Path(samples)
    return Noise(samples, SIGMA, name)
