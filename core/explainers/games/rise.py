"""Random masks, soft and shifted: how well the target does where a pixel is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from core.classifier import Classifier, Scale
from core.explainer import Estimate, Explainer, register
from core.explainers.games.game import AGAIN, scale_parameter
from core.fills import PLATES, fill_plate
from core.job import Job
from core.parameters import Parameters, parameter
from core.passes import Turns, in_turns
from core.runtime.randomness import uniform


@dataclass(frozen=True)
class RiseParameters(Parameters):
    samples: int = parameter(1000, "How many masks are tried", low=2, high=8192, step=2)
    cells: int = parameter(7, "Cells of a mask along each side", low=2, high=16, step=1)
    keep: float = parameter(0.5, "Part of the cells that stay", low=0.05, high=0.95, step=0.05)
    fill: str = parameter("mean", "What stands where the picture is hidden", choices=PLATES)
    scale: str = scale_parameter("probability")
    centred: bool = parameter(
        True, "Less the mean score over all masks, so that 0 is a pixel that makes no difference; off: as in the paper"
    )


def rise_masks(
    frame: tuple[int, int], cells: int, keep: float, seeds: Sequence[int], numbers: Sequence[int], device: torch.device
) -> Tensor:
    """[K, H, W] in [0, 1]: coarse grids of which cells stay, enlarged smoothly, each shifted by less than a cell.

    Row k from (seeds[k], numbers[k]) alone.
    """
    numbers_drawn = uniform((cells * cells + 2,), seeds, numbers, device, salt="rise")
    grid = (numbers_drawn[:, 2:] < keep).float().view(-1, 1, cells, cells)
    axes = []
    for place, side in enumerate(frame):
        cell = -(-side // cells)
        shift = (numbers_drawn[:, place] * cell).floor()
        # as the crop at that shift of the grid enlarged to cells + 1 cells, pixel centres in the grid's [-1, 1]
        position = (torch.arange(side, device=device) + shift[:, None] + 0.5) / ((cells + 1) * cell)
        axes.append(2 * position - 1)
    down, along = axes
    height, width = frame
    places = torch.stack([along[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], -1)
    return F.grid_sample(grid, places, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]


@register
class Rise(Explainer):
    """Petsiuk, Das, Saenko: RISE (BMVC 2018): masks of cells that stay with a probability, enlarged, shifted at random.

    A pixel's value is the mean score over masks, weighted by how much of the pixel they show. The paper divides by the
    masks' expected sum, here (with `centred`) by their actual one, and the mean over all masks is taken off, which
    changes no pixel's rank but where masks happened to be few.
    """

    name = "rise"
    title = "RISE"
    summary = "Random parts of the picture are shown; where the target does well, what was shown is marked."
    family = "removal"
    parameters = RiseParameters
    signed = True
    random = True

    def run(self, classifier: Classifier, job: Job, state: object) -> Iterator[Estimate]:
        p: RiseParameters = job.parameters
        scale = cast(Scale, p.scale)
        plates, device = fill_plate(job.images, p.fill), job.images.device
        sums = torch.zeros(job.size, 6, *job.frame, device=device)  # of m, mf, mff, and of mm, mmf, mmff
        scores = torch.zeros(job.size, 3, device=device)  # of 1, f, ff
        turns = Turns.up_to([p.samples] * job.size, device)

        def look(pictures: Tensor, numbers: Sequence[int]) -> None:
            rows = pictures.tolist()
            masks = rise_masks(job.frame, p.cells, p.keep, [job.seeds[b] for b in rows], numbers, device)
            shown = torch.lerp(plates[pictures], job.images[pictures], masks[:, None])
            with torch.no_grad():
                score = job.score(classifier, classifier.logits(shown), pictures, scale)
            powers = torch.stack([torch.ones_like(score), score, score.square()])  # [3, K]
            added = {b: _added(powers[:, pictures == b], masks[pictures == b]) for b in set(rows)}
            for b, more in added.items():
                sums[b] += more
                scores[b] += powers[:, pictures == b].sum(1)

        made, last = 0, None
        for done in in_turns(classifier, tuple(job.images.shape[1:]), turns, look):
            if last is None or done == len(turns) or done >= AGAIN * made:
                made, last = done, _estimate(sums, scores, p)
            yield Estimate(last[0], turns.passed(done, job.size), [0] * job.size, done < len(turns), last[1])


def _added(powers: Tensor, masks: Tensor) -> Tensor:
    """[3, K], [K, H, W] -> [6, H, W]."""
    flat = masks.flatten(1)
    return torch.cat([powers @ flat, powers @ flat.square()]).view(6, *masks.shape[1:])


def _estimate(sums: Tensor, scores: Tensor, p: RiseParameters) -> tuple[Tensor, Tensor]:
    """Values and their standard errors, [B, H, W] each: those of a ratio of two means, or of a mean.

    Errors of less than two masks are NaN.
    """
    shown, shown_f, shown_ff, twice, twice_f, twice_ff = sums.unbind(1)
    count, total, squares = scores[..., None, None].unbind(1)
    few = torch.where(count > 1, count / (count - 1), float("nan"))
    count = count.clamp(min=1)
    if not p.centred:
        values = shown_f / (count * p.keep)
        spread = twice_ff / p.keep**2 - count * values.square()
        return values, (spread.clamp(min=0) * few).sqrt() / count
    seen = shown.clamp(min=1e-6)
    inside, mean = shown_f / seen, total / count
    values = torch.where(shown > 1e-6, inside - mean, 0.0)
    # of m (f - inside) / mean(m) - (f - mean), whose mean is 0
    scale = count / seen
    own = scale.square() * (twice_ff - 2 * inside * twice_f + inside.square() * twice)
    both = scale * (shown_ff - (inside + mean) * shown_f + inside * mean * shown)
    rest = squares - count * mean.square()
    spread = own - 2 * both + rest
    return values, (spread.clamp(min=0) * few).sqrt() / count
