"""Where models come from, and what is wrong with a spec as far as that can be known without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from core.errors import UserError, closest
from core.loading import demo
from core.loading.torchvision_names import check_classifier
from core.paths import existing_file, existing_folder, kind_at, user_path
from core.plugins import leave_out, plugins

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True)
class Source:
    """What may stand before the colon.

    Attributes:
        module: has `load(request)` and `known()`.
        file: whether @FILE may follow the name.
        check: raises a UserError for a name that is none, as far as that can be known at once.
    """

    module: str
    file: bool = True
    check: Callable[[str], object] | None = None

    def imported(self) -> ModuleType:
        return import_module(self.module)


def hf_folder(name: str) -> Path:
    """Raises a UserError unless there is such a folder."""
    return existing_folder(user_path(name), "folder", "give one that save_pretrained wrote")


SOURCES = {
    "demo": Source("core.loading.demo", file=False, check=demo.check),
    "torchvision": Source("core.loading.torchvision_models", check=check_classifier),
    "timm": Source("core.loading.timm_models"),
    "hf": Source("core.loading.huggingface", file=False, check=hf_folder),
    "python": Source("core.loading.python_factory"),
}


def added_sources() -> dict[str, EntryPoint]:
    """Those of other packages, by the word before the colon."""
    found: dict[str, EntryPoint] = {}
    for entry in plugins("models"):
        if entry.name in SOURCES or entry.name in found:
            leave_out(entry, f"there is a source of models called {entry.name} already")
        else:
            found[entry.name] = entry
    return found


def taken_apart(spec: str) -> tuple[str, str]:
    """What stands before and after the first colon.

    Raises:
        UserError: no source of models stands there, or no name follows.
    """
    source, colon, rest = spec.partition(":")
    known = SOURCES if source in SOURCES else {**SOURCES, **added_sources()}
    if source not in known or not colon:
        hint = "a name has to follow." if source in known else closest(source, list(known))
        raise UserError(f"{spec!r} names no model; {hint} Write SOURCE:NAME, such as torchvision:resnet50.")
    if not rest:
        raise UserError(f"{spec!r} lacks a name after the colon; `satchel list models` shows what can stand there.")
    return source, rest


def name_and_file(spec: str, rest: str) -> tuple[str, Path | None]:
    """NAME[@FILE] taken apart.

    Raises:
        UserError: an "@" with nothing after it, or with what can be no path.
    """
    name, at, file = rest.partition("@")
    if at and not file:
        raise UserError(f"{spec!r} ends after the @; name the weights file there, or leave the @ out.")
    return name, user_path(file) if file else None


def weights_file(path: Path) -> Path:
    """The path, once a file is found there that may be read.

    Raises:
        UserError: nothing there, a folder, or it may not be read.
    """
    if kind_at(path, "weights file") == "folder":
        raise UserError(f"{path} is a folder, not a weights file; name the file in it (for a saved Hugging Face model "
                        "write hf:DIR).")  # fmt: skip
    return existing_file(path, "weights file", "check the path after the @")


def check_file(spec: str, rest: str) -> None:
    """Raises a UserError unless the file of NAME[@FILE] is there, if one is named."""
    _, file = name_and_file(spec, rest)
    if file is not None:
        weights_file(file)


def labels_file(path: str | Path) -> Path:
    """The same for a file of labels."""
    return existing_file(user_path(path), "labels file", "check --labels")


def check_model(spec: str) -> None:
    """What can be known of a spec at once: its form, its name, whether its file is there.

    Raises:
        UserError: one of them does not do.
    """
    source, rest = taken_apart(spec)
    known = SOURCES.get(source, Source(""))
    if known.check is not None:
        known.check(rest.partition("@")[0] if known.file else rest)
    if known.file:
        check_file(spec, rest)
