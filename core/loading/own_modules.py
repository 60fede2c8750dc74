"""Modules below a person's own folder, whatever they are called: a folder `core` there is theirs, not Satchel's.

Of two packages of one name a program can import one, so theirs is imported under another name (`core` as
`core_of_SOMETHING`). Their modules go on importing it by its own: `from core.layers import Block` is theirs where they
have core/layers.py, and Satchel's where they have not. Satchel's own imports are left alone.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


class OwnModules:
    """Those below one folder. It stays on `sys.meta_path`, since modules import others when they run, too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._mark = "_of_" + hashlib.blake2b(str(root).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
        owner = self

        class Loader(SourceFileLoader):
            """Gives a module an `import` of its own."""

            def exec_module(self, module: ModuleType) -> None:
                vars(module)["__builtins__"] = {**vars(builtins), "__import__": owner.import_}
                super().exec_module(module)

        self._loader = Loader

    def load(self, name: str) -> ModuleType:
        """The module of that name, theirs first; errors as of `importlib.import_module`."""
        if self not in sys.meta_path:
            known = [getattr(finder, "__name__", "") for finder in sys.meta_path]
            place = known.index(PathFinder.__name__) if PathFinder.__name__ in known else len(known)
            sys.meta_path.insert(place, self)
        return importlib.import_module(self._under(name))

    def as_written(self, text: str) -> str:
        """A message about modules with their names as their owner knows them."""
        return text.replace(self._mark, "")

    def import_(
        self,
        name: str,
        globals: dict[str, Any] | None = None,  # noqa: A002 - as `__import__` has it
        locals: dict[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        """What `import` does in their modules."""
        found = name if level else self._under(name)
        if found == name or fromlist:
            return builtins.__import__(found, globals, locals, fromlist, level)
        importlib.import_module(found)
        return sys.modules[found.partition(".")[0]]

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """For the import system: where a module of theirs lies; None for all others."""
        top, _, rest = fullname.partition(".")
        if top.endswith(self._mark) and not rest:
            return self._renamed(top)
        if path is None:
            folders = [str(self.root)]
        else:
            folders = list(path) if self._is_theirs(top) else []
        for folder in folders:
            spec = FileFinder(folder, (self._loader, SOURCE_SUFFIXES)).find_spec(fullname)
            if spec is not None and spec.loader is not None:
                return spec
        return None

    def _under(self, name: str) -> str:
        """The name that a module is imported under."""
        top, dot, rest = name.partition(".")
        taken = top in sys.modules and not self._is_theirs(top)
        return f"{top}{self._mark}{dot}{rest}" if taken and self._has(name) else name

    def _has(self, name: str) -> bool:
        """Whether they have such a module or package."""
        place = self.root.joinpath(*name.split("."))
        return place.is_dir() or place.with_name(f"{place.name}.py").is_file()

    def _is_theirs(self, top: str) -> bool:
        """Whether the imported module of that name lies in their folder; it may be a package without `__init__`."""
        module = sys.modules.get(top)
        own = str(self.root / top.removesuffix(self._mark))
        if module is None:
            return False
        return list(getattr(module, "__path__", ())) == [own] or getattr(module, "__file__", None) == f"{own}.py"

    def _renamed(self, top: str) -> ModuleSpec:
        place = self.root / top.removesuffix(self._mark)
        for file, inside in ((place / "__init__.py", [str(place)]), (place.with_name(f"{place.name}.py"), None)):
            if file.is_file():
                loader = self._loader(top, str(file))
                spec = spec_from_file_location(top, file, loader=loader, submodule_search_locations=inside)
                assert spec is not None
                return spec
        spec = ModuleSpec(top, None, is_package=True)
        spec.submodule_search_locations = [str(place)]
        return spec
