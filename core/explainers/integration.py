"""The one loop of everything that averages over perturbed pictures.

z = finish(mean over samples n of read(x_n)),   x_n drawn by a sampler around the picture x

The gradient family reads input gradients; Grad-CAM and gradient-weighted attention read their own coarse maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.classifier import Classifier, Scale
from core.errors import UserError
from core.explainer import Estimate
from core.explainers.samplers import Draw, Identity, Sampler
from core.fills import fill_plate
from core.job import Job
from core.passes import Turns, in_turns

REDUCTIONS = ("absolute", "signed", "squared", "variance", "times input")
SIGNED_REDUCTIONS = ("signed", "times input")
CHECK_EVERY = 8  # samples between two looks at the tolerance
CHECK_FIRST = 16
ROUNDING = 1e-5  # of a colour in [0, 1], far below a step of 1/255
SATURATED = 0.01  # p (1 - p), the slope of the probability in its log-odds: below it the probability hardly moves


@dataclass(frozen=True)
class Samples:
    """Some drawn samples: K rows.

    images: [K, 3, H, W]. original: [K, 3, H, W], the pictures that they were drawn around. start: [K, 3, H, W], where
    their way to the picture begins. picture: [K], row in the job.
    """

    images: Tensor
    original: Tensor
    start: Tensor
    picture: Tensor

    @property
    def difference(self) -> Tensor:
        """[K, 3, H, W]: picture minus start. A start that repeats the picture (a flat plate, say) is off by rounding,
        which is no evidence."""
        difference = self.original - self.start
        return difference * (difference.abs() > ROUNDING)


@dataclass(frozen=True)
class Reading:
    """What is read off each sample, and what becomes of the mean.

    Attributes:
        read: -> ([K, c, h, w] float32, logits [K, C]).
        finish: (mean [B, c, h, w], mean of squares, samples so far [B, 1, 1, 1]) -> [B, h, w].
        squares: `finish` needs the mean of squares.
        error: the spread of what is read is the error of what is shown (not so for a variance).
        kind: for the chunk tuner; passes of one kind cost the same.
        backward: it goes back through the model.
    """

    read: Callable[[Samples], tuple[Tensor, Tensor]]
    finish: Callable[[Tensor, Tensor, Tensor], Tensor]
    squares: bool = False
    error: bool = True
    kind: str = "gradient"
    backward: bool = True


def input_gradient(classifier: Classifier, job: Job, reduction: str, scale: Scale) -> Reading:
    """The score's gradient in the picture, its channels made one value by the reduction.

    "absolute", "signed", "squared": the mean of |g|, g, g^2; "variance" of g over the samples (VarGrad); "times input":
    the mean of g * (picture - start), which is integrated gradients on a path, and with suppressed patches at a
    keep-rate from U(0, 1) an estimate of the patches' Shapley values (Owen 1972). Channels are added up.
    """

    def read(samples: Samples) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = samples.images.detach().requires_grad_(True)
            logits = classifier.logits(leaf)
            score = job.score(classifier, logits, samples.picture, scale)
            gradient = gradient_in(leaf, score, classifier)
        if reduction == "variance":
            return gradient, logits.detach()
        if reduction == "absolute":
            gradient = gradient.abs()
        elif reduction == "squared":
            gradient = gradient.square()
        elif reduction == "times input":
            gradient = gradient * samples.difference
        return gradient.sum(1, keepdim=True), logits.detach()

    if reduction == "variance":
        return Reading(read, _variance_over_channels, squares=True, error=False)
    return Reading(read, mean_only)


def gradient_in(leaf: Tensor, score: Tensor, classifier: Classifier) -> Tensor:
    """[K, 3, H, W]: how the scores [K] change with the pictures that they were computed from.

    Raises:
        UserError: the model lets no gradient through.
    """
    found = torch.autograd.grad(score.sum(), leaf, allow_unused=True)[0] if score.requires_grad else None
    if found is None:
        raise UserError(
            f"{classifier.name} lets no gradient through from its answer to the picture; choose an explainer that "
            "needs none, such as occlusion."
        )
    return found


def mean_only(mean: Tensor, squares: Tensor, n: Tensor) -> Tensor:
    """The usual `finish`: the mean of what was read in one channel."""
    return mean[:, 0]


def _variance_over_channels(mean: Tensor, squares: Tensor, n: Tensor) -> Tensor:
    return _variance(mean, squares, n).sum(1)


def _variance(mean: Tensor, squares: Tensor, n: Tensor) -> Tensor:
    """Unbiased, from sums; 0 after a single sample."""
    return (squares - mean.square()).clamp(min=0) * n / (n - 1).clamp(min=1)


def integrate(
    classifier: Classifier, job: Job, sampler: Sampler, reading: Reading, fill: str, tolerance: float = 0.0
) -> Iterator[Estimate]:
    """Samples of all pictures in chunks, sums in float32, nothing held per sample.

    Sample-major: every picture gets its n-th sample before any gets its next, so all maps sharpen together. With a
    tolerance, a picture is done as soon as its mean standard error is below that part of its mean absolute value; this
    is looked at after fixed numbers of samples, so that the chunk cannot change a map.

    Raises:
        UserError: the model lets no gradient through.
    """
    count, device = job.size, job.images.device
    plates = fill_plate(job.images, fill)
    weights = torch.tensor(sampler.weights(), dtype=torch.float32, device=device)
    with_error = reading.error and sampler.random and sampler.samples > 1
    sums = squares = torch.zeros(0)  # their shape is known after the first sample
    weight = torch.zeros(count, 1, 1, 1, device=device)
    taken = torch.zeros(count, dtype=torch.long, device=device)
    saturated = torch.zeros(count, device=device)
    active, done = torch.arange(count, device=device), 0

    def look(picture: Tensor, indices: Sequence[int]) -> None:
        nonlocal sums, squares
        samples = drawn(sampler, job, plates, picture, indices)
        values, logits = reading.read(samples)
        if not len(sums):
            sums = torch.zeros(count, *values.shape[1:], device=device)
            squares = torch.zeros_like(sums) if with_error or reading.squares else squares
        share = weights[list(indices)].view(-1, 1, 1, 1)
        sums.index_add_(0, picture, values * share)
        weight.index_add_(0, picture, share)
        if len(squares):
            squares.index_add_(0, picture, values.square())
        p = classifier.probabilities(logits).gather(1, job.targets[picture][:, None])[:, 0]
        saturated.index_add_(0, picture, (p * (1 - p) < SATURATED) * share.flatten())
        taken.index_add_(0, picture, torch.ones_like(picture))

    def estimate(partial: bool) -> Estimate:
        n = taken.view(-1, 1, 1, 1).clamp(min=1)
        mean = sums / weight.clamp(min=1e-12)
        mean_square = squares / n if len(squares) else mean
        error = None
        if with_error:
            spread = (_variance(mean, mean_square, n) / n).sqrt().sum(1)
            error = _to_frame(torch.where(n[:, 0] > 1, spread, float("inf")), job.frame)
        passes = taken.tolist()
        return Estimate(
            values=_to_frame(reading.finish(mean, mean_square, n), job.frame),
            standard_error=error,
            forward_passes=passes,
            backward_passes=passes if reading.backward else [0] * count,
            partial=partial,
            saturated=None if unmoved else (saturated / weight.flatten().clamp(min=1e-12)).tolist(),
            converged=converged.tolist() if wanted else None,
        )

    unmoved = isinstance(sampler, Identity)  # there are no samples of which a share could be saturated
    wanted = tolerance > 0 and reading.error and sampler.random
    adaptive = wanted and with_error  # one sample never settles
    converged = torch.zeros(count, dtype=torch.bool, device=device)
    shape = tuple(job.images.shape[1:])
    while done < sampler.samples and len(active):
        upto = sampler.samples
        if adaptive:
            upto = min(upto, CHECK_FIRST if done == 0 else done + CHECK_EVERY)
        turns = Turns.of(active, range(done, upto))
        for part in in_turns(classifier, shape, turns, look, reading.kind):
            if part < len(turns):
                yield estimate(partial=True)
        done = upto
        if adaptive:
            now = estimate(partial=True)
            assert now.standard_error is not None
            relative = now.standard_error.mean((1, 2)) / now.values.abs().mean((1, 2))
            converged |= relative <= tolerance
            active = active[(relative > tolerance)[active]]  # not a number: an empty or broken map never gets better
        yield estimate(partial=done < sampler.samples and len(active) > 0)


def drawn(sampler: Sampler, job: Job, plates: Tensor, picture: Tensor, indices: Sequence[int]) -> Samples:
    """Sample `indices[k]` of the job's picture `picture[k]`."""
    seeds = [job.seeds[b] for b in picture.tolist()]
    images = job.images[picture]
    with torch.no_grad():
        draw = Draw(images, plates[picture], seeds, indices)
        start = sampler.begin(draw)
        visited = sampler.visit(Draw(images, start, seeds, indices))
    return Samples(visited, images, start, picture)


def visited(sampler: Sampler, job: Job, fill: str, count: int) -> Tensor:
    """[B, N, 3, H, W]: the first N <= count samples of every picture."""
    plates, picture = fill_plate(job.images, fill), torch.arange(job.size, device=job.images.device)
    numbers = range(min(count, sampler.samples))
    return torch.stack([drawn(sampler, job, plates, picture, [n] * job.size).images for n in numbers], dim=1)


def _to_frame(values: Tensor, frame: tuple[int, int]) -> Tensor:
    """[B, h, w] -> [B, H, W], bilinearly where a reading is coarse; always new memory."""
    if values.shape[-2:] == frame:
        return values.clone()
    return F.interpolate(values.unsqueeze(1), frame, mode="bilinear", align_corners=False)[:, 0]
