"""What a declared shape lets through, and where it says that something is wrong."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from core.runtime.schema import (
    Wrong,
    anything,
    bounded,
    check_columns,
    file_name,
    listed,
    manifest_of,
    maybe,
    named,
    number,
    numbers,
    record,
    text,
    truth,
    whole,
)

SHAPE = record(
    {"name": text(), "parts": listed(record({"size": whole(1), "share": maybe(number(0, 1))}), least=1)},
    {"kind": text("a", "b")},
)
GOOD = {"name": "x", "parts": [{"size": 3, "share": 0.5}, {"size": 1, "share": None}], "later": object()}


def test_what_fits_is_let_through_with_keys_that_nobody_knows():
    SHAPE(GOOD, "")
    SHAPE({**GOOD, "kind": "a"}, "")
    named(anything)({"a": 1, "b": [None]}, "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 3}, "name is no text"),
        ({"parts": {}}, "parts is no list"),
        ({"parts": []}, "parts has 0 entries"),
        ({"parts": [{"share": 1}]}, r"parts\[0\] lacks size"),
        ({"parts": [{"size": 0, "share": 1}]}, r"parts\[0\].size is 0, outside 1"),
        ({"parts": [{"size": True, "share": 1}]}, r"parts\[0\].size is no number"),
        ({"parts": [{"size": 1.0, "share": 1}]}, r"parts\[0\].size is no whole number"),
        ({"parts": [{"size": 1, "share": math.nan}]}, r"parts\[0\].share is no number"),
        ({"parts": [{"size": 1, "share": 10**400}]}, r"parts\[0\].share is no number"),
        ({"parts": [{"size": 1, "share": "1"}]}, r"parts\[0\].share is no number"),
        ({"parts": [7]}, r"parts\[0\] is no object"),
        ({"kind": "c"}, "kind is 'c', none of: a, b"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(change, said):
    with pytest.raises(Wrong, match=said):
        SHAPE({**GOOD, **change}, "")


def test_truth_is_no_number_and_no_number_is_truth():
    truth(False, "")
    for value in (0, 1, None, "true"):
        with pytest.raises(Wrong):
            truth(value, "")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../b", "a\\b", "C:b", "a\x00b", 3, None])
def test_names_of_files_stay_in_their_folder(name):
    file_name("0000-suppression.png", "")
    with pytest.raises(Wrong):
        file_name(name, "")


@pytest.mark.parametrize("values", [(1, 0, None), (1, None, 2), (None, 0, 2), (1, 2, 0)])
def test_half_and_reversed_intervals_are_wrong(values):
    shape = bounded(record({}), ("x", "low", "high"))
    shape({"x": 1, "low": 0, "high": 2}, "")
    shape({"x": 1, "low": None, "high": None}, "")
    shape({"x": None, "low": None, "high": None}, "")
    with pytest.raises(Wrong, match="interval"):
        shape(dict(zip(("x", "low", "high"), values)), "")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("text", ["a", "b"], [["a", 1], ["a", None], [1, 2], [b"a", b"b"]]),
        ("text?", ["a", None], [["a", 1], [1.0, None]]),
        ("whole", [1, 2], [[1.5, 2.0], [True, False], ["1", "2"], [1, None]]),
        ("number", [1.5, 2], [[math.inf, 1], [math.nan, 1], ["1", 2], [True, False]]),
        ("number?", [1.5, None], [[math.inf, 1], ["1", None]]),
        ("truth?", [True, None], [[1, None], ["True", None]]),
    ],
)
def test_columns(kind, good, bad):
    check_columns(pd.DataFrame({"x": good}), {"x": kind})
    for values in bad:
        with pytest.raises(Wrong, match="column x"):
            check_columns(pd.DataFrame({"x": values}), {"x": kind})


def test_columns_may_be_missing_only_where_there_are_no_lines():
    check_columns(pd.DataFrame(), {"x": "text"})
    with pytest.raises(Wrong, match="lacks the column x"):
        check_columns(pd.DataFrame({"y": [1]}), {"x": "text"})
    with pytest.raises(Wrong, match="two columns of one name"):
        check_columns(pd.DataFrame([[1, 2]], columns=["x", "x"]), {"x": "whole"})


@pytest.mark.parametrize(("listed_ones", "count"), [(0, 1), (2, 1)])
def test_problems_are_counted_as_they_are_listed(listed_ones, count):
    problem, fits = {"image": "a", "problem": "b"}, manifest_of({})
    manifest = {"format": 1, "model": "m", "data": "d", "pictures": 3}
    fits({**manifest, "problems": [problem], "problem_count": 200}, "")
    with pytest.raises(Wrong, match="problems"):
        fits({**manifest, "problems": [problem] * listed_ones, "problem_count": count}, "")


@pytest.mark.parametrize("value", [[1.0, 2.0], [1, 2.5], [-(10**15), 0]])
def test_so_many_numbers_are_let_through(value):
    numbers(2)(value, "at")


@pytest.mark.parametrize("value", [[1.0], [1.0, None], [1.0, math.nan], [1.0, math.inf], [True, 1.0], "12", (1.0, 2.0)])
def test_what_is_not_so_many_numbers_is_not(value):
    with pytest.raises(Wrong):
        numbers(2)(value, "at")


def test_of_numbers_some_may_be_missing():
    numbers(3, missing=True)([1.0, None, 2.0], "at")


def test_text_that_is_no_unicode_is_none():
    import pyarrow

    broken = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe")]
    )
    with pytest.raises(ValueError, match="UTF8"):
        check_columns(pyarrow.table({"name": broken}).to_pandas(), {"name": "text"})
