"""Samplers by name, with their usual settings, for explainers that take any of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from core.attribution import Job
from core.explainers.integration import visited
from core.explainers.samplers import Identity, Noise, Path, Sampler
from core.explainers.suppression import FILL as SUPPRESSED_TO
from core.explainers.suppression import suppression
from core.parameters import parameter

SAMPLERS = ("none", "suppression", "gaussian", "uniform", "path")
SIGMA = 0.15  # of noise
FILL = "mean"  # what paths begin from


def sampler_parameter() -> Any:
    return parameter("none", "Average over perturbed copies of the picture, drawn like this", choices=SAMPLERS)


def samples_parameter() -> Any:
    return parameter(16, "How many copies, where there is a sampler", low=1, high=500, step=1)


def preset(name: str, samples: int) -> Sampler:
    """The sampler of that name; "none" is the picture itself, once."""
    if name == "none":
        return Identity()
    if name == "suppression":
        return suppression(samples)
    if name == "path":
        return Path(samples)
    return Noise(samples, SIGMA, name)


def preset_fill(name: str) -> str:
    """The plate that its samples begin from."""
    return SUPPRESSED_TO if name == "suppression" else FILL


def is_random_preset(name: str) -> bool:
    return preset(name, 1).random


def visited_by_preset(job: Job, count: int) -> Tensor | None:
    """`Explainer.visited` of those whose parameters hold a sampler's name."""
    p = job.parameters
    return None if p.sampler == "none" else visited(preset(p.sampler, p.samples), job, preset_fill(p.sampler), count)
