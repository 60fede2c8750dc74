"""Which colour a name has: its own, whatever other names there are and in which order they came."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

COUNT = 16
"""Colours there are, numbered from 0."""


def coloured(names: Iterable[str], known: Mapping[str, int] | None = None) -> dict[str, int]:
    """Name -> number of its colour, for all that are known and then for the new ones in their order.

    A name has the colour that its letters give. Where another one came first with that colour, it has the next free
    one, and once all are taken, one that the fewest have. What is known stays: whoever keeps the result and gives it
    back as `known` gives no name another colour, whatever is added, taken away or put in another order.
    """
    found = dict(known or {})
    taken = Counter(found.values())
    for name in names:
        if name in found:
            continue
        own = int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")
        order = [(own + step) % COUNT for step in range(COUNT)]
        found[name] = min(order, key=lambda number: taken[number])  # the first of those with the fewest
        taken[found[name]] += 1
    return found
