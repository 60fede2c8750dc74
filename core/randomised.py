"""A model whose knowledge was taken away: the same architecture, its weights shuffled."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from core.classifier import Classifier
from core.runtime.folding import unfolded
from core.runtime.randomness import derived_seed, normal
from core.runtime.recent import Recent


def cascade(module: nn.Module) -> list[str]:
    """Names of the modules that own weights, from the logits down to the picture.

    Weights are parameters of two dimensions or more. The order is that of registration, backwards, which is how the
    model libraries write their models; a module registered out of turn is taken out of turn.
    """
    owners = [name.rpartition(".")[0] for name, value in module.named_parameters() if value.dim() >= 2]
    return list(dict.fromkeys(reversed(owners)))


def randomised(
    classifier: Classifier,
    images: Tensor,
    seed: int = 0,
    modules: int | None = None,
) -> Classifier:
    """A classifier of the same architecture whose weights are shuffled within each tensor.

    Batch statistics are measured anew on `images` ([B, 3, H, W] in [0, 1]), or shuffled weights would drive
    activations far outside the range the network works in and maps would be degenerate for a trivial reason. Those
    layers forget their learned scale and shift as well: trained shifts suit trained weights, and under shuffled ones
    they can silence whole layers, so that the model answers alike to every picture.

    Args:
        classifier: the original, which is not touched.
        images: where batch statistics come from.
        seed: same seed, same weights.
        modules: how many of `cascade`, from the logits down, are shuffled; None for all. Statistics of the layers that
            come before them stay as they are.
    """
    twin = copy.copy(classifier)
    module = unfolded(classifier.module)
    order = cascade(module)
    chosen = order if modules is None else order[:modules]
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.dim() >= 2 and name.rpartition(".")[0] in chosen:
                generator = torch.Generator().manual_seed(derived_seed(seed, "randomised", name))
                shuffled = torch.randperm(value.numel(), generator=generator).to(value.device)
                value.copy_(value.contiguous().flatten()[shuffled].view(value.shape))
    twin.module = module
    twin.name = f"{classifier.name} with shuffled weights"
    norms = _statistics(module, None if len(chosen) == len(order) else chosen)
    for norm in norms:
        norm.reset_parameters()
    _measure_again(twin, norms, images)
    twin = classifier.with_module(module, twin.name)
    twin.shuffled_from = classifier.fingerprint
    return twin


def _statistics(module: nn.Module, chosen: list[str] | None) -> list[nn.modules.batchnorm._BatchNorm]:
    """Layers with running statistics: all, or those registered after the first of the chosen modules."""
    norms, reached = [], chosen is None
    for name, part in module.named_modules():
        reached = reached or (chosen is not None and name in chosen)
        if reached and isinstance(part, nn.modules.batchnorm._BatchNorm) and part.track_running_stats:
            norms.append(part)
    return norms


def _measure_again(twin: Classifier, norms: list[nn.modules.batchnorm._BatchNorm], images: Tensor) -> None:
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain average over the batches
        norm.train()
    with torch.no_grad():
        for batch in images.split(16):
            if len(batch) > 1 or len(images) == 1:
                twin.logits(batch)
    for norm in norms:
        norm.eval()


CALIBRATION = 16  # pictures on which batch statistics are measured
KEPT = 4  # randomised classifiers, each as large as the model

_twins: Recent[tuple, Classifier] = Recent(KEPT)


def pink_pictures(frame: tuple[int, int], seed: int, device: torch.device) -> Tensor:
    """[16, 3, H, W] in [0, 1]: noise with the 1/f spectrum of natural pictures, from the seed alone."""
    height, width = frame
    white = normal((3, height, width), [seed] * CALIBRATION, range(CALIBRATION), torch.device("cpu"), salt="pink")
    cycles = (torch.fft.fftfreq(height).view(-1, 1).square() + torch.fft.rfftfreq(width).square()).sqrt()
    cycles[0, 0] = float("inf")
    pink = torch.fft.irfft2(torch.fft.rfft2(white) / cycles, s=frame)
    deviation = pink.flatten(1).std(1).clamp(min=1e-12).view(-1, 1, 1, 1)
    return (0.5 + 0.2 * pink / deviation).clamp(0, 1).to(device)


def kept_twin(classifier: Classifier, modules: int, seed: int) -> Classifier:
    """`randomised`, made once and kept while it is among the last few.

    Batch statistics are measured on pink noise, so that no picture's score depends on its neighbours.
    """
    key = (classifier.fingerprint, str(classifier.device), classifier.precision, modules, seed)

    def make() -> Classifier:
        pictures = pink_pictures(classifier.input_size, seed, classifier.device)
        return randomised(classifier, pictures, seed, modules)

    return _twins.get_or_make(key, make)
