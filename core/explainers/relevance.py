"""Layer-wise relevance propagation: the score is handed back layer by layer, each sharing it among its inputs."""

from __future__ import annotations

import copy
import importlib.util
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from core.classifier import Classifier
from core.explainer import Estimate, Explainer, register
from core.explainers.canonical import CannotRewriteError, Mean, canonical
from core.explainers.integration import gradient_in
from core.explainers.layers import probe_pictures
from core.job import Job
from core.parameters import Parameters, parameter
from core.runtime.chunks import in_chunks
from core.runtime.found_once import FoundOnce


def _zennits(name: str) -> Callable[[Classifier, Any], Any]:
    """zennit's composite of that name, with rules of ours besides."""

    def make(classifier: Classifier, ours: Any) -> Any:
        from zennit import composites

        return composites.COMPOSITES[name](layer_map=ours)

    return make


def _gamma_box(classifier: Classifier, ours: Any) -> Any:
    from zennit.composites import EpsilonGammaBox

    mean, std = (_channels(classifier, v) for v in (classifier.preprocessing.mean, classifier.preprocessing.std))
    return EpsilonGammaBox(low=-mean / std, high=(1 - mean) / std, layer_map=ours)


def _epsilon(classifier: Classifier, ours: Any) -> Any:
    from zennit.composites import LayerMapComposite, layer_map_base
    from zennit.rules import Epsilon
    from zennit.types import Linear

    return LayerMapComposite([*ours, *layer_map_base(), (Linear, Epsilon())])


# name -> (classifier, rules for layers that zennit does not know) -> a composite of zennit's; the first is the default
COMPOSITES: dict[str, Callable[[Classifier, Any], Any]] = {
    "epsilon-plus-flat": _zennits("epsilon_plus_flat"),
    "epsilon-plus": _zennits("epsilon_plus"),
    "epsilon-gamma-box": _gamma_box,
    "epsilon-alpha2-beta1-flat": _zennits("epsilon_alpha2_beta1_flat"),
    "epsilon-alpha2-beta1": _zennits("epsilon_alpha2_beta1"),
    "epsilon": _epsilon,
}


@dataclass(frozen=True)
class LrpParameters(Parameters):
    composite: str = parameter(
        next(iter(COMPOSITES)), "Which rule each kind of layer shares its relevance by", choices=tuple(COMPOSITES)
    )


@dataclass(frozen=True)
class Rewritten:
    """A classifier whose module is made of layers with rules; hooks may be on it while the lock is held."""

    classifier: Classifier
    lock: threading.Lock = field(default_factory=threading.Lock)


@FoundOnce
def rewritten(classifier: Classifier) -> Rewritten | str:
    """The classifier ready for relevance, made at the first question; else the sentence why it cannot be."""
    try:
        return rewrite(classifier)
    except CannotRewriteError as error:
        return f"LRP has no rule for {error}, which {classifier.name} has; choose a gradient or removal explainer."


@register
class Lrp(Explainer):
    """Bach et al.: On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation
    (PLoS ONE 2015); the rules and composites are those of zennit (Anders et al., arXiv 2106.13200).

    What is shared out is the target's logit (minus the contrast's), and the map is the relevance of the *normalised*
    picture, summed over colours, in float32: normalisation is a change of units, not a layer with relevance of its own.
    The network is rewritten first (`canonical`), so that a residual sum shares relevance instead of doubling it and
    batch normalisation has the convolution's rule; where it has none before it, it follows the epsilon rule. Biases
    keep their share, so the map sums to the score only where there are none, and is an intensity.
    """

    name = "lrp"
    title = "Relevance propagation"
    summary = (
        "The score handed back layer by layer to the pixels, each layer sharing it among its inputs; for and against."
    )
    family = "relevance"
    parameters = LrpParameters
    signed = True

    def supports(self, classifier: Classifier) -> str | None:
        if importlib.util.find_spec("zennit") is None:
            return "LRP needs the package zennit; install it with: pip install zennit."
        known = rewritten(classifier)
        return known if isinstance(known, str) else None

    def prepare(self, classifier: Classifier, weights: Any) -> Rewritten | str:
        return rewritten(classifier)

    def run(self, classifier: Classifier, job: Job, state: Rewritten) -> Iterator[Estimate]:
        values = torch.zeros(job.size, *job.frame, device=job.images.device)

        def run(start: int, end: int) -> None:
            contrasts = None if job.contrasts is None else job.contrasts[start:end]
            arguments = job.images[start:end], job.targets[start:end], contrasts
            values[start:end] = relevance(state, *arguments, job.parameters.composite).sum(1)

        for done in in_chunks(classifier, job.size, tuple(job.images.shape[1:]), "relevance", run):
            passes = [int(b < done) for b in range(job.size)]
            yield Estimate(values.clone(), passes, passes, partial=done < job.size)


class Begin(nn.Module):
    """The last layer: relevance begins as the score's part in each logit, logit * d score / d logit."""

    def forward(self, logits: Tensor) -> Tensor:
        return _TimesItself.apply(logits)


class _TimesItself(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * ctx.saved_tensors[0]


def rewrite(classifier: Classifier) -> Rewritten:
    """A private twin of a classifier that relevance can flow through, with the same logits.

    Raises:
        CannotRewriteError: some part of it has no rule.
    """
    from zennit.layer import Sum

    twin = copy.copy(classifier)
    twin.precision = "float32"
    with torch.inference_mode(False), torch.no_grad():
        mean, std = _channels(twin, twin.preprocessing.mean), _channels(twin, twin.preprocessing.std)
        probe = (probe_pictures(twin) - mean) / std
        twin.module = nn.Sequential(canonical(classifier.module, probe, Sum), Begin())
    return Rewritten(twin)


def relevance(state: Rewritten, images: Tensor, targets: Tensor, contrasts: Tensor | None, composite: str) -> Tensor:
    """[K, 3, H, W] in [0, 1] -> [K, 3, H, W]: the relevance of every value of the normalised pictures."""
    twin = state.classifier
    with state.lock, torch.enable_grad(), _composite(twin, composite).context(twin.module):
        leaf = images.detach().clone().requires_grad_(True)
        score = twin.score(twin.logits(leaf), targets, contrasts)
        gradient = gradient_in(leaf, score, twin)
    # on its last step back, through (x - mean) / std, autograd divided the relevance by std
    return gradient * _channels(twin, twin.preprocessing.std)


def _composite(classifier: Classifier, name: str) -> Any:
    """The composite of that name, with rules for means and for batch normalisation that stands alone."""
    from zennit.rules import Epsilon, Norm
    from zennit.types import BatchNorm

    return COMPOSITES[name](classifier, [((Mean,), Norm()), (BatchNorm, Epsilon())])


def _channels(classifier: Classifier, values: tuple[float, ...]) -> Tensor:
    """One number a colour as [1, 3, 1, 1]."""
    return torch.tensor(values, device=classifier.device).view(1, 3, 1, 1)
