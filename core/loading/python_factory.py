"""A model that a function returns: one of a person's own, or of a package that adds a source of models."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

from torch import nn

from core.classifier import Classifier
from core.errors import UserError, closest
from core.loading.checkpoints import load_weights, read_checkpoint
from core.loading.own_modules import OwnModules
from core.loading.request import Request
from core.preprocessing import Preprocessing

FORM = "python:package.module:function[@FILE]"


def load(request: Request) -> Classifier:
    """`python:package.module:function[@FILE]`: this runs code, so only the command line offers it.

    The function takes no argument and returns a `torch.nn.Module`, into which FILE's weights go, or a finished
    `Classifier`. A module gets ImageNet's preprocessing unless the file's metadata states another. The module is looked
    for below the current folder first.

    Raises:
        UserError: no such function, it fails, or it returns something else.
    """
    name, file = request.name_and_file()
    try:
        made = _find(name, request.spec)()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{request.spec} failed ({type(error).__name__}: {error}); it is called without arguments."
        ) from error
    return _classifier(request, made, file)


def load_added(request: Request, entry: EntryPoint) -> Classifier:
    """`SOURCE:NAME[@FILE]` of a package with an entry point SOURCE in satchel.models.

    What that names is called with NAME and returns what a function of `load` returns.

    Raises:
        UserError: it cannot be imported, it fails, or it returns something else.
    """
    name, file = request.name_and_file()
    package = entry.dist.name if entry.dist is not None else entry.value
    try:
        made = entry.load()(name)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{request.spec} failed in the package {package} ({type(error).__name__}: {error}); update it, or check "
            "the name."
        ) from error
    return _classifier(request, made, file)


def _classifier(request: Request, made: object, file: Path | None) -> Classifier:
    """A classifier of what a function returned."""
    if isinstance(made, Classifier):
        if file is not None or request.labels is not None or request.output or request.preprocessing:
            raise UserError(
                f"{request.spec} returns a finished Classifier; leave out @FILE, --labels and what is said of its "
                "output and pictures, or return a Module."
            )
        return made
    if not isinstance(made, nn.Module):
        raise UserError(
            f"{request.spec} returned something of type {type(made).__name__}; it must return a Module or a Classifier."
        )
    metadata: dict[str, str] = {}
    notes: list[str] = []
    if file is not None:
        state, metadata = read_checkpoint(file)
        notes = load_weights(made, state, request.spec)
    return request.classifier(made, metadata, Preprocessing(), None, notes=notes)


def _find(name: str, spec: str) -> Callable[[], object]:
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise UserError(f"{spec!r} is not of the form {FORM}.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # an installed command does not look in the working folder by itself
    own = own_modules(os.getcwd())
    try:
        module = own.load(module_name)
    except ModuleNotFoundError as error:
        missing = own.as_written(error.name or str(error))
        if f"{module_name}.".startswith(f"{missing}."):
            raise UserError(f"{spec}: there is no module {missing!r} here; run in its folder or install it.") from error
        raise UserError(f"{module_name} imports {missing!r}, which is not installed; install it.") from error
    except Exception as error:
        told = own.as_written(f"{type(error).__name__}: {error}")
        raise UserError(f"{spec}: importing {module_name} failed ({told}).") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"{module_name} has no function {function_name!r}; {closest(function_name, functions)}")
    return function


@cache
def own_modules(folder: str) -> OwnModules:
    """One for each folder, so that what is imported from there is imported once."""
    return OwnModules(Path(folder))


def known() -> list[dict[str, str]]:
    """For `known_models`."""
    return [{"spec": FORM, "title": "A model that your own function returns", "needs": "the command line"}]
