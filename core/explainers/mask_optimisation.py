"""Mask optimisation: for one picture, without training, the mask that does what a trained masker is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.classifier import Classifier, named
from core.explainer import Estimate, Explainer, register
from core.explainers.masking_objective import MaskingObjective, masked
from core.fills import PLATES, fill_plate
from core.job import Job
from core.learning import PAPER, PARTS
from core.parameters import Parameters, parameter
from core.runtime.interrupt import check

START = 2.0  # what the mask is the sigmoid of, everywhere: most of the picture is kept
RATE = 0.2  # Adam's
TOLD = 5  # steps between two running masks
TOGETHER = {"cpu": 4, "cuda": 64}  # pictures at once


@dataclass(frozen=True)
class MaskOptimisationParameters(Parameters):
    steps: int = parameter(100, "Steps of the optimisation, two passes there and back each", low=5, high=2000, step=5)
    cells: int = parameter(28, "How fine the mask is, along the shorter side", low=2, high=112, step=1)
    objective: str = parameter(
        "both", "What the mask must do: keep the class (in), take it away where it is left out (out), or both",
        choices=PARTS,
    )  # fmt: skip
    area_in: float = parameter(
        1.0, "How much a small mask counts where it keeps the class", low=0.0, high=100.0, step=0.5
    )
    area_out: float = parameter(
        PAPER["fixed"], "How much it counts where the rest has lost the class", low=0.0, high=100.0, step=0.5
    )
    smooth: float = parameter(1e-3, "Weight of the mask's total variation", low=0.0, high=1.0, step=1e-3)
    fill: str = parameter("grey", "What stands where the mask takes away", choices=PLATES)


@register
class MaskOptimisation(Explainer):
    """After Fong, Vedaldi: Interpretable Explanations of Black Boxes by Meaningful Perturbation (ICCV 2017).

    Gradient descent on one picture's coarse mask, enlarged smoothly, under the loss of a trained masker
    (`core.explainers.masking_objective`; Phang, Park, Geras 2020) instead of theirs: both what is kept and what is left
    out count. A relative of FIDO (Chang et al., ICLR 2019) and of extremal perturbations (Fong et al., ICCV 2019),
    without their distributions and fixed areas.
    """

    name = "mask-optimisation"
    title = "Mask optimisation"
    summary = "For this picture alone, the smallest smooth mask that keeps the class and whose rest has lost it."
    family = "removal"
    unit = "mask"
    parameters = MaskOptimisationParameters

    def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
        p: MaskOptimisationParameters = job.parameters
        height, width = job.frame
        cell = min(height, width) / p.cells
        grid = (max(1, round(height / cell)), max(1, round(width / cell)))
        values = torch.full((job.size, *job.frame), torch.sigmoid(torch.tensor(START)).item(), device=job.images.device)
        together = TOGETHER.get(classifier.device.type, TOGETHER["cpu"])
        forward, backward = [0] * job.size, [0] * job.size
        each = bool(p.objective != "out") + bool(p.objective != "in")
        for start in range(0, job.size, together):
            rows = range(start, min(start + together, job.size))
            search = _Search(classifier, job, list(rows), grid)
            for b in rows:
                forward[b] += 1
            for step in range(p.steps):
                check()
                search.step()
                for b in rows:
                    forward[b], backward[b] = forward[b] + each, backward[b] + each
                last = step + 1 == p.steps
                if last or (step + 1) % TOLD == 0:
                    values[start : rows[-1] + 1] = search.masks().detach()
                    partial = not (last and rows[-1] + 1 == job.size)
                    yield Estimate(values.clone(), list(forward), list(backward), partial=partial)


class _Search:
    """Some pictures' masks, each on its own way."""

    def __init__(self, classifier: Classifier, job: Job, rows: list[int], grid: tuple[int, int]) -> None:
        p: MaskOptimisationParameters = job.parameters
        self.classifier, self.p, self.frame = classifier, p, job.frame
        self.images, targets = job.images[rows], job.targets[rows].to(job.images.device)
        contrasts = None if job.contrasts is None else job.contrasts[rows].to(job.images.device)
        # against a contrast there are only those two classes, and the target is the first
        self.two = None if contrasts is None else torch.stack([targets, contrasts], 1)
        self.targets = targets if self.two is None else torch.zeros_like(targets)
        self.exclusive = self.two is not None or classifier.output == "softmax"
        self.plates = fill_plate(self.images, p.fill)
        self.objective = MaskingObjective(p.objective, p.area_in, p.area_out, p.smooth)
        self.raw = torch.full((len(rows), 1, *grid), START, device=self.images.device)
        self.first, self.second, self.count = torch.zeros_like(self.raw), self.raw.new_zeros(len(rows), 1, 1, 1), 0
        with torch.no_grad():
            # a class that is not the answer cannot be lost: it is only asked what keeps it
            self.right = named(self._logits(self.images), self.targets, self.exclusive)

    def _logits(self, images: Tensor) -> Tensor:
        """[B, C], of the classes in question."""
        logits = self.classifier.logits(images)
        return logits if self.two is None else logits.gather(1, self.two)

    def masks(self, raw: Tensor | None = None) -> Tensor:
        """[B, H, W]."""
        small = self.raw if raw is None else raw
        return F.interpolate(small.sigmoid(), self.frame, mode="bilinear", align_corners=False)[:, 0]

    def step(self) -> None:
        with torch.enable_grad():
            raw = self.raw.detach().requires_grad_(True)
            masks = self.masks(raw)
            inside = outside = None
            if self.objective.inside:
                inside = self._logits(masked(self.images, self.plates, masks))
            if self.objective.outside:
                outside = self._logits(masked(self.images, self.plates, 1 - masks))
            loss = self.objective.loss(masks, self.targets, self.right, inside, outside, self.exclusive)
            (gradient,) = torch.autograd.grad(loss.sum(), raw)
        # Adam, with one second moment a picture: one a cell would make steps of what is nothing but rounding
        self.count += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient.square().mean((1, 2, 3), keepdim=True)
        first, second = self.first / (1 - 0.9**self.count), self.second / (1 - 0.999**self.count)
        self.raw = self.raw - RATE * first / (second.sqrt() + 1e-8)
