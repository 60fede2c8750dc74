"""Salvage for one picture, without training: the values themselves are fitted to what the classifier says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.classifier import Classifier
from core.explainer import Estimate, Explainer, Players, register
from core.explainers.games.players import Players as Cut
from core.explainers.games.players import check_grid, grid_parameter, players_of, players_parameter
from core.explainers.learned.objective import Objective
from core.explainers.learned.salvage import explained_values
from core.explainers.learned.subsets import Likelihood, drawn
from core.fills import PLATES, fill_plate
from core.job import Job
from core.learning import SAMPLERS
from core.parameters import Parameters, parameter
from core.runtime.chunks import FixedChunk, chunked
from core.runtime.randomness import generator

ROUNDS = 4  # of subsets; the first by the kernel, the others by what was learned so far
CHUNK = {"cpu": 8, "cuda": 128}
RIDGE = 1e-4  # of squared values: what so few subsets leave open stays at equal shares
ITERATIONS = 60


@dataclass(frozen=True)
class SingleParameters(Parameters):
    samples: int = parameter(512, "How many subsets of the players are tried", low=4, high=8192, step=4)
    regions: str = players_parameter()
    grid: int = grid_parameter(7)
    fill: str = parameter("mean", "What stands where players are absent", choices=PLATES)
    sampler: str = parameter("informed", "How subsets are drawn", choices=SAMPLERS)


@register
class SalvageSingle(Explainer):
    """A Shapley-distribution (see `salvage`) fitted to one picture, all classes at once.

    This project's own use of the method. What the empty and the full picture get is met exactly; between them the KL
    divergence from the classifier's distributions is made small, which is a convex problem. Each class's values are
    less the mean over classes, so that two classes' difference sums to the change of their log-odds.
    """

    name = "salvage-single"
    title = "Salvage, one picture"
    summary = "As Salvage, without training: values that predict what the classifier says of this masked picture."
    family = "removal"
    parameters = SingleParameters
    signed = True
    unit = "density"
    random = True

    def check_job(self, classifier: Classifier, job: Job) -> None:
        check_grid(job, job.parameters.regions, job.parameters.grid)

    def run(self, classifier: Classifier, job: Job, state: Any) -> Iterator[Estimate]:
        p: SingleParameters = job.parameters
        players = players_of(job, p.regions, p.grid)
        plates, regions = fill_plate(job.images, p.fill), players.regions()
        values = torch.zeros(job.size, max(players.counts), len(classifier.labels), dtype=torch.float64)
        passes = [0] * job.size
        for b in range(job.size):
            fit = _Fit(classifier, job, players, plates, b)
            for last in fit.rounds(p.samples, p.sampler):
                values[b, : players.counts[b]] = fit.values
                passes[b] = fit.passes
                own = explained_values(values, job).float()
                yield Estimate(
                    values=players.laid(own),
                    forward_passes=list(passes),
                    backward_passes=[0] * job.size,
                    partial=not (last and b == job.size - 1),
                    players=Players(own),
                    regions=regions,
                )


class _Fit:
    """One picture's subsets so far, and the values that predict them best."""

    def __init__(self, classifier: Classifier, job: Job, players: Cut, plates: Tensor, b: int) -> None:
        self.classifier, self.job, self.players, self.plates, self.b = classifier, job, players, plates, b
        self.count = players.counts[b]
        self.objective = Objective(sigmoid=classifier.output == "sigmoid")
        self.passes = 0
        ends = self._answers(torch.tensor([[False], [True]]).expand(2, self.count))
        self.null, self.whole = ends
        self.present = torch.zeros(0, self.count, dtype=torch.bool)
        self.wanted = torch.zeros(0, ends.shape[1], dtype=torch.float64)
        self.free = torch.zeros(self.count, ends.shape[1], dtype=torch.float64)

    @property
    def values(self) -> Tensor:
        """[P, C], which sum to the change from the empty to the full picture."""
        return (self.whole - self.null) / self.count + self.free - self.free.mean(0)

    def rounds(self, samples: int, sampler: str) -> Iterator[bool]:
        """Draw, ask, fit; True after the last round."""
        if self.count < 2:
            yield True
            return
        target = self.whole.argmax().view(1)
        each = max(2, samples // ROUNDS // 2 * 2)
        for number in range(ROUNDS):
            known = Likelihood(self.values[None], self.null, target, 1.0, self.objective.sigmoid)
            name = "shapley" if number == 0 and sampler in ("informed", "gumbel") else sampler
            numbers = generator(self.job.seeds[self.b], "single", number)
            present = drawn(name, torch.ones(1, self.count, dtype=torch.bool), known, each, numbers).present[0]
            self.present = torch.cat([self.present, present])
            self.wanted = torch.cat([self.wanted, self._answers(present)])
            self._solve()
            yield number == ROUNDS - 1

    def _answers(self, present: Tensor) -> Tensor:
        """[M, P] -> [M, C] float64 on the CPU: log-odds less their mean over classes (sigmoid: each class's own)."""
        device = self.job.images.device
        shown = torch.zeros(len(present), max(self.players.counts), device=device)
        shown[:, : self.count] = present.to(device, torch.float32)
        found = torch.zeros(len(present), len(self.classifier.labels), device=device)

        def look(start: int, end: int) -> None:
            rows = torch.full((end - start,), self.b, device=device)
            kept = self.players.kept(rows, shown[start:end])[:, None]
            with torch.no_grad():
                found[start:end] = self.classifier.logits(torch.lerp(self.plates[rows], self.job.images[rows], kept))

        # always the same chunks: their last digits decide which subsets are drawn next
        for _ in chunked(FixedChunk(CHUNK.get(device.type, 32)), device, len(present), look):
            pass
        self.passes += len(present)
        logits = found.double().cpu()
        return logits if self.objective.sigmoid else logits - logits.mean(1, keepdim=True)

    def _solve(self) -> None:
        probabilities = self.objective.probabilities(self.wanted)
        free = self.free.clone().requires_grad_(True)
        steps = torch.optim.LBFGS([free], max_iter=ITERATIONS, tolerance_grad=1e-9, line_search_fn="strong_wolfe")
        present = self.present.double()

        def loss() -> Tensor:
            steps.zero_grad()
            values = (self.whole - self.null) / self.count + free - free.mean(0)
            found = self.objective.loss(self.null + present @ values, probabilities).mean()
            total = found + RIDGE * free.square().mean()
            total.backward()
            return total

        with torch.enable_grad():
            steps.step(loss)
        self.free = (free - free.mean(0)).detach()
