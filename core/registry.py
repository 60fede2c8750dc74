"""The lists of what there is: explainers, metrics, segmenters. Being on one is all it takes to appear everywhere."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar, cast

from core.errors import UserError, closest


class Listed(Protocol):
    """What a list holds: classes that say who they are."""

    name: ClassVar[str]
    family: ClassVar[str]


T = TypeVar("T", bound=Listed)
C = TypeVar("C", bound=type[Listed])


class Registry(Generic[T]):
    """One object a name, family by family.

    Args:
        what: one of them, for messages ("explainer").
        package: importing it registers them.
        families: in the order to list them.
        within: sort key inside a family; without it in order of registration.
    """

    def __init__(
        self, what: str, package: str, families: Sequence[str], within: Callable[[T], object] | None = None
    ) -> None:
        self.what, self.package, self.families = what, package, tuple(families)
        self._within = within
        self._known: dict[str, T] = {}

    def register(self, cls: C) -> C:
        """Class decorator: put one instance on the list."""
        if cls.name in self._known:
            raise ValueError(f"two {self.what}s are called {cls.name!r}")
        self._known[cls.name] = cast("T", cls())
        return cls

    def remove(self, name: str) -> None:
        """Take one off the list."""
        del self._known[name]

    def all(self) -> dict[str, T]:
        """By name, family by family."""
        importlib.import_module(self.package)

        def place(entry: T) -> tuple[int, object]:
            return self.families.index(entry.family), self._within(entry) if self._within else 0

        return {entry.name: entry for entry in sorted(self._known.values(), key=place)}

    def get(self, name: str) -> T:
        """By name.

        Raises:
            UserError: unknown; names the nearest one.
        """
        known = self.all()
        if name not in known:
            raise UserError(f"There is no {self.what} {name!r}; {closest(name, list(known))}")
        return known[name]
