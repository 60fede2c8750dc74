"""JSON files whose long lists stay on the disk: the same values as when they are read whole, and the same refusals."""

from __future__ import annotations

import json
import os

import pytest

from core.errors import UserError
from core.runtime import json_files
from core.runtime.json_files import Entries, Left, read_json, read_leaving
from core.runtime.schema import Wrong, record, whole

ENTRY = Left(record({"n": whole()}), lambda entry: entry["n"] % 2)
LISTED = [{"n": n, "name": "ä€😀"[: n % 4], "deep": [[{"a": '"],['}], n]} for n in range(40)]


@pytest.fixture(params=[1, 7, 1 << 20])
def window(request, monkeypatch):
    """However little of a file is held at a time."""
    monkeypatch.setattr(json_files, "WINDOW", request.param)


@pytest.mark.parametrize("form", [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False, "indent": 2}])
def test_entries_are_those_of_the_whole_file(tmp_path, window, form):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(LISTED, **form) + "\n", encoding="utf-8")
    seen = []
    found = read_leaving(path, {"": Left(ENTRY.shape, ENTRY.key, seen.append)})
    assert isinstance(found, Entries)
    assert (list(found), seen, len(found)) == (LISTED, LISTED, 40)
    assert (found[3], found[-1], found[5:8]) == (LISTED[3], LISTED[-1], LISTED[5:8])
    assert found.having(1) == LISTED[1::2]
    assert found.having(2) == []
    with pytest.raises(IndexError):
        _ = found[40]


def test_lists_of_an_object_are_left_and_the_rest_is_read(tmp_path, window):
    path = tmp_path / "a.json"
    value = {"before": {"a": [1, None]}, "listed": LISTED, "empty": [], "after": -12.5e3, "other": 1234567}
    path.write_text(json.dumps(value), encoding="utf-8")
    found = read_leaving(path, {"listed": ENTRY, "empty": ENTRY, "absent": ENTRY})
    assert {name: list(one) if isinstance(one, Entries) else one for name, one in found.items()} == value
    assert isinstance(found["listed"], Entries)


@pytest.mark.parametrize("text", ["", "[", "[{}", '[{"n": 1},]', '[{"n": 1} {"n": 2}]', '[{"n": 1}] 2', "[1", "nul"])
def test_what_is_no_json_is_refused_in_the_same_words(tmp_path, window, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(json.JSONDecodeError) as whole_file:
        read_json(path)
    with pytest.raises(json.JSONDecodeError) as left:
        read_leaving(path, {"": Left(lambda value, at: None, str)})
    assert str(left.value) == str(whole_file.value)


@pytest.mark.parametrize("text", ['{"a"}', '{"a": 1,}', '{"a": 1 "b": 2}', "{1: 2}", '{"listed": [1, 2}'])
def test_objects_that_are_none_are_refused(tmp_path, window, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(json.JSONDecodeError):
        read_leaving(path, {"listed": Left(lambda value, at: None, str)})


def test_a_wrong_entry_says_where_it_is(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"listed": [{"n": 1}, {"n": -1}]}')
    with pytest.raises(Wrong, match=r"listed\[1\].n is -1"):
        read_leaving(path, {"listed": ENTRY})
    path.write_text('[{"n": 1}, {}]')
    with pytest.raises(Wrong, match=r"\[1\] lacks n"):
        read_leaving(path, {"": ENTRY})


@pytest.mark.parametrize("text", ["{}", "1", '"a"', "null"])
def test_what_is_no_list_is_given_as_it_is(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert read_leaving(path, {"": ENTRY}) == json.loads(text)
    path.write_text(f'{{"listed": {text}}}')
    assert read_leaving(path, {"listed": ENTRY}) == {"listed": json.loads(text)}


def test_characters_that_are_none_become_question_marks(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(r'[{"n": 1, "name": "a\udcff"}]')
    found = read_leaving(path, {"": ENTRY})
    assert list(found) == read_json(path) == [{"n": 1, "name": "a?"}]


def test_a_file_that_was_written_anew_is_told(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(LISTED))
    found = read_leaving(path, {"": ENTRY})
    os.utime(path, (1, 1))
    with pytest.raises(UserError, match="changed since it was opened"):
        _ = found[0]
    path.unlink()
    with pytest.raises(UserError, match="changed since it was opened"):
        list(found)
