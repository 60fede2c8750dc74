"""Vision transformers that are not given the patches that are absent, instead of pictures with a fill there.

After its position was added to a token, a plain transformer knows no order: what is absent can leave the sequence,
which also makes the pass shorter (Jain et al., Missingness Bias in Model Debugging, ICLR 2022).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.classifier import Classifier
from core.probing.probe import probe_pictures
from core.runtime.capture import captured
from core.runtime.found_once import FoundOnce

# modules that pass on the tokens just after their positions were added: timm, torchvision, transformers
GATES = ("patch_drop", "encoder.dropout", "embeddings.dropout")
SAME_ANSWER = 1e-3  # of the largest answer, with the tokens in another order
HALF = 0.5
PREFIX = 8  # tokens that stand for no patch, at most: the class, a teacher, registers


@dataclass(frozen=True)
class TokenGate:
    """Where tokens can leave.

    Attributes:
        module: passes on [B, prefix + rows * columns, width].
        prefix: tokens that stand for no patch.
        grid: (rows, columns) of patches.
    """

    module: nn.Module
    prefix: int
    grid: tuple[int, int]

    def logits(self, classifier: Classifier, images: Tensor, kept: Tensor) -> Tensor:
        """Answers to pictures without some of their patches.

        Args:
            classifier: whose module it is a part of.
            images: [K, 3, H, W] in [0, 1]. kept: [K, H, W] in [0, 1]; a patch stays if at least half of it does.

        Returns:
            [K, C] float32.
        """
        stays = F.adaptive_avg_pool2d(kept[:, None], self.grid).flatten(1) >= HALF
        counts = stays.sum(1)
        out: Tensor | None = None
        for count in counts.unique().tolist():  # sequences of one pass are of one length
            rows = counts == count
            chosen = stays[rows].float().topk(count, dim=1).indices.sort(1).values if count else None
            answers = self.passed(classifier, images[rows], chosen)
            out = answers.new_empty(len(images), answers.shape[1]) if out is None else out
            out[rows] = answers
        assert out is not None
        return out

    def passed(self, classifier: Classifier, images: Tensor, chosen: Tensor | None) -> Tensor:
        """[K, 3, H, W], [K, N] numbers of patches in the order to give them in, or None for none at all."""
        mine = threading.get_ident()

        def leave(module: nn.Module, inputs: Any, tokens: Tensor) -> Tensor | None:
            if threading.get_ident() != mine:
                return None  # another thread's pictures
            head = tokens[:, : self.prefix]
            if chosen is None:
                return head
            own = tokens[:, self.prefix :]
            return torch.cat([head, own.gather(1, chosen[..., None].expand(-1, -1, own.shape[-1]))], 1)

        handle = self.module.register_forward_hook(leave)
        try:
            return classifier.logits(images)
        finally:
            handle.remove()


@torch.no_grad()
def find_token_gate(classifier: Classifier) -> TokenGate | None:
    """Where a classifier's tokens can leave; None if it has no such place, or says nothing without any patch."""
    named = [(name, part) for name, part in classifier.module.named_modules()
             if any(name == gate or name.endswith(f".{gate}") for gate in GATES)]  # fmt: skip
    if not named:
        return None
    images = probe_pictures(classifier.input_size)[-2:].to(classifier.device)
    with captured(named) as answers:
        usual = classifier.logits(images)
    for name, part in named:
        tokens = answers.get(name)
        if not isinstance(tokens, Tensor) or tokens.dim() != 3:
            continue
        for gate in _shaped(classifier.input_size, part, tokens.shape[1]):
            if _stands_for_patches(classifier, gate, images) and _leaves(classifier, gate, images, usual):
                return gate
    return None


token_gate = FoundOnce(find_token_gate)
"""`find_token_gate`, asked once per classifier."""


def _shaped(frame: tuple[int, int], part: nn.Module, tokens: int) -> Iterator[TokenGate]:
    """Patches may be as many as fit a grid like the frame; what is left over, one at least, comes first."""
    height, width = frame
    for rows in range(tokens, 0, -1):
        columns = rows * width / height
        if columns == int(columns) and 1 <= tokens - rows * columns <= PREFIX:
            yield TokenGate(part, tokens - rows * int(columns), (rows, int(columns)))


def _stands_for_patches(classifier: Classifier, gate: TokenGate, images: Tensor) -> bool:
    """Whether tokens are those of the grid's patches, row by row: change the second patch and the last, and look."""
    rows, columns = gate.grid
    height, width = (side // count for side, count in zip(images.shape[-2:], gate.grid))
    changed = images[:1].clone()
    for patch in (changed[..., :height, width : 2 * width], changed[..., -height:, -width:]):
        patch.copy_((patch < HALF).float())  # far from what it was
    with captured([("gate", gate.module)]) as answers:
        classifier.logits(torch.cat([images[:1], changed]))
    before, after = answers["gate"]
    moves = (before - after).float().abs().amax(1)
    moved = (moves > SAME_ANSWER * moves.max()).nonzero().flatten().tolist()
    return moved == sorted({gate.prefix + 1, gate.prefix + rows * columns - 1})


def _leaves(classifier: Classifier, gate: TokenGate, images: Tensor, usual: Tensor) -> bool:
    """Whether the model answers the same to tokens in another order, and answers to few of them and to none."""
    order = torch.arange(math.prod(gate.grid) - 1, -1, -1, device=images.device).expand(len(images), -1)
    try:
        turned = gate.passed(classifier, images, order)
        fewer = [gate.passed(classifier, images, chosen) for chosen in (order[:, :1], None)]
    except Exception:  # noqa: BLE001 - the model's own code may count its tokens
        return False
    scale = float(usual.abs().max())
    same = torch.allclose(turned, usual, rtol=0, atol=SAME_ANSWER * scale + 1e-6)
    return same and all(few.shape == usual.shape and bool(torch.isfinite(few).all()) for few in fewer)
