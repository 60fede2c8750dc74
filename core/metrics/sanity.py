"""The same model with its knowledge taken away. Adebayo et al.: Sanity Checks for Saliency Maps (NeurIPS 2018)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from core.classifier import Classifier
from core.runtime.randomness import derived_seed


def randomised(classifier: Classifier, images: Tensor, seed: int = 0) -> Classifier:
    """A classifier of the same architecture whose weights are shuffled within each tensor.

    Batch statistics are measured anew on `images` ([B, 3, H, W] in [0, 1]), or shuffled weights would drive
    activations far outside the range the network works in and maps would be degenerate for a trivial reason.
    """
    twin = copy.copy(classifier)
    module = copy.deepcopy(classifier.module)
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.dim() >= 2:
                generator = torch.Generator().manual_seed(derived_seed(seed, "randomised", name))
                order = torch.randperm(value.numel(), generator=generator).to(value.device)
                value.copy_(value.contiguous().flatten()[order].view(value.shape))
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    twin.module = module
    twin.name = f"{classifier.name} with shuffled weights"
    if norms:
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
    twin.fingerprint = twin._fingerprint()
    return twin
