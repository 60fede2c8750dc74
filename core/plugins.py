"""What other packages add to Satchel: entry points in the groups satchel.explainers, .metrics, .segmenters, .models."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LONGEST = 300  # characters of what a plug-in says when it fails


class PluginWarning(UserWarning):
    """Something that another package adds cannot be used, and is left out."""


def plugins(group: str) -> list[EntryPoint]:
    """The entry points of satchel.GROUP by name; nothing of them is imported."""
    from importlib.metadata import entry_points

    return sorted(entry_points(group=f"satchel.{group}"), key=lambda entry: (entry.name, entry.value))


def leave_out(entry: EntryPoint, why: BaseException | str) -> None:
    """Warn in one sentence of a plug-in that does not do."""
    if isinstance(why, BaseException):
        why = f"{type(why).__name__}: {why}" if str(why) else type(why).__name__
    reason = " ".join(why.split())[:LONGEST].rstrip(".")
    package = f" of the package {entry.dist.name}" if entry.dist is not None else ""
    warnings.warn(f"The plug-in {entry.name}{package} is left out ({reason}).", PluginWarning, stacklevel=3)
