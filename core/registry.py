"""The lists of what there is: explainers, metrics, segmenters. Being on one is all it takes to appear everywhere."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import ClassVar, Generic, Protocol, TypeVar

from core.errors import UserError, closest
from core.parameters import Parameters
from core.plugins import leave_out, plugins


class Listed(Protocol):
    """What a list holds: classes that say who they are."""

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    family: ClassVar[str]


T = TypeVar("T", bound=Listed)
C = TypeVar("C", bound=type[Listed])


class Registry(Generic[T]):
    """One object a name, family by family.

    Args:
        what: one of them, for messages ("explainer"); other packages add some by entry points in satchel.WHATs.
        kind: the class that all are derived from.
        package: importing it registers Satchel's own.
        families: in the order to list them.
        within: sort key inside a family; without it in order of registration.
    """

    def __init__(
        self,
        what: str,
        kind: type[T],
        package: str,
        families: Sequence[str],
        within: Callable[[T], object] | None = None,
    ) -> None:
        self.what, self.kind, self.package, self.families = what, kind, package, tuple(families)
        self._within = within
        self._known: dict[str, T] = {}
        self._lock = threading.RLock()  # a plug-in may ask for the list while it is imported
        self._complete = False

    def register(self, cls: C) -> C:
        """Class decorator: put one instance on the list.

        Raises:
            ValueError, TypeError: the name is taken, or the class does not say what all must say.
        """
        if cls.__module__.partition(".")[0] != __name__.partition(".")[0]:
            importlib.import_module(
                self.package
            )  # Satchel's own come first, so that it is another's name that is taken
        made = self._checked(cls)
        if made.name in self._known:
            raise ValueError(f"two {self.what}s are called {made.name!r}")
        self._known[made.name] = made
        return cls

    def remove(self, name: str) -> None:
        """Take one off the list."""
        del self._known[name]

    def all(self) -> dict[str, T]:
        """By name, family by family."""
        importlib.import_module(self.package)
        with self._lock:
            if not self._complete:
                self._complete = True
                for entry in plugins(f"{self.what}s"):
                    self._add(entry)

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

    def _checked(self, cls: type[Listed]) -> T:
        """An instance of the class, once it is seen to say all that is shown of it."""
        if not (isinstance(cls, type) and issubclass(cls, self.kind)):
            raise TypeError(f"{cls!r} is no class derived from {self.kind.__name__}")
        for attribute in ("name", "title", "summary", "family"):
            if not (isinstance(text := getattr(cls, attribute, None), str) and text):
                raise ValueError(f"{cls.__name__} has no {attribute}")
        if cls.family not in self.families:
            raise ValueError(
                f"{cls.name} is of the family {cls.family!r}; it must be one of {', '.join(self.families)}"
            )
        made = cls()
        parameters = getattr(made, "parameters", None)
        if not (isinstance(parameters, type) and issubclass(parameters, Parameters)):
            raise TypeError(f"the parameters of {cls.name} are no class derived from Parameters")
        parameters().specs()
        return made

    def _add(self, entry: EntryPoint) -> None:
        """What an entry point names: a class, or a module that registers some. Whatever goes wrong, the list is as it
        was before.
        """
        before = dict(self._known)
        try:
            found = entry.load()
            if isinstance(found, ModuleType):
                return
            if not any(type(one) is found for one in self._known.values()):  # unless its own decorator did it
                self.register(found)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - another's defect costs no more than itself
            self._known = before
            leave_out(entry, error)
