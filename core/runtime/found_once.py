"""What is found out once per classifier and forgotten with it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

from cachetools import cached

if TYPE_CHECKING:
    from core.classifier import Classifier


T = TypeVar("T")


class FoundOnce(Generic[T]):
    """`find`, called at the first question about each classifier.

    Threads that ask about the same one meanwhile wait for the answer; those that ask about another one do not.
    """

    def __init__(self, find: Callable[[Classifier], T]) -> None:
        found: WeakKeyDictionary[Classifier, T] = WeakKeyDictionary()
        self._find = cached(found, key=lambda classifier: classifier, condition=Condition())(find)

    def __call__(self, classifier: Classifier) -> T:
        return self._find(classifier)
