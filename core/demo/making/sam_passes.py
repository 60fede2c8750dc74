"""One lesson through a SAM: encode, answer, click on what is wrong, answer again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from core.demo.making.sam_lessons import Lesson
from core.demo.making.sam_loss import answer_loss
from core.segments.sam.compact_encoder import GRID

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


def encode(sam: Sam, images: Tensor) -> Tensor:
    """[B, 3, s, s] in [0, 255] -> [B, C, g, g], for any side of whole strides."""
    return sam.image_encoder((images - sam.get_buffer("pixel_mean")) / sam.get_buffer("pixel_std"))


@dataclass(frozen=True)
class Window:
    """Where in the whole input a smaller picture is said to lie.

    Attributes:
        row, column: its first place in the grid of the whole input.
        stretch: pixels of the whole input a side that one of its pixels stands for: 1 for a window cut out of the
            input, more for a picture of the whole at a smaller side.
    """

    row: int = 0
    column: int = 0
    stretch: int = 1

    def points(self, points: Tensor) -> Tensor:
        """[..., 2] (x, y) in pixels of the picture -> in pixels of the whole input."""
        return (points + 0.5) * self.stretch - 0.5 + GRID * torch.tensor([self.column, self.row], device=points.device)


WHOLE = Window()


def positions(sam: Sam, grid: int, window: Window) -> Tensor:
    """[1, C, grid, grid]: what the mask decoder is told of where a picture's places lie."""
    middles = (torch.arange(grid, device=sam.device) + 0.5) * GRID - 0.5
    points = window.points(torch.stack(torch.meshgrid(middles, middles, indexing="xy"), -1)) + 0.5
    side = sam.image_encoder.img_size
    with torch.autocast(sam.device.type, enabled=False):  # a position needs more digits than bfloat16 has
        return sam.prompt_encoder.pe_layer.forward_with_coords(points, (side, side)).permute(2, 0, 1)[None]


def answer(
    sam: Sam,
    embeddings: Tensor,
    points: Tensor,
    marks: Tensor,
    boxes: Tensor | None,
    previous: Tensor | None = None,
    window: Window = WHOLE,
) -> tuple[Tensor, Tensor]:
    """All outputs for N prompts about each of B pictures: logits [B * N, 4, 4g, 4g], guessed quality [B * N, 4].

    It is the package's `MaskDecoder.predict_masks`, which takes one picture, for several at once.

    Args:
        embeddings: [B, C, g, g]; points [B * N, K, 2], marks [B * N, K] and boxes [B * N, 4]: as in Lesson, in pixels.
        previous: logits [B * N, 1, 4g, 4g] of the answer that the last click corrects.
        window: where in the whole input the pictures lie.
    """
    decoder, grid, count = sam.mask_decoder, embeddings.shape[-1], len(points)
    with torch.autocast(embeddings.device.type, enabled=False):  # as for positions
        framed = None if boxes is None else window.points(boxes.unflatten(1, (2, 2))).flatten(1)
        clicks = (window.points(points), marks) if points.shape[1] else None
        sparse, dense = sam.prompt_encoder(clicks, framed, previous)
        if previous is None:  # the same everywhere, and of the whole input's size
            dense = sam.prompt_encoder.no_mask_embed.weight[..., None, None]
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    asked = torch.cat([own.expand(count, -1, -1), sparse], 1)
    shown = embeddings.repeat_interleave(count // len(embeddings), 0) + dense
    tokens, seen = decoder.transformer(shown, positions(sam, grid, window).expand(count, -1, -1, -1), asked)
    fine = decoder.output_upscaling(seen.transpose(1, 2).unflatten(2, (grid, grid)))
    weights = [head(tokens[:, 1 + i]) for i, head in enumerate(decoder.output_hypernetworks_mlps)]
    logits = (torch.stack(weights, 1) @ fine.flatten(2)).unflatten(2, (fine.shape[-2], fine.shape[-1]))
    return logits, decoder.iou_prediction_head(tokens[:, 0])


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


def lessons_loss(
    sam: Sam,
    embeddings: Tensor,
    given: list[Lesson],
    corrections: tuple[float, ...],
    generator: torch.Generator,
    tilt: float = 1.0,
    window: Window = WHOLE,
) -> tuple[Tensor, Tensor]:
    """The mean loss over the first answers and their corrections; and, [B * N], the IoU of the first ones.

    Args:
        embeddings: [B, C, g, g] of the lessons' pictures.
        given: lessons of one sort, boxes or as many clicks, with N prompts each.
        corrections: chances of 0, 1, 2, ... rounds of correcting clicks.
        generator: on the embeddings' device.
        tilt: as of `entropy`; window: as of `answer`.
    """
    device = embeddings.device
    points, marks, boxes = prompts_of(given, device)
    targets = targets_of(given, device)
    meant = torch.from_numpy(np.concatenate([one.meant for one in given])).to(device)
    wanted = targets[torch.arange(len(meant), device=device), meant]
    logits, quality = answer(sam, embeddings, points, marks, boxes, window=window)
    loss, first = answer_loss(logits, quality, targets, meant, tilt)
    losses = [loss]
    rounds = int(torch.multinomial(torch.tensor(corrections, device=device), 1, generator=generator))
    keeps_mask = float(torch.rand(1, generator=generator, device=device)) < 0.5
    # once corrected, a prompt means one thing
    alone = torch.cat([wanted[:, None], torch.zeros_like(targets[:, 1:])], 1)
    for _ in range(rounds):
        single = logits[:, 0].detach().float()
        point, mark = correcting_click(single, wanted, given[0].image.shape[-1], generator)
        points, marks = torch.cat([points, point], 1), torch.cat([marks, mark], 1)
        previous = single[:, None] if keeps_mask else None
        logits, quality = answer(sam, embeddings, points, marks, boxes, previous, window)
        losses.append(answer_loss(logits, quality, alone, torch.zeros_like(meant), tilt)[0])
    return torch.stack(losses).mean(), first


def prompts_of(given: list[Lesson], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor | None]:
    """Points, marks and boxes of lessons of one sort, one after the other."""
    boxes = [one.boxes for one in given if one.boxes is not None]
    points, marks = (np.concatenate(values) for values in zip(*((one.points, one.marks) for one in given)))
    framed = torch.from_numpy(np.concatenate(boxes)).to(device) if boxes else None
    return torch.from_numpy(points).to(device), torch.from_numpy(marks).to(device), framed


def targets_of(given: list[Lesson], device: torch.device | str = "cpu") -> Tensor:
    """[B * N, MEANINGS, side / 2, side / 2] float32 in [0, 1]."""
    return torch.from_numpy(np.concatenate([one.targets for one in given])).to(device).float() / 255


def images_of(lessons: list[Lesson], device: torch.device | str = "cpu") -> Tensor:
    """[B, 3, side, side] float32 in [0, 255]."""
    return torch.from_numpy(np.stack([given.image for given in lessons])).to(device).float()
