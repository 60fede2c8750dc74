"""A task that teaches a SAM to tell things apart, with many pixels of a picture at once and no prompt.

From what stands at an anchor's pixel the mask of its part is to be made, and that of its whole thing: what a click
there asks for, without the transformer that first has to find out where the click is. One pass of the encoder and of
the decoder's upscaling answers for as many anchors as one likes, where the transformer works for each prompt alone.
The encoder, the upscaling and the networks that make a mask of a token learn here what they do later; the head only
hands the anchor's features over and is no part of the SAM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.demo.making.sam_loss import mask_loss

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

FINER = 4  # as many pixels a side as a SAM's masks have for each place of its embedding


class Apart(nn.Module):
    """The head, for an embedding of so many channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.where = nn.Conv2d(channels, channels, 1, bias=False)
        self.own = nn.Linear(channels // 8, channels)

    def forward(self, sam: Sam, embeddings: Tensor, positions: Tensor, at: Tensor) -> Tensor:
        """The masks of anchors.

        Args:
            embeddings: [B, C, g, g]; positions: [1 or B, C, g, g].
            at: [B, A], numbers of pixels of masks, row by row.

        Returns:
            logits [B, 2, A, 4g * 4g]: of the anchor's part, as the SAM's single output answers, and of its whole
            thing, as the last of the several does.
        """
        decoder = sam.mask_decoder
        shown = embeddings + sam.prompt_encoder.no_mask_embed.weight[..., None, None]
        *_, last = decoder.transformer.get_submodule("layers").children()
        shown = last.get_submodule("norm4")(shown.movedim(1, -1)).movedim(-1, 1)  # as the transformer hands it on
        fine = decoder.output_upscaling(shown + self.where(positions)).flatten(2)
        coarse = F.interpolate(shown, scale_factor=float(FINER), mode="bilinear").flatten(2)
        tokens = self.own(_taken(fine, at)) + _taken(coarse, at)
        networks = decoder.output_hypernetworks_mlps
        weights = torch.stack([networks[0](tokens), networks[-1](tokens)], 1)
        return (weights @ fine[:, None]).float()


def _taken(values: Tensor, at: Tensor) -> Tensor:
    """[B, C, P] at [B, A] -> [B, A, C]."""
    return values.gather(2, at[:, None].expand(-1, values.shape[1], -1)).transpose(1, 2)


def apart_loss(logits: Tensor, things: Tensor, at: Tensor, tilt: float) -> tuple[Tensor, float]:
    """How far the anchors' masks are from their things; and the mean IoU of both.

    Args:
        logits, at: as of `Apart`; things: [B, 2, 4g, 4g] integers, by parts and by wholes.
        tilt: as of `entropy`.
    """
    labels = things.flatten(2).long()
    targets = (labels.gather(2, at[:, None].expand(-1, 2, -1))[..., None] == labels[:, :, None]).float()
    with torch.no_grad():
        masks = logits > 0
        both, either = (masks & (targets > 0)).sum(3), (masks | (targets > 0)).sum(3)
    return mask_loss(logits[..., None], targets[..., None], tilt).mean(), float((both / either).mean())


def drawn(things: Tensor, anchors: int, generator: torch.Generator) -> Tensor:
    """[B, 2, h, w] -> [B, anchors] pixels, of small parts nearly as many as of large ones."""
    labels = things[:, 0].flatten(1).long()
    ones = torch.ones(labels.shape, device=labels.device)
    sizes = torch.zeros(len(labels), 256, device=labels.device).scatter_add_(1, labels, ones)
    return torch.multinomial(sizes.clamp(min=1).pow(-0.7).gather(1, labels), anchors, generator=generator)
