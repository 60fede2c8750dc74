"""What captum's attribution classes ask for, read off their source: importing it takes longer than importing torch."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from inspect import Parameter
from pathlib import Path
from typing import Any

CLASS = re.compile(r"^class (\w+)(?:\(([^)]*)\))?:", re.MULTILINE)
# the last one of a name counts; those before it only say more of its types
METHOD = re.compile(r"^    def (__init__|attribute)\(((?:[^()]|\([^()]*\))*)\)", re.MULTILINE)
NO_LITERAL = object()  # stands for a default that is worked out
NOT_ASKED = ("self", "inputs", "kwargs", "args")  # as options


@dataclass(frozen=True)
class CaptumClass:
    """One of captum's classes with an `attribute`.

    Attributes:
        bases: the names of all that it is derived from.
        made_with, asked: what its constructor and its `attribute` take, by name.
        of_inputs: whether `attribute` takes inputs, as those that explain pictures do.
    """

    name: str
    bases: frozenset[str]
    made_with: dict[str, Parameter]
    asked: dict[str, Parameter]
    of_inputs: bool


@cache
def captum_classes() -> dict[str, CaptumClass]:
    """By name, sorted; none where captum is not installed."""
    package = find_spec("captum")
    places = package.submodule_search_locations if package is not None else None
    if not places:
        return {}
    folder = Path(places[0], "attr")
    found: dict[str, tuple[list[str], dict[str, str]]] = {}
    for file in sorted(folder.rglob("*.py")):
        found |= _in(file.read_text(encoding="utf-8"))
    shown = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    exported = {alias.name for node in shown.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    described = {name: _described(name, found) for name in sorted(exported & found.keys())}
    return {name: one for name, one in described.items() if one is not None}


def _in(text: str) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Class -> its bases, and the text of the arguments of those of its methods that matter."""
    heads = list(CLASS.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {
        head[1]: (re.findall(r"\w+", head[2] or ""), dict(METHOD.findall(text[head.end() : end])))
        for head, end in zip(heads, ends)
    }


def _described(name: str, found: dict[str, tuple[list[str], dict[str, str]]]) -> CaptumClass | None:
    line = _ancestors(name, found)
    methods: dict[str, str] = {}
    for one in line:
        methods = {**found[one][1], **methods}
    if "attribute" not in methods:
        return None
    made_with, asked = (_arguments(methods.get(method, "self")) for method in ("__init__", "attribute"))
    options = [{key: one for key, one in given.items() if key not in NOT_ASKED} for given in (made_with, asked)]
    return CaptumClass(name, frozenset(line[1:]), *options, of_inputs="inputs" in asked)


def _ancestors(name: str, found: dict[str, Any]) -> list[str]:
    """A class and those it is derived from, as methods are looked for; of those in captum's own source."""
    line = [name]
    for base in found[name][0]:
        line += [one for one in _ancestors(base, found) if one not in line] if base in found else []
    return line


def _arguments(text: str) -> dict[str, Parameter]:
    (function,) = ast.parse(f"def f({text}): ...").body
    assert isinstance(function, ast.FunctionDef)
    plain, only = function.args.args, function.args.kwonlyargs
    defaults = [None] * (len(plain) - len(function.args.defaults)) + [
        *function.args.defaults,
        *function.args.kw_defaults,
    ]
    return {
        one.arg: Parameter(one.arg, Parameter.KEYWORD_ONLY, default=_value(default))
        for one, default in zip((*plain, *only), defaults)
    }


def _value(default: ast.expr | None) -> Any:
    if default is None:
        return Parameter.empty
    try:
        return ast.literal_eval(default)
    except ValueError:
        return NO_LITERAL
