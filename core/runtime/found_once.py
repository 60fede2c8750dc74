"""What is found out once per classifier and forgotten with it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from core.classifier import Classifier


T = TypeVar("T")


class FoundOnce(Generic[T]):
    """`find`, called at the first question about each classifier; threads that ask meanwhile wait for the answer."""

    def __init__(self, find: Callable[[Classifier], T]) -> None:
        self._find = find
        self._found: WeakKeyDictionary[Classifier, T] = WeakKeyDictionary()
        self._lock = threading.Lock()  # for looking; never held long
        self._finding: WeakKeyDictionary[Classifier, threading.Lock] = WeakKeyDictionary()

    def __call__(self, classifier: Classifier) -> T:
        with self._lock:
            finding = self._finding.setdefault(classifier, threading.Lock())
        with finding:  # who asks about another classifier does not wait
            with self._lock:
                if classifier in self._found:
                    return self._found[classifier]
            found = self._find(classifier)
            with self._lock:
                self._found[classifier] = found
            return found
