"""From the weights of a file to networks that can be asked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from core.classifier import Classifier
from core.errors import UserError
from core.runtime.fingerprints import file_state
from core.runtime.folding import unfolded
from core.runtime.randomness import derived_seed
from core.runtime.recent import Recent

KEPT = 4  # models in memory, of each kind
BACKBONE = "backbone."  # before the names of weights of a copy of the classifier

M = TypeVar("M")
P = ParamSpec("P")


def kept(load: Callable[P, M]) -> Callable[P, M]:
    """Decorator of a function of (path, classifier, ...): what it made of a file as it is now is not made again."""
    models: Recent[tuple, M] = Recent(KEPT)

    @wraps(load)
    def loaded(*args: P.args, **kwargs: P.kwargs) -> M:
        path, classifier = args[0], args[1]
        assert isinstance(path, Path)
        assert isinstance(classifier, Classifier)
        try:
            state = file_state(path)
        except OSError:
            state = []
        device = str(classifier.device), classifier.precision
        key = (str(path), *state, classifier.fingerprint, *device, *args[2:], *kwargs.items())
        return models.get_or_make(key, lambda: load(*args, **kwargs))

    return loaded


@contextmanager
def whole(path: Path) -> Generator[None]:
    """Weights that are missing or do not fit become one sentence."""
    try:
        yield
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} is not whole ({str(error).splitlines()[0][:120]}); train it again.") from error


def with_weights(classifier: Classifier, tensors: Mapping[str, Tensor], prefix: str) -> Classifier | None:
    """The classifier with the weights of a file that have this prefix; None where there are none."""
    own = below(tensors, prefix)
    if not own:
        return None
    module = unfolded(classifier.module)
    module.load_state_dict(own)  # which makes them float32 again
    return classifier.with_module(module, f"{classifier.name} ({prefix.rstrip('.')})")


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@torch.no_grad()
def shuffle(module: nn.Module, seed: str) -> None:
    """Every tensor of it, within itself."""
    for name, value in module.named_parameters():
        numbers = torch.Generator().manual_seed(derived_seed(seed, "shuffled head", name))
        order = torch.randperm(value.numel(), generator=numbers).to(value.device)
        value.copy_(value.flatten()[order].view(value.shape))
