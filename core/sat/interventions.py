"""What a picture looks like without a segment, with it elsewhere, or in another context.

All of this happens in the model's frame, on the classifier's device: pictures [3, H, W] in [0, 1], masks [H, W] in
[0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.classifier import Classifier
from core.fills import fill_plate, inpaint
from core.passes import Turns, scored

DILATION = 0.02  # of the longer side: removes what shines over a mask's edge
LARGE = 0.25  # above this coverage removal leaves no natural picture; only a context swap counts
CROWDED = 0.25  # part of a placebo that may lie on other named segments
SLACK = 0.02  # of its area, by which a placebo may overlap more than the best one


def dilate(mask: Tensor) -> Tensor:
    """[H, W] -> [H, W], grown by 2 % of the longer side."""
    reach = max(1, round(DILATION * max(mask.shape)))
    return F.max_pool2d(mask[None, None], 2 * reach + 1, stride=1, padding=reach)[0, 0]


def removed(image: Tensor, mask: Tensor, fill: str) -> Tensor:
    """The picture with the (dilated) mask filled."""
    if fill == "inpaint":
        return inpaint(image[None], mask[None])[0]
    return torch.lerp(image, fill_plate(image[None], fill)[0], mask)


def removal_mask(mask: Tensor, neighbours: Tensor) -> Tensor:
    """[H, W]: what goes when a segment goes: the segment and its rim, but nothing of its neighbours."""
    return torch.maximum(mask, dilate(mask) * (1 - neighbours))


def overlaps(mask: Tensor, other: Tensor) -> np.ndarray:
    """[H, W]: part of a mask that lies on the other one when it is shifted (round the edges), by (down, right)."""
    own, under = (one.detach().cpu().double().numpy() for one in (mask, other))
    return (np.fft.irfft2(np.fft.rfft2(own).conj() * np.fft.rfft2(under), own.shape) / own.sum()).round(4)


def shifts_to(cost: np.ndarray, random: np.random.Generator, count: int) -> list[tuple[int, int]]:
    """Some of the shifts that cost least, all different; none where every cost is infinite."""
    if not np.isfinite(cost).any():
        return []
    near = np.argwhere(cost <= cost.min() + SLACK)
    chosen = near[random.choice(len(near), min(count, len(near)), replace=False)]
    return [(int(down), int(right)) for down, right in chosen]


def placebo_masks(mask: Tensor, avoid: Tensor, random: np.random.Generator, count: int) -> list[Tensor]:
    """The same shape elsewhere, `count` times: shifted (round the edges) to where it overlaps itself and `avoid` least.

    Returns:
        [H, W] each, without what overlaps the mask itself; none where under half of it would be left, or more than a
        quarter of it would lie on `avoid`.
    """
    itself, crowd = overlaps(mask, mask), overlaps(mask, avoid * (1 - mask))
    cost = np.where((itself <= 0.5) & (crowd <= CROWDED), itself + crowd, np.inf)
    return [torch.roll(mask, shift, (0, 1)) * (1 - mask) for shift in shifts_to(cost, random, count)]


def placement(mask: Tensor, objects: Sequence[Tensor], random: np.random.Generator, tries: int = 48) -> tuple[int, int]:
    """Where to paste a mask: its own place if that covers at most a tenth of it of the object, else the nearest of some
    random shifts that keep it whole and do so; its own place again where the object leaves none.

    Args:
        objects: [H, W] each, what to keep off, the strictest first; a later one is asked where an earlier leaves no
            place.

    Returns:
        (down, right) in pixels.
    """
    rows = torch.nonzero(mask.sum(1) > 0).flatten()
    columns = torch.nonzero(mask.sum(0) > 0).flatten()
    top, bottom, left, right = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    shifts = [
        (int(random.integers(-top, mask.shape[0] - bottom)), int(random.integers(-left, mask.shape[1] - right)))
        for _ in range(tries)
    ]
    shifts = [(0, 0), *sorted(shifts, key=lambda s: abs(s[0]) + abs(s[1]))]
    for keep_off in objects:
        if not bool(keep_off.any()):
            break
        covered = overlaps(mask, keep_off)
        for shift in shifts:
            if covered[shift] <= 0.1:
                return shift
    return 0, 0


def transplanted(recipient: Tensor, donor: Tensor, mask: Tensor, shift: tuple[int, int]) -> Tensor:
    """The donor's pixels under the mask, laid over the recipient, moved by `shift`."""
    moved = torch.roll(mask, shift, (0, 1))
    return torch.lerp(recipient, torch.roll(donor, shift, (1, 2)), moved)


def context_swapped(recipient: Tensor, own: Tensor, donor: Tensor, donors: Tensor) -> Tensor:
    """The recipient's segment (mask `own`) replaced by the donor's segment of the same name (mask `donors`).

    Where the donor shows something else, its segment is continued smoothly.
    """
    return torch.lerp(recipient, inpaint(donor[None], 1 - donors[None])[0], own)


class Answers(NamedTuple):
    """What a classifier says of some pictures, one target each: log-odds, probability, whether it names the target."""

    margin: list[float]
    probability: list[float]
    said: list[bool]


def answers(classifier: Classifier, make: Callable[[int], Tensor], targets: Sequence[int]) -> Answers:
    """Ask about pictures, in chunks.

    Args:
        make: number -> [3, H, W], the picture of that target; made when its turn comes.
    """
    if not targets:
        return Answers([], [], [])
    index = torch.tensor(targets, device=classifier.device)
    found = torch.empty(len(targets), 1, 3, device=classifier.device)

    def copies(pictures: Tensor, numbers: Sequence[int]) -> Tensor:
        return torch.stack([make(i) for i in pictures.tolist()])

    def score(logits: Tensor, pictures: Tensor) -> Tensor:
        chosen = index[pictures]
        probability = classifier.probabilities(logits).gather(1, chosen[:, None])[:, 0]
        return torch.stack([classifier.margin(logits, chosen), probability, classifier.says(logits, chosen)], 1)

    turns = Turns.up_to([1] * len(targets), classifier.device)
    for _ in scored(classifier, (3, *classifier.input_size), turns, copies, score, found):
        pass
    margin, probability, said = found[:, 0].T.tolist()
    return Answers(margin, probability, [one > 0.5 for one in said])
