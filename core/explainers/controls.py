"""Controls: maps that know nothing of the classifier. An explainer that scores no better has explained nothing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.classifier import Classifier
from core.explainer import Estimate, Explainer, register
from core.job import Job
from core.runtime.randomness import uniform

NOISE_CELLS = 8  # along the shorter side
CENTRE_WIDTH = 0.25  # standard deviation, as a part of each side


def luminance(images: Tensor) -> Tensor:
    """[B, 3, H, W] in [0, 1] -> [B, H, W] in [0, 1]: brightness as seen (Rec. 601)."""
    return (images * images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)


class Control(Explainer):
    """Shared by the controls: one map, no passes, the same for every target; an intensity, as no score was asked."""

    family = "control"
    class_specific = False

    @abstractmethod
    def maps(self, job: Job) -> Tensor:
        """[B, H, W], nowhere negative."""

    def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
        none = [0] * job.size
        yield Estimate(self.maps(job), none, none)


@register
class RandomControl(Control):
    """Smooth noise in [0, 1]."""

    name = "random"
    title = "Random (control)"
    summary = "Smooth noise that has nothing to do with the picture: what chance looks like."
    random = True

    def maps(self, job: Job) -> Tensor:
        height, width = job.frame
        cell = min(height, width) / NOISE_CELLS
        grid = (round(height / cell) + 1, round(width / cell) + 1)
        noise = uniform((1, *grid), job.seeds, (0,) * job.size, job.images.device, salt="control")
        return F.interpolate(noise, job.frame, mode="bilinear", align_corners=True)[:, 0]


@register
class EdgeControl(Control):
    """Sobel gradient magnitude of the luminance, per pixel. Adebayo et al.: Sanity Checks for Saliency Maps (2018)."""

    name = "edges"
    to_beat = True
    title = "Edges (control)"
    summary = "An edge detector: maps that look like this may show the picture instead of the classifier."

    def maps(self, job: Job) -> Tensor:
        grey = luminance(job.images).unsqueeze(1)
        smooth, slope = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)
        down = torch.outer(job.images.new_tensor(slope), job.images.new_tensor(smooth)) / 8
        kernels = torch.stack([down, down.T]).unsqueeze(1)
        return F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels).square().sum(1).sqrt()


@register
class CentreControl(Control):
    """A Gaussian bump: photographers put what matters in the middle."""

    name = "centre"
    title = "Centre (control)"
    summary = "A bump in the middle of the picture, where the object mostly is."

    def maps(self, job: Job) -> Tensor:
        rows, columns = (_bump(side, job.images.device) for side in job.frame)
        return (rows[:, None] * columns[None, :]).expand(job.size, -1, -1).clone()


def _bump(side: int, device: torch.device) -> Tensor:
    """[side]: a Gaussian around the middle, 1 at its top."""
    position = (torch.arange(side, device=device) + 0.5) / side - 0.5
    return torch.exp(-0.5 * (position / CENTRE_WIDTH).square())
