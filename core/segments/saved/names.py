"""What a store keeps of names for the whole data set: their kinds, which of them a person chose, and their colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.segments.colours import COUNT
from core.segments.segments import KINDS, Segment


def check(about: Mapping[str, Any]) -> None:
    """Of a file of names that was read.

    Raises:
        ValueError: it holds what is none.
    """
    strange = next((kind for kind in about["kinds"].values() if kind not in KINDS), None)
    if strange is not None:
        raise ValueError(f"{strange!r} is no kind of a name")
    if not all(isinstance(name, str) for name in about.get("chosen", ())):
        raise ValueError("names that were chosen are no texts")
    if not all(type(colour) is int and 0 <= colour < COUNT for colour in about.get("colours", {}).values()):
        raise ValueError("colours of names are no numbers of colours")


def kinds_of(segments: Iterable[Segment]) -> dict[str, str]:
    """Name -> kind; of a name with two, the one that says something."""
    kinds: dict[str, str] = {}
    for item in segments:
        if item.name and kinds.get(item.name, "unset") == "unset":
            kinds[item.name] = item.kind
    return kinds


def merged(about: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, str]:
    """Kinds of names that are known, and of new ones: "unset" gives way unless a person chose it."""
    known, chosen = about["kinds"], about.get("chosen", ())
    open_ = {name for name, kind in known.items() if kind == "unset" and name not in chosen}
    return {**kinds, **{name: kinds.get(name, kind) if name in open_ else kind for name, kind in known.items()}}
