"""Attention of vision transformers: which patches the tokens that the head reads have drawn from, layer upon layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.classifier import Classifier
from core.explainer import Estimate, Explainer, register
from core.explainers.integration import Reading, Samples, integrate, mean_only
from core.explainers.layers import find_token_grid, probe_pictures
from core.explainers.presets import FILL, PresetParameters, integrate_preset, is_random_preset, visited_by_preset
from core.explainers.samplers import Identity
from core.job import Job
from core.parameters import Parameters, parameter
from core.runtime.attention import RecordedAttention
from core.runtime.found_once import FoundOnce
from core.runtime.randomness import normal


@dataclass(frozen=True)
class TokenMap:
    """How the tokens of a transformer lie over the picture.

    Attributes:
        grid: (h, w) patches.
        extra: tokens before those of the patches.
        read: [T], sums to 1: the tokens the head reads after the last attention, which is the class token alone, or
            all patches alike where their mean is read.
    """

    grid: tuple[int, int]
    extra: int
    read: Tensor

    def as_map(self, row: Tensor) -> Tensor:
        """[K, T] -> [K, h, w], the patches' part."""
        return row[:, self.extra :].unflatten(1, self.grid)


def attention_weights(classifier: Classifier, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """One [K, heads, queries, keys] an attention, in order of execution, and the logits [K, C] that came of them."""
    with RecordedAttention() as recorded:
        logits = classifier.logits(images)
    return recorded.weights, logits


def find_token_map(classifier: Classifier) -> TokenMap | None:
    """Watch one probe: every attention must go from all tokens to all tokens of a picture, else there is no map."""
    with torch.inference_mode(False), torch.enable_grad():
        probe = probe_pictures(classifier).requires_grad_(True)
        weights, logits = attention_weights(classifier, probe)
        count, tokens = len(probe), weights[-1].shape[-1] if weights else 0
        among_all = [w.shape[0] == count and w.shape[2:] == (tokens, tokens) for w in weights]
        if not (weights and logits.requires_grad and all(among_all)):
            return None
        # a fixed direction with all classes in it: no dead class can hide a token
        direction = normal(logits.shape[1:], (0,), (0,), logits.device, salt="direction")
        gradients = torch.autograd.grad((logits * direction).sum(), weights, allow_unused=True)
    found = find_token_grid(classifier, tokens)
    if found is None or any(gradient is None for gradient in gradients):
        return None
    read = (gradients[-1].abs().sum((0, 1, 3)) > 0).float()
    return TokenMap(*found, read / read.sum()) if read.any() else None


def follow_back(read: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """read @ layers[-1] @ ... @ layers[0]: what the tokens read at the end have drawn from those at the start.

    Args:
        read: [T].
        layers: one [K, T, T] a layer; row = the token that draws, column = the token drawn from.

    Returns:
        [K, T].
    """
    row = read.expand(len(layers[0]), 1, -1)
    for layer in reversed(layers):
        row = row @ layer
    return row[:, 0]


def rollout_layer(weights: Tensor, heads: str, discard: float) -> Tensor:
    """[K, heads, T, T] -> [K, T, T]: fused heads, half attention and half residual connection; rows sum to 1."""
    fused = _FUSE[heads](weights.float())
    if drop := int(discard * fused.shape[-1]):
        least_kept = fused.sort(-1).values[..., drop : drop + 1]
        fused = fused * (fused >= least_kept)
    fused = fused / fused.sum(-1, keepdim=True).clamp(min=1e-12)
    layer = fused + torch.eye(fused.shape[-1], device=fused.device)
    return layer / layer.sum(-1, keepdim=True)


_FUSE: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda weights: weights.mean(1),
    "max": lambda weights: weights.amax(1),
    "min": lambda weights: weights.amin(1),
}


def gradient_layer(weights: Tensor, gradient: Tensor) -> Tensor:
    """Two [K, heads, T, T] -> [K, T, T]: the mean over heads of the attention that raises the score, plus identity."""
    raising = (gradient * weights).float().relu().mean(1)
    return raising + torch.eye(raising.shape[-1], device=raising.device)


def gradient_attention(
    classifier: Classifier, images: Tensor, targets: Tensor, contrasts: Tensor | None, state: TokenMap
) -> tuple[Tensor, Tensor]:
    """Chefer, Gur, Wolf: Generic Attention-model Explainability (ICCV 2021), for a batch of any pictures.

    Args:
        images: [K, 3, H, W].
        targets, contrasts: [K] each.
        state: of `find_token_map`.

    Returns:
        Maps [K, h, w] over the patches, at least 0, and logits [K, C], both without history.
    """
    with torch.enable_grad():
        weights, logits = attention_weights(classifier, images.detach().clone().requires_grad_(True))
        score = classifier.score(logits, targets, contrasts)
        gradients = torch.autograd.grad(score.sum(), weights)
    with torch.no_grad():
        layers = [gradient_layer(w, g) for w, g in zip(weights, gradients)]
        return state.as_map(follow_back(state.read, layers)), logits.detach()


token_map = FoundOnce(find_token_map)
"""How its tokens lie over the picture; None if they do not."""


class AttentionExplainer(Explainer):
    """Shared by the family: coarse maps over the patches, laid over the frame; shares of attention, not of a score, and
    so an intensity."""

    family = "attention"

    def supports(self, classifier: Classifier) -> str | None:
        if token_map(classifier) is None:
            return (
                f"{self.title} needs a transformer in which every patch attends to all patches of the picture, and "
                f"{classifier.name} is none; choose a gradient or removal explainer."
            )
        return None

    def prepare(self, classifier: Classifier, weights: Any) -> TokenMap | None:
        return token_map(classifier)


@dataclass(frozen=True)
class RolloutParameters(Parameters):
    heads: str = parameter("mean", "How the attention heads of a layer become one", choices=tuple(_FUSE))
    discard: float = parameter(
        0.0, "Part of each token's weights, the lowest ones, that is left out", low=0.0, high=0.9, step=0.05
    )


@register
class AttentionRollout(AttentionExplainer):
    """Abnar, Zuidema: Quantifying Attention Flow in Transformers (ACL 2020). Knows no class."""

    name = "attention-rollout"
    title = "Attention rollout"
    summary = "Which patches the answer was put together from, following attention through all layers; for any class."
    parameters = RolloutParameters
    class_specific = False

    def run(self, classifier: Classifier, job: Job, state: TokenMap) -> Iterator[Estimate]:
        p: RolloutParameters = job.parameters

        def read(samples: Samples) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                weights, logits = attention_weights(classifier, samples.images)
                layers = [rollout_layer(w, p.heads, p.discard) for w in weights]
                return state.as_map(follow_back(state.read, layers)).unsqueeze(1), logits

        reading = Reading(read, mean_only, kind=self.name, backward=False)
        yield from integrate(classifier, job, Identity(), reading, FILL)


@register
class GradientAttention(AttentionExplainer):
    """Chefer, Gur, Wolf: Generic Attention-model Explainability (ICCV 2021)."""

    name = "gradient-attention"
    title = "Gradient attention"
    summary = "Attention followed through all layers, counting only what raises the target's score."

    parameters = PresetParameters
    takes_references = True

    def is_random(self, parameters: PresetParameters) -> bool:
        return is_random_preset(parameters.sampler)

    def visited(self, job: Job, count: int) -> Tensor | None:
        return visited_by_preset(job, count)

    def run(self, classifier: Classifier, job: Job, state: TokenMap) -> Iterator[Estimate]:
        def read(samples: Samples) -> tuple[Tensor, Tensor]:
            contrasts = None if job.contrasts is None else job.contrasts[samples.picture]
            targets = job.targets[samples.picture]
            coarse, logits = gradient_attention(classifier, samples.images, targets, contrasts, state)
            return coarse.unsqueeze(1), logits

        yield from integrate_preset(classifier, job, Reading(read, mean_only, kind=self.name))
