"""One lesson through a SAM: encode, answer, click on what is wrong, answer again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from core.demo.sam_lessons import Lesson
from core.demo.sam_loss import answer_loss
from core.segments.compact_encoder import GRID

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


def encode(sam: Sam, images: Tensor) -> Tensor:
    """[B, 3, s, s] in [0, 255] -> [B, C, g, g], for any side of whole strides."""
    return sam.image_encoder((images - sam.get_buffer("pixel_mean")) / sam.get_buffer("pixel_std"))


def positions(sam: Sam, grid: int, place: tuple[int, int]) -> Tensor:
    """[1, C, grid, grid]: what the mask decoder is told of where a window of the whole input lies.

    Args:
        place: (row, column) of the window's first place in the grid of the whole input.
    """
    row, column = place
    return sam.prompt_encoder.get_dense_pe()[:, :, row : row + grid, column : column + grid]


def answer(
    sam: Sam,
    embedding: Tensor,
    points: Tensor,
    marks: Tensor,
    boxes: Tensor | None,
    previous: Tensor | None = None,
    place: tuple[int, int] = (0, 0),
) -> tuple[Tensor, Tensor]:
    """All outputs for the prompts of one picture: logits [N, 4, 4g, 4g] and guessed quality [N, 4].

    Args:
        embedding: [1, C, g, g]; points, marks, boxes: as in Lesson, in pixels.
        previous: logits [N, 1, 4g, 4g] of the answer that the last click corrects.
        place: where in the whole input the picture lies, as of `positions`.
    """
    grid = embedding.shape[-1]
    corner = torch.tensor([place[1] * GRID, place[0] * GRID])
    with torch.autocast(embedding.device.type, enabled=False):  # a position needs more digits than bfloat16 has
        framed = None if boxes is None else boxes + corner.repeat(2)
        sparse, dense = sam.prompt_encoder((points + corner, marks), framed, previous)
        dense = dense[:, :, :grid, :grid]
    return sam.mask_decoder.predict_masks(embedding, positions(sam, grid, place), sparse, dense)


@torch.no_grad()
def correcting_click(
    logits: Tensor, wanted: Tensor, side: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """One click a prompt on a random pixel that the answer has wrong.

    Args:
        logits, wanted: [N, h, h]; side: of the input in pixels.

    Returns:
        points [N, 1, 2] in pixels of the input, and marks [N, 1]; -1 where nothing is wrong.
    """
    target = wanted >= 0.5
    wrong = ((logits > 0) != target).flatten(1)
    at = torch.multinomial(wrong.float() + 1e-9, 1, generator=generator)
    width = wanted.shape[-1]
    points = (torch.stack([at % width, at // width], -1) + 0.5) * (side / width) - 0.5
    marks = target.flatten(1).gather(1, at).long()
    return points, torch.where(wrong.gather(1, at), marks, -1)


def lesson_loss(
    sam: Sam,
    embedding: Tensor,
    given: Lesson,
    corrections: tuple[float, ...],
    generator: torch.Generator,
    balance: float = 0.0,
    place: tuple[int, int] = (0, 0),
) -> tuple[Tensor, Tensor]:
    """The mean loss over the first answers and their corrections; and, [N], the IoU of the first ones.

    Args:
        embedding: [1, C, g, g] of the lesson's picture.
        corrections: chances of 0, 1, 2, ... rounds of correcting clicks.
        balance: as of `mask_loss`; place: as of `positions`.
    """
    points, marks = torch.from_numpy(given.points), torch.from_numpy(given.marks)
    boxes = None if given.boxes is None else torch.from_numpy(given.boxes)
    targets, meant = targets_of(given), torch.from_numpy(given.meant)
    wanted = targets[torch.arange(len(meant)), meant]
    logits, quality = answer(sam, embedding, points, marks, boxes, place=place)
    loss, first = answer_loss(logits, quality, targets, meant, balance)
    losses = [loss]
    rounds = int(torch.multinomial(torch.tensor(corrections), 1, generator=generator))
    keeps_mask = float(torch.rand(1, generator=generator)) < 0.5
    # once corrected, a prompt means one thing
    alone = torch.cat([wanted[:, None], torch.zeros_like(targets[:, 1:])], 1)
    for _ in range(rounds):
        single = logits[:, 0].detach().float()
        point, mark = correcting_click(single, wanted, given.image.shape[-1], generator)
        points, marks = torch.cat([points, point], 1), torch.cat([marks, mark], 1)
        logits, quality = answer(sam, embedding, points, marks, boxes, single[:, None] if keeps_mask else None, place)
        losses.append(answer_loss(logits, quality, alone, torch.zeros_like(meant), balance)[0])
    return torch.stack(losses).mean(), first


def targets_of(given: Lesson) -> Tensor:
    """[N, MEANINGS, side / 2, side / 2] float32 in [0, 1]."""
    return torch.from_numpy(given.targets).float() / 255


def images_of(lessons: list[Lesson]) -> Tensor:
    """[B, 3, side, side] float32 in [0, 255]."""
    return torch.from_numpy(np.stack([given.image for given in lessons])).float()
