"""The few values used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A small cache that forgets what was used longest ago; safe between threads."""

    def __init__(self, limit: int, size: Callable[[Value], int] = lambda value: 1) -> None:
        """
        Args:
            limit: what the sizes of all that is kept may add up to; the newest is kept in any case.
            size: of a value; without it values are counted.
        """
        self.limit, self.size = limit, size
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value that is kept, or a new one, which is kept. Two threads may make one at the same time."""
        known = self.get(key)
        return known if known is not None else self.put(key, make())

    def put(self, key: Key, value: Value) -> Value:
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(map(self.size, self._kept.values())) > self.limit:
                self._kept.popitem(last=False)
        return value

    def __len__(self) -> int:
        return len(self._kept)
