"""The few values used last."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition
from typing import Generic, TypeVar

from cachetools import LRUCache, cached

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A small cache that forgets what was used longest ago; safe between threads."""

    def __init__(self, limit: int, size: Callable[[Value], int] = lambda value: 1) -> None:
        """
        Args:
            limit: what the sizes of all that is kept may add up to; the newest is kept in any case.
            size: of a value, taken when it is put there; without it values are counted.
        """
        self._lock = Condition()
        self._kept: LRUCache[Key, Value] = LRUCache(limit, lambda value: min(size(value), limit))
        self._get_or_make = cached(self._kept, key=lambda key, make: key, condition=self._lock)(
            lambda key, make: make()
        )

    def get(self, key: Key) -> Value | None:
        with self._lock:
            return self._kept.get(key)

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value that is kept, or a new one, which is kept. Who asks for one that is being made waits for it."""
        return self._get_or_make(key, make)

    def put(self, key: Key, value: Value) -> Value:
        with self._lock:
            self._kept[key] = value
        return value

    def __len__(self) -> int:
        return len(self._kept)
