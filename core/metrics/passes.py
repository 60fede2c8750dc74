"""What a classifier says of many changed copies of each picture, in chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from core.classifier import Classifier
from core.runtime.chunks import in_chunks

Show = Callable[[Tensor, Sequence[int]], Tensor]  # (pictures [K], copies, K of them) -> [K, 3, H, W]
Read = Callable[[Tensor, Tensor], Tensor]  # (logits [K, C], targets [K]) -> [K]


def read_copies(classifier: Classifier, images: Tensor, targets: Tensor, count: int, show: Show, read: Read) -> Tensor:
    """`count` changed copies of each picture through the classifier; copies are made when their turn comes.

    Args:
        classifier: who is asked.
        images: [B, 3, H, W], for their number and shape.
        targets: [B].
        count: copies a picture.
        show: makes copy n of picture b for K pairs (b, n).
        read: what is kept of an answer.

    Returns:
        [B, count] float32 on the images' device.
    """
    answers = torch.zeros(len(images), count, device=images.device)

    def run(start: int, end: int) -> None:
        pairs = torch.arange(start, end, device=images.device)
        picture, copy = pairs // count, pairs % count
        with torch.no_grad():
            logits = classifier.logits(show(picture, [n % count for n in range(start, end)])).to(images.device)
            answers[picture, copy] = read(logits, targets[picture])

    for _ in in_chunks(classifier, len(images) * count, tuple(images.shape[1:]), "forward", run):
        pass
    return answers


def probability(classifier: Classifier) -> Read:
    """Keeps the target's probability."""
    return lambda logits, targets: classifier.probabilities(logits).gather(1, targets.view(-1, 1)).squeeze(1)
