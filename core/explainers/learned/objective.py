"""What an explainer learns: that its sums over the present players predict what the classifier says of those pictures.

Salvage's equations are not public in full. This is the reconstruction: Shapley-distributions
q(y | x, S) = softmax((b + sum of phi over S) / T), fitted to the classifier's distribution on masked pictures by KL
divergence over subsets S. With link "identity" and the squared error it is ViT-Shapley (Covert et al., ICLR 2023),
which fits probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 1e-6  # of a probability, before its logarithm is taken


def of_class(values: Tensor, classes: Tensor) -> Tensor:
    """[B, N, C], [B] -> [B, N]: each picture's own class."""
    return values.gather(2, classes[:, None, None].expand(-1, values.shape[1], 1))[..., 0]


@dataclass(frozen=True)
class Objective:
    """How values become a distribution, and how that is compared.

    Attributes:
        link: "softmax" (each class's own sigmoid where the classifier has those), or "identity".
        divergence: of `core.learning.DIVERGENCES`; "identity" goes with "mse" only.
        temperature: T.
        sigmoid: each class stands on its own.
        normalise: values are shifted, all of a picture alike, so that null and values add up to what the network itself
            says of the whole picture. "identity" always is, to what the classifier says.
    """

    link: str = "softmax"
    divergence: str = "kl"
    temperature: float = 1.0
    sigmoid: bool = False
    normalise: bool = False

    def null(self, probabilities: Tensor) -> Tensor:
        """[..., C] of the empty picture -> b, which makes q(y | x, nobody) exactly that."""
        if self.link == "identity":
            return probabilities
        p = probabilities.clamp(LEAST, 1 - LEAST if self.sigmoid else 1.0)
        return self.temperature * (torch.logit(p) if self.sigmoid else p.log())

    def values(
        self, raw: Tensor, null: Tensor, own: Tensor, whole: Tensor | None = None, exists: Tensor | None = None
    ) -> Tensor:
        """What the network gives, [B, P, C], as values; 0 for players that are not there.

        Softmax is blind to what all classes share, so that is taken out.

        Args:
            own: [B, C], the network's own logits of the whole picture. whole: [B, C], its probabilities by the
                classifier, which "identity" needs (as in ViT-Shapley).
            exists: [B, P] of booleans; None: all.
        """
        free = self.link != "identity" and not self.sigmoid  # of what all classes share
        there = None if exists is None else exists[..., None].to(raw.dtype)
        values = _centred(raw) if free else raw
        values = values if there is None else values * there
        sums = self._sums(own, whole)
        if sums is None:
            return values
        missing = (_centred(sums) - _centred(null) if free else sums - null) - values.sum(1)
        if there is None:
            return values + missing[:, None] / raw.shape[1]
        return values + there * (missing / there.sum(1).clamp(min=1))[:, None]

    def _sums(self, own: Tensor, whole: Tensor | None) -> Tensor | None:
        """[B, C]: what null and values are to add up to; None if to nothing in particular."""
        if self.link == "identity":
            return whole
        if not self.normalise:
            return None
        return self.temperature * (own if self.sigmoid else own.log_softmax(-1))

    def predicted(self, values: Tensor, null: Tensor, present: Tensor) -> Tensor:
        """[B, P, C], [C] or [B, C], [B, M, P] -> [B, M, C]: logits of q, or under the identity probabilities."""
        sums = null.expand(len(values), -1)[:, None] + present.to(values.dtype) @ values
        return sums if self.link == "identity" else sums / self.temperature

    def loss(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        """[..., C] twice, the second probabilities -> [...]."""
        if self.divergence == "mse":
            found = predicted if self.link == "identity" else self._probabilities(predicted)
            return (found - wanted).square().mean(-1)
        if self.sigmoid:
            return _bernoulli(predicted, wanted, self.divergence)
        logs = predicted.log_softmax(-1)
        wanted_logs = wanted.clamp(min=1e-12).log()
        if self.divergence == "cross-entropy":
            return -(wanted * logs).sum(-1)
        if self.divergence == "kl":
            return (wanted * (wanted_logs - logs)).sum(-1)
        middle = torch.logaddexp(logs, wanted_logs) - torch.log(torch.tensor(2.0))
        return 0.5 * ((logs.exp() * (logs - middle)).sum(-1) + (wanted * (wanted_logs - middle)).sum(-1))

    def probabilities(self, predicted: Tensor) -> Tensor:
        """Of `predicted`: [..., C] in [0, 1]."""
        return predicted.clamp(0, 1) if self.link == "identity" else self._probabilities(predicted)

    def _probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.sigmoid else logits.softmax(-1)


def _centred(values: Tensor) -> Tensor:
    """Less the mean over classes."""
    return values - values.mean(-1, keepdim=True)


def _bernoulli(logits: Tensor, wanted: Tensor, divergence: str) -> Tensor:
    """[..., C] -> [...], summed over classes that each stand on their own."""
    cross = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    if divergence == "cross-entropy":
        return cross.sum(-1)
    if divergence == "kl":
        return (cross - _entropy(wanted)).sum(-1)
    found = logits.sigmoid()
    return (_entropy((found + wanted) / 2) - (_entropy(found) + _entropy(wanted)) / 2).sum(-1)


def _entropy(p: Tensor) -> Tensor:
    p = p.clamp(1e-7, 1 - 1e-7)
    return -(p * p.log() + (1 - p) * (1 - p).log())
