"""One lesson through a SAM: encode, answer, click on what is wrong, answer again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.demo.sam_lessons import Lesson
from core.demo.sam_loss import answer_loss

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

MASKS_PER_TOKEN = 4  # a SAM's masks are that much finer than its grid of tokens


def encode(sam: Sam, images: Tensor) -> Tensor:
    """[B, 3, s, s] in [0, 255] -> [B, C, g, g], for any side of whole patches: positions are interpolated."""
    encoder = sam.image_encoder
    x = encoder.patch_embed((images - sam.get_buffer("pixel_mean")) / sam.get_buffer("pixel_std"))
    positions = encoder.pos_embed
    assert positions is not None
    if positions.shape[1:3] != x.shape[1:3]:
        size = (x.shape[1], x.shape[2])
        positions = F.interpolate(positions.permute(0, 3, 1, 2), size, mode="bilinear", antialias=True)
        positions = positions.permute(0, 2, 3, 1)
    x = x + positions
    for block in encoder.blocks:
        x = block(x)
    return encoder.neck(x.permute(0, 3, 1, 2))


def answer(
    sam: Sam, embedding: Tensor, points: Tensor, marks: Tensor, boxes: Tensor | None, previous: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """All outputs for the prompts of one picture: logits [N, 4, 4g, 4g] and guessed quality [N, 4].

    Args:
        embedding: [1, C, g, g]; points, marks, boxes: as in Lesson, in pixels of the full side whatever g is.
        previous: logits [N, 1, 4g, 4g] of the answer that the last click corrects.
    """
    prompts = sam.prompt_encoder
    grid = (embedding.shape[-2], embedding.shape[-1])
    with torch.autocast(embedding.device.type, enabled=False):  # a position needs more digits than bfloat16 has
        sparse, dense = prompts((points, marks), boxes, previous)
        dense = dense[:, :, : grid[0], : grid[1]]
        where = prompts.pe_layer(grid)[None]
    return sam.mask_decoder.predict_masks(embedding, where, sparse, dense)


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
) -> tuple[Tensor, Tensor]:
    """The mean loss over the first answers and their corrections; and, [N], the IoU of the first ones.

    Args:
        embedding: [1, C, g, g] of the lesson's picture.
        corrections: chances of 0, 1, 2, ... rounds of correcting clicks.
        balance: as of `mask_loss`.
    """
    points, marks = torch.from_numpy(given.points), torch.from_numpy(given.marks)
    boxes = None if given.boxes is None else torch.from_numpy(given.boxes)
    targets, meant = targets_at(given, embedding.shape[-1] * MASKS_PER_TOKEN), torch.from_numpy(given.meant)
    wanted = targets[torch.arange(len(meant)), meant]
    logits, quality = answer(sam, embedding, points, marks, boxes)
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
        logits, quality = answer(sam, embedding, points, marks, boxes, single[:, None] if keeps_mask else None)
        losses.append(answer_loss(logits, quality, alone, torch.zeros_like(meant), balance)[0])
    return torch.stack(losses).mean(), first


def targets_at(given: Lesson, side: int) -> Tensor:
    """[N, MEANINGS, side, side] float32 in [0, 1]."""
    targets = torch.from_numpy(given.targets).float() / 255
    return targets if targets.shape[-1] == side else F.adaptive_avg_pool2d(targets, side)


def images_at(lessons: list[Lesson], side: int) -> Tensor:
    """[B, 3, side, side] float32 in [0, 255]."""
    images = torch.from_numpy(np.stack([given.image for given in lessons])).float()
    return images if images.shape[-1] == side else F.adaptive_avg_pool2d(images, side)
