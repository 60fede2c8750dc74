"""The store after damage: odd records and journals, a full disk."""

from __future__ import annotations

import json
import os
import resource

import numpy as np
import pytest

from core.errors import UserError
from core.segments import Mask, Segment, Segments
from core.segments.files import open_segments
from core.segments.saved.records import Record, read_record, write_record
from core.segments.saved.store import Store, file_name

MASK = Mask.from_dense(np.eye(4, dtype=bool))


def segments(*names: str, naming: str = "typed") -> Segments:
    return Segments((4, 4), tuple(Segment(MASK, name, naming=naming if name else "") for name in names))


def test_a_damaged_version_is_passed_over(tmp_path):
    store = Store(tmp_path)
    first = store.save("p", segments("a"), None, "")
    store.save("p", segments("b"), first, "")
    folder = tmp_path / "pictures" / file_name("p")
    (folder / "00000002.json").write_bytes(b"")
    found = store.load("p")
    assert (found.segments.names, found.version) == (("a",), 2)
    assert store.save("p", segments("c"), found, "").version == 3
    for path in folder.iterdir():
        path.write_bytes(b"{")
    with pytest.raises(UserError, match="cannot be read"):
        store.load("p")


def test_a_damaged_or_lost_journal(tmp_path):
    store = Store(tmp_path)
    store.save("p", segments("a"), None, "")
    journal = tmp_path / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"picture": "q", "vers')  # a writer was killed here
    store.save("r", segments("a"), None, "")
    assert str(store.tally(9)) == str(Store(tmp_path).tally(9)) == "2 of 9 named"
    journal.unlink()
    assert str(Store(tmp_path).tally(9)) == "2 of 9 named"
    assert str(store.tally(9)) == "2 of 9 named"
    journal.write_bytes(b"\n")  # its last lines were lost
    assert str(Store(tmp_path).tally(9)) == "2 of 9 named"
    journal.write_bytes(b"\n")
    assert sorted(store.files()) == ["p", "r"]


def test_a_line_that_found_no_room(tmp_path, monkeypatch):
    """The version is saved, so that it counts and is exported: here, and wherever the store is opened."""
    store = Store(tmp_path)
    store.save("p", segments("a"), None, "")
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:9]))  # as on a disk that is all but full
    store.save("q", segments("b"), None, "")
    assert sorted(store.files()) == ["p", "q"]
    assert sorted(open_segments(tmp_path)) == ["p", "q"]  # still no room
    monkeypatch.undo()
    assert sorted(open_segments(tmp_path)) == ["p", "q"]
    assert Store(tmp_path).journal.line("q")["names"] == {"b": 1}


def test_a_full_disk_ends_in_a_sentence_and_keeps_the_last_state(tmp_path):
    store = Store(tmp_path)
    noise = Mask.from_dense(np.random.default_rng(0).random((90, 90)) < 0.5)
    record = store.save("p", segments("a"), None, "")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(UserError, match="is full; free some room"):
            store.save("p", Segments((90, 90), (Segment(noise, "b"),)), record, "")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.load("p") == record
    assert store.save("p", Segments((90, 90), (Segment(noise, "b"),)), record, "").version == 2


@pytest.mark.parametrize(
    "change",
    [
        {"size": [8]}, {"size": 8}, {"size": []}, {"size": [4, "4"]}, {"size": [0, 4]}, {"size": [4, 10**400]},
        {"size": [2, 8]}, {"picture": 3}, {"version": "1"}, {"version": None}, {"made_by": []}, {"before": "x"},
        {"again": 3}, {"again": ["x"]}, {"nameless": [1]}, {"segments": {}}, {"segments": [3]}, {"action": None},
        {"format": "1"}, {"format": None},
    ],
)  # fmt: skip
def test_records_of_odd_values_end_in_a_sentence(tmp_path, change):
    store = Store(tmp_path / "s")
    store.save("a.png", segments("eye"), None, "cut")
    path = next((tmp_path / "s/pictures").rglob("*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (tmp_path / "s/journal.jsonl").unlink()
    again = Store(tmp_path / "s")
    with pytest.raises(UserError, match="cannot be read") as caught:
        again.load("a.png")
    assert "\n" not in str(caught.value)
    assert len(again.files()) == 0


@pytest.mark.parametrize(
    "segment",
    [{"name": 3}, {"score": 10**400}, {"score": "x"}, {"naming": "guessed"}, {"confidence": 2}, {"segmentation": {}}],
)
def test_segments_of_odd_values_end_in_a_sentence(segment):
    good = json.loads(write_record(Record("a", 1, segments("eye"))))
    good["segments"][0] |= segment
    with pytest.raises(UserError, match="are damaged"):
        read_record(json.dumps(good).encode())


@pytest.mark.parametrize("key", ["picture", "version", "by", "masks", "proposed", "names", "made_by"])
@pytest.mark.parametrize("odd", [None, "3", -1.5, []])
def test_lines_of_a_journal_that_nobody_wrote_are_read_from_the_pictures(tmp_path, key, odd):
    store = Store(tmp_path / "s")
    store.save("a.png", segments("eye"), None, "cut")
    journal = tmp_path / "s/journal.jsonl"
    line = json.loads(journal.read_text())
    if key in ("picture", "by") and isinstance(odd, str):
        odd = 3
    changed = {**line, key: odd} if odd is not None else {k: v for k, v in line.items() if k != key}
    journal.write_text(json.dumps(changed) + "\n")
    again = Store(tmp_path / "s")
    assert str(again.tally(1)) == "1 of 1 named"
    assert again.journal.pictures() == {"a.png": line}


def test_kinds_that_nobody_knows_are_told(tmp_path):
    store = Store(tmp_path / "s")
    store.save("a.png", segments("eye"), None, "cut")
    names = sorted((tmp_path / "s/names").glob("*.json"))
    about = json.loads(names[-1].read_text())
    for kinds in ({"eye": "thing"}, {"eye": ["object"]}, ["eye"], None, "eye"):
        for path in names:
            path.write_text(json.dumps({**about, "kinds": kinds}))
        with pytest.raises(UserError, match="holds no names that can be read") as caught:
            open_segments(tmp_path / "s")
        assert "\n" not in str(caught.value)
    assert "'thing' is no kind" in str(_problem(tmp_path / "s", about))


def _problem(folder, about) -> UserError:
    for path in (folder / "names").glob("*.json"):
        path.write_text(json.dumps({**about, "kinds": {"eye": "thing"}}))
    with pytest.raises(UserError) as caught:
        Store(folder)
    return caught.value
