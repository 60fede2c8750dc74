"""What torchvision calls its models, read off its source: importing it takes half as long as importing torch."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from core.errors import UserError, closest

# A transformer of any size: its options stand in the metadata of the weights file.
FREE_TRANSFORMER = "vision_transformer"
# how a builder stands there: the mark, perhaps a name of its own, perhaps other decorators, the function
BUILDER = re.compile(
    r'^@register_model\((?:name=)?(?:"(\w+)")?\)\n(?:@[^\n]*\n(?:[ )][^\n]*\n)*)*def (\w+)\(', re.MULTILINE
)


@cache
def classifiers() -> tuple[str, ...]:
    """Every classifier that torchvision builds, sorted."""
    return _in("")


@cache
def semantic_models() -> tuple[str, ...]:
    """Every semantic segmentation model that torchvision builds, sorted."""
    return _in("segmentation")


def check_classifier(name: str) -> None:
    """Raises a UserError unless torchvision has such a classifier."""
    if name not in (*classifiers(), FREE_TRANSFORMER):
        raise UserError(f"torchvision has no classifier {name!r}; {closest(name, list(classifiers()))}")


def _in(folder: str) -> tuple[str, ...]:
    package = find_spec("torchvision")
    places = package.submodule_search_locations if package is not None else None
    if not places:
        raise UserError("The package torchvision is not installed; install it with: pip install torchvision.")
    found = set()
    for file in Path(places[0], "models", folder).glob("*.py"):
        found.update(own or name for own, name in BUILDER.findall(file.read_text(encoding="utf-8")))
    return tuple(sorted(found))
