"""What files of a finished folder must hold, declared once and checked before anybody draws them.

A shape is a function that takes a value and where it stands, and raises `Wrong` at the first thing that is not as it
should be. Keys that no shape names are let through: a newer Satchel may write more. Most values are as they should be,
so that where they stand is only put into words once something is wrong (`fit`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

Shape = Callable[[Any, str | None], None]
MOST = 1e100
"""No number that Satchel writes comes near, and what is computed from such numbers stays finite."""
MOST_WHOLE = 2**53


class Wrong(ValueError):
    """Something is not as it should be; the message says where, and what."""

    def __init__(self, at: str | None, what: str) -> None:
        super().__init__(f"{at} {what}" if at else f"it {what}")


class Looked:
    """A list whose entries have all been looked at as it was read."""


def fit(shape: Shape, value: Any) -> None:
    """Look at a value.

    Raises:
        Wrong: something is not as it should be; says where.
    """
    try:
        shape(value, None)
    except Wrong:
        shape(value, "")
        raise


def text(*choices: str) -> Shape:
    """A string; one of `choices`, where there are some."""

    def check(value: Any, at: str | None) -> None:
        if not isinstance(value, str):
            raise Wrong(at, "is no text")
        if choices and value not in choices:
            raise Wrong(at, f"is {value[:40]!r}, none of: {', '.join(choices)}")

    return check


_any_text = text()
_LEADS_OUT = re.compile(r"[/\\:\x00]")


def number(low: float = -MOST, high: float = MOST) -> Shape:
    """A finite number from `low` to `high`."""

    def check(value: Any, at: str | None) -> None:
        if type(value) is float and low <= value <= high:
            return  # nearly all
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -MOST <= value <= MOST:
            raise Wrong(at, "is no number that can be drawn")
        if not low <= value <= high:
            raise Wrong(at, f"is {value:g}, outside {low:g} to {high:g}")

    return check


def numbers(count: int, missing: bool = False) -> Shape:
    """A list of so many finite numbers, of which some may be null where they may be `missing`."""
    fits = listed(maybe(number()) if missing else number(), count, count)

    def check(value: Any, at: str | None) -> None:
        if type(value) is list and len(value) == count:
            for entry in value:
                if type(entry) is not float or not -MOST <= entry <= MOST:
                    break
            else:
                return  # nearly all
        fits(value, at)

    return check


def whole(low: int = 0, high: int = MOST_WHOLE) -> Shape:
    """A whole number from `low` to `high`."""
    fits = number(low, high)

    def check(value: Any, at: str | None) -> None:
        if type(value) is int and low <= value <= high:
            return  # nearly all
        if not isinstance(value, int):
            raise Wrong(at, "is no whole number")
        fits(value, at)

    return check


def truth(value: Any, at: str | None) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise Wrong(at, "is neither true nor false")


def file_name(value: Any, at: str | None) -> None:
    """The bare name of a file, with nothing in it that leads out of its folder."""
    _any_text(value, at)
    if value in ("", ".", "..") or _LEADS_OUT.search(value):
        raise Wrong(at, f"is {value[:40]!r}, no name of a file in the folder")


def anything(value: Any, at: str | None) -> None:
    """Only has to be there."""


def maybe(shape: Shape) -> Shape:
    """Null, or the shape."""

    def check(value: Any, at: str | None) -> None:
        if value is not None:
            shape(value, at)

    return check


def listed(shape: Shape, least: int = 0, most: float = math.inf) -> Shape:
    """A list of such values."""

    def check(value: Any, at: str | None) -> None:
        if isinstance(value, Looked):
            return
        if not isinstance(value, list):
            raise Wrong(at, "is no list")
        if not least <= len(value) <= most:
            raise Wrong(at, f"has {len(value)} entries")
        for i, entry in enumerate(value):
            shape(entry, None if at is None else f"{at}[{i}]")

    return check


def named(shape: Shape) -> Shape:
    """Such values by names that are free."""

    def check(value: Any, at: str | None) -> None:
        _object(value, at)
        for name, entry in value.items():
            shape(entry, None if at is None else f"{at}[{name[:40]!r}]")

    return check


def record(fields: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """Values by names that are known."""

    needed, others = tuple(fields.items()), tuple((optional or {}).items())

    def check(value: Any, at: str | None) -> None:
        _object(value, at)
        dot = f"{at}." if at else ""
        for name, shape in needed:
            if name not in value:
                raise Wrong(at, f"lacks {name}")
            shape(value[name], None if at is None else f"{dot}{name}")
        for name, shape in others:
            if name in value:
                shape(value[name], None if at is None else f"{dot}{name}")

    return check


def bounded(shape: Shape, *intervals: tuple[str, str, str]) -> Shape:
    """A record whose (estimate, low, high) are intervals: both bounds or none, in order, and none without estimate."""

    def check(value: Any, at: str | None) -> None:
        shape(value, at)
        for estimate, low, high in intervals:
            bottom, top = value[low], value[high]
            if (bottom is None) != (top is None) or (bottom is not None and value[estimate] is None):
                raise Wrong(at, f"has half an interval, {low} and {high}")
            if bottom is not None and bottom > top:
                raise Wrong(at, f"has an interval that ends before it begins, {low} and {high}")

    return check


def manifest_of(fields: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """A report's or an evaluation's manifest: what both say, and these fields. The problems that are listed are the
    first of those that are counted."""
    problem = record({"image": text(), "problem": text()})
    both = {"format": whole(), "model": text(), "data": text(), "pictures": whole(), "problems": listed(problem),
            "problem_count": whole()}  # fmt: skip
    either = {"fingerprint": text(), "created": text(), "seconds": maybe(number(0)), "device": text()}
    fits = record({**both, **fields}, {**either, **(optional or {})})

    def check(value: Any, at: str | None) -> None:
        fits(value, at)
        listed_ones, count = len(value["problems"]), value["problem_count"]
        if listed_ones > count or (count and not listed_ones):
            raise Wrong(at, f"lists {listed_ones} problems and counts {count}")

    return check


def _object(value: Any, at: str | None) -> None:
    if not isinstance(value, dict):
        raise Wrong(at, "is no object with names")


def check_columns(frame: pd.DataFrame, kinds: Mapping[str, str]) -> None:
    """Look at a table's columns; one without lines may lack them.

    Args:
        kinds: by column: "text", "whole", "number" (finite) or "truth"; with "?" at the end some may be missing.

    Raises:
        Wrong: a column lacks or holds something else.
    """
    if not len(frame):
        return
    if not frame.columns.is_unique:
        raise Wrong("", "has two columns of one name")
    for name, kind in kinds.items():
        if name not in frame:
            raise Wrong("", f"lacks the column {name}")
        known = frame[name].dropna()
        if len(known) < len(frame) and not kind.endswith("?"):
            raise Wrong(f"column {name}", "has gaps")
        if len(known) and not _is(known, kind.removesuffix("?")):
            raise Wrong(f"column {name}", f"holds no {kind.removesuffix('?')}s")


def _is(values: pd.Series, kind: str) -> bool:
    if isinstance(values.dtype, pd.StringDtype) and values.dtype.storage == "pyarrow":
        import pyarrow

        pyarrow.array(values.array).validate(full=True)  # that it is Unicode
        return kind == "text"  # what is all text need not become objects to be looked at
    found = pd.api.types.infer_dtype(values, skipna=False)
    if kind in ("text", "truth"):
        return found == {"text": "string", "truth": "boolean"}[kind]
    if found not in (("integer",) if kind == "whole" else ("integer", "floating", "mixed-integer-float")):
        return False
    return bool((np.abs(values.to_numpy(float)) <= MOST).all())
