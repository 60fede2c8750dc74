"""What a SAM is trained to do: masks for every meaning of a prompt, and a guess of how good each mask is."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F

FOCAL_WEIGHT = 20.0
FOCAL_GAMMA = 2.0


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """[..., h, w] logits against covers in [0, 1] -> [...]: Lin et al., Focal Loss (ICCV 2017), mean over pixels.

    Inside and outside weigh the same (their alpha is 0.5 here), so that leaving small parts out does not pay.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = (logits.sigmoid() - targets).abs()
    return (missed**FOCAL_GAMMA * entropy).mean((-2, -1)) / 2


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """[..., h, w] -> [...] in [0, 1]: Milletari et al., V-Net (3DV 2016)."""
    shares = logits.sigmoid()
    both = (shares * targets).sum((-2, -1))
    return 1 - (2 * both + 1) / (shares.sum((-2, -1)) + targets.sum((-2, -1)) + 1)


def balanced(logits: Tensor, targets: Tensor) -> Tensor:
    """[..., h, w] -> [...]: cross-entropy in which a mask's inside weighs as much as its outside, however small."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    parts = [(entropy * where).sum((-2, -1)) / where.sum((-2, -1)).clamp(min=1) for where in (targets, 1 - targets)]
    return parts[0] + parts[1]


def mask_loss(logits: Tensor, targets: Tensor, balance: float) -> Tensor:
    """[..., h, w] -> [...]: SAM's focal and dice, and at the start of a training something else instead of focal.

    From random weights focal and dice first settle on empty masks, where both are nearly flat. (Measured at small size:
    IoU 0.0 after 60 steps, where balanced entropy has 0.19.) Balanced entropy in turn makes small masks too fat in the
    end, so that its share `balance`, in [0, 1], falls as the training goes on.
    """
    loss = dice(logits, targets)
    if balance < 1:
        loss = loss + (1 - balance) * FOCAL_WEIGHT * focal(logits, targets)
    return loss + balance * balanced(logits, targets) if balance > 0 else loss


@torch.no_grad()
def overlap(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of each of K masks with each of L targets: [N, K, h, w] and [N, L, h, w] -> [N, K, L]."""
    masks, wanted = (logits > 0).flatten(2).float(), (targets >= 0.5).flatten(2).float()
    both = masks @ wanted.transpose(1, 2)
    either = masks.sum(2)[:, :, None] + wanted.sum(2)[:, None, :] - both
    return both / either.clamp(min=1)


@torch.no_grad()
def assign(logits: Tensor, targets: Tensor, real: Tensor) -> Tensor:
    """Which output answers for which meaning, each for one, so that they fit best.

    Args:
        logits: [N, K, h, w]; targets: [N, K, h, w], of which `real` [N, K] bool count.

    Returns:
        [N, K]: for each target the index of its output.
    """
    x, t = logits.float().flatten(2), targets.flatten(2)
    shares = x.sigmoid()
    entropy = (F.softplus(x).sum(2)[:, :, None] - x @ t.transpose(1, 2)) / x.shape[2]
    both = shares @ t.transpose(1, 2)
    unlike = 1 - (2 * both + 1) / (shares.sum(2)[:, :, None] + t.sum(2)[:, None, :] + 1)
    cost = (entropy + unlike) * real[:, None, :]  # [N, output, target]
    orders = torch.tensor(list(permutations(range(cost.shape[1]))), device=cost.device)
    total = cost[:, orders, torch.arange(cost.shape[2], device=cost.device)].sum(2)
    return orders[total.argmin(1)]


def answer_loss(
    logits: Tensor, quality: Tensor, targets: Tensor, meant: Tensor, balance: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The loss of one round of answers.

    Output 0 answers for what is meant. The other outputs share the meanings among themselves, each meaning being
    answered by the output that is nearest to it already. The guessed quality is taught the IoU with what is meant
    (output 0) and with the nearest meaning (the others).

    Args:
        logits: [N, 1 + K, h, w]; quality: [N, 1 + K].
        targets: [N, K, h, w] in [0, 1]; empty ones do not count.
        meant: [N].
        balance: as of `mask_loss`.

    Returns:
        The mean loss; and, [N], the IoU of output 0 with what is meant.
    """
    with torch.autocast(logits.device.type, enabled=False):  # sums over a mask need more digits than bfloat16 has
        return _answer_loss(logits.float(), quality.float(), targets, meant, balance)


def _answer_loss(
    logits: Tensor, quality: Tensor, targets: Tensor, meant: Tensor, balance: float
) -> tuple[Tensor, Tensor]:
    rows = torch.arange(len(meant), device=meant.device)
    single, several = logits[:, 0], logits[:, 1:]
    wanted = targets[rows, meant]
    real = targets.flatten(2).any(2)
    chosen = assign(several, targets, real)
    matched = several.gather(1, chosen[:, :, None, None].expand_as(targets))
    shared = (mask_loss(matched, targets, balance) * real).sum(1) / real.sum(1).clamp(min=1)
    reached = overlap(single[:, None], wanted[:, None])[:, 0, 0]
    nearest = overlap(several, targets).masked_fill(~real[:, None, :], 0).amax(2)
    guess = F.mse_loss(quality, torch.cat([reached[:, None], nearest], 1))
    return (mask_loss(single, wanted, balance) + shared).mean() + guess, reached
