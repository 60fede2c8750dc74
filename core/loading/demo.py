"""The classifiers that come with Satchel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UserError, closest
from core.paths import assets_dir

if TYPE_CHECKING:
    from core.classifier import Classifier
    from core.loading.request import Request

TITLES = {
    "biased": "Bird classifier that learned a planted watermark",
    "repaired": "The same bird classifier, trained without the watermark",
    "vit": "A small vision transformer on the same birds",
}


def check(name: str) -> None:
    """Raises a UserError unless there is such a model."""
    if name not in TITLES:
        raise UserError(f"There is no demo model {name!r}; {closest(name, list(TITLES))}")


def weights_of(name: str) -> Path:
    """The file of `demo:NAME`.

    Raises:
        UserError: no such model, or its weights are missing.
    """
    check(name)
    path = assets_dir() / f"demo_{name}.safetensors"
    if not path.is_file():
        raise UserError(f"The weights of demo:{name} ({path.name}) are missing; install Satchel again.")
    return path


def load(request: Request) -> Classifier:
    """`demo:biased`, `demo:repaired` or `demo:vit`.

    Raises:
        UserError: no such model, or its weights are missing.
    """
    from core.loading import torchvision_models
    from core.loading.checkpoints import read_checkpoint

    state, metadata = read_checkpoint(weights_of(request.rest))
    architecture = metadata.get("architecture", "")
    return torchvision_models.from_state(request, architecture, state, metadata)


def known() -> list[dict[str, str]]:
    """For `known_models`."""
    return [{"spec": f"demo:{name}", "title": title, "needs": "nothing"} for name, title in TITLES.items()]
