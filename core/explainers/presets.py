"""Samplers by name, with their usual settings, for explainers that take any of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from core.classifier import Classifier
from core.explainer import Estimate
from core.explainers.integration import Reading, integrate, visited
from core.explainers.samplers import ExpectedPath, Identity, Noise, Path, Sampler
from core.explainers.suppression import FILL as SUPPRESSED_TO
from core.explainers.suppression import suppression
from core.job import Job
from core.parameters import Parameters, parameter

SAMPLERS = ("none", "suppression", "gaussian", "uniform", "path", "expected")
SIGMA = 0.15  # of noise
FILL = "mean"  # what paths begin from


def tolerance_parameter() -> Any:
    """Shared by all that sample at random."""
    return parameter(
        0.0,
        "Stop once the map's error is below this part of its mean; 0 always takes all samples",
        low=0.0, high=0.5, step=0.01,
    )  # fmt: skip


@dataclass(frozen=True)
class PresetParameters(Parameters):
    """Shared by those that take any of these samplers."""

    sampler: str = parameter("none", "Average over perturbed copies of the picture, drawn like this", choices=SAMPLERS)
    samples: int = parameter(16, "How many copies, where there is a sampler", low=1, high=500, step=1)
    tolerance: float = tolerance_parameter()


def preset(name: str, samples: int, references: Tensor | None = None) -> Sampler:
    """The sampler of that name; "none" is the picture itself, once, and "expected" draws from the references."""
    if name == "none":
        return Identity()
    if name == "suppression":
        return suppression(samples)
    if name == "path":
        return Path(samples)
    if name == "expected":
        return ExpectedPath(samples, references)
    return Noise(samples, SIGMA, name)


def _fill(name: str) -> str:
    """The plate that its samples begin from."""
    return SUPPRESSED_TO if name == "suppression" else FILL


def is_random_preset(name: str) -> bool:
    return preset(name, 1).random


def visited_by_preset(job: Job, count: int) -> Tensor | None:
    """`Explainer.visited` of those whose parameters hold a sampler's name."""
    p = job.parameters
    sampler = preset(p.sampler, p.samples, job.references)
    return None if p.sampler == "none" else visited(sampler, job, _fill(p.sampler), count)


def integrate_preset(classifier: Classifier, job: Job, reading: Reading) -> Iterator[Estimate]:
    """`integrate` with the sampler, the samples and the tolerance that the job's parameters name."""
    p = job.parameters
    sampler = preset(p.sampler, p.samples, job.references)
    return integrate(classifier, job, sampler, reading, _fill(p.sampler), p.tolerance)
