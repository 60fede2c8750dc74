"""The store: versions, undo, two who write, what a killed process and a full disk leave."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from core.errors import UserError
from core.segments import KINDS, Mask, Segment, Segments
from core.segments.files import coco, match, open_segments
from core.segments.saved import store as module
from core.segments.saved.records import Record, mask_key, read_record, write_record
from core.segments.saved.store import StaleError, Store, file_name

MASK = Mask.from_dense(np.eye(4, dtype=bool))


def segments(*names: str, naming: str = "typed") -> Segments:
    return Segments((4, 4), tuple(Segment(MASK, name, naming=naming if name else "") for name in names))


# -- one record ------------------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was(size, make_segments):
    for seed in range(3):
        made = make_segments(size, seed)
        record = Record(
            "a/\N{BIRD}\udcff.png", 3, made, frozenset({"ab"}), {"namer": "x"}, "named", "me", "now", 2, (4, 5)
        )
        back = read_record(write_record(record))
        assert back.with_kinds(dict(zip(made.names, made.kinds))).segments.masks.tolist() == made.masks.tolist()
        kindless = replace(made, items=tuple(replace(s, kind="unset") for s in made))
        known = replace(back.segments, items=tuple(replace(s, kind="unset") for s in back.segments))
        assert replace(back, segments=made) == record
        assert known == kindless


def test_keys_tell_masks_apart():
    assert mask_key(MASK) == mask_key(Mask.from_dense(np.eye(4, dtype=bool)))
    others = [MASK, MASK.complement(), Mask(np.array([16]), (4, 4)), Mask(np.array([16]), (2, 8))]
    assert len({mask_key(mask) for mask in others}) == 4


def test_records_that_cannot_be_read():
    good = json.loads(write_record(Record("a", 1, segments("eye"))))
    with pytest.raises(UserError, match="newer Satchel"):
        read_record(json.dumps({**good, "format": 99}).encode())
    broken = [
        b"",
        b"[]",
        b"{}",
        json.dumps({**good, "size": [9, 9]}).encode(),
        write_record(Record("a", 1, segments()))[:-9],
    ]
    for data in broken:
        with pytest.raises(UserError):
            read_record(data)


# -- one writer ------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded(tmp_path):
    store = Store(tmp_path / "store", by="Anna", data="birds")
    assert store.load("a/b.png") is None
    first = store.save("a/b.png", segments("eye", ""), None, "named 1 mask", nameless=frozenset({"k"}))
    second = store.save("a/b.png", segments("eye", "beak"), first, "named 1 mask")
    again = Store(tmp_path / "store").load("a/b.png")
    assert again == second
    assert (again.version, again.by, again.nameless, again.before) == (2, "Anna", frozenset({"k"}), 1)
    assert store.load("A/B.png") is None


def test_undo_and_redo(tmp_path):
    store = Store(tmp_path)
    record = None
    for names in (("a",), ("a", "b"), ("a", "b", "c")):
        record = store.save("p", segments(*names), record, f"{len(names)}")
    seen = []
    while (record := store.undo(record)) is not None:
        seen.append(record.segments.names)
        last = record
    assert seen == [("a", "b"), ("a",)]
    record = store.redo(last)
    assert record.segments.names == ("a", "b")
    assert store.redo(record).segments.names == ("a", "b", "c")
    assert store.redo(store.load("p")) is None
    record = store.save("p", segments("z"), store.undo(store.load("p")), "other")
    assert store.redo(record) is None
    assert store.undo(record).segments.names == ("a", "b")
    assert store.load("p").version == 10


def test_old_versions_go(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 5)
    store, record = Store(tmp_path), None
    for number in range(30):
        record = store.save("p", segments(f"n{number}"), record, "")
    assert len(list((tmp_path / "pictures" / file_name("p")).iterdir())) == 5
    for _ in range(4):
        record = store.undo(record)
    assert record.segments.names == ("n25",)
    assert store.undo(record) is None


def test_kinds_belong_to_the_whole_data_set(tmp_path):
    store, other = Store(tmp_path), Store(tmp_path)
    marked = replace(segments("mark"), items=(replace(segments("mark").items[0], kind="context"),))
    record = store.save("p", marked, None, "")
    assert record.segments.kinds == ("context",)
    # known by now: another picture does not change it in passing
    assert other.save("q", segments("mark"), None, "").segments.kinds == ("context",)
    other.set_kind("mark", "object")
    other.set_kind("Anhang/x", "unset")
    assert store.load("p").segments.kinds == store.load("q").segments.kinds == ("object",)
    assert store.kinds == {"mark": "object", "Anhang/x": "unset"}
    with pytest.raises(UserError, match="one of the kinds"):
        store.set_kind("mark", "thing")


def test_a_kind_that_says_something_outlasts_one_that_nobody_chose(tmp_path):
    store = Store(tmp_path / "store")
    unset = segments("mark")
    context = replace(unset, items=tuple(replace(item, kind="context") for item in unset))
    store.save("p", unset, None, "")  # a name that was typed or proposed comes without a kind
    assert store.with_kinds(context).kinds == ("context",)  # of a picture nobody has saved yet
    store.save("q", context, None, "")
    assert store.load("p").segments.kinds == ("context",)
    store.set_kind("mark", "unset")  # chosen by a person: nothing from elsewhere changes it
    store.learn_kinds(context)
    record = store.save("r", context, None, "")
    assert record.segments.kinds == store.with_kinds(context).kinds == ("unset",)
    both = replace(unset, items=(Segment(MASK, "b"), Segment(MASK, "b", kind="object")))
    assert store.save("s", both, None, "").segments.kinds == ("object", "object")


def test_undo_and_redo_keep_kinds(tmp_path):
    store = Store(tmp_path / "store")
    first = store.save("p", segments("background", "mark"), None, "")
    store.set_kind("background", "object")
    store.set_kind("mark", "context")
    second = store.save("p", segments("", "beak"), first, "")
    undone = store.undo(second)
    assert undone.segments.kinds == store.load("p").segments.kinds == ("object", "context")
    assert store.redo(undone).segments.kinds == ("unset", "unset")
    assert store.kinds == {"background": "object", "mark": "context", "beak": "unset"}


def test_progress_of_a_data_set(tmp_path):
    store = Store(tmp_path)
    store.save("open", segments("", ""), None, "")
    store.save("named", segments("eye", ""), None, "")
    store.save("proposed", segments("eye", "beak", naming="proposed"), None, "")
    tally = store.tally(300)
    assert (tally.named, tally.proposed, str(tally)) == (1, 1, "1 of 300 named")
    store.save("proposed", segments("eye", "beak", naming="accepted"), store.load("proposed"), "")
    assert str(Store(tmp_path).tally(300)) == "2 of 300 named"
    line = store.journal.line("proposed")
    assert (line["names"], line["proposed"], line["masks"]) == ({"eye": 1, "beak": 1}, 0, 2)


def test_a_store_is_read_like_any_other_masks(tmp_path):
    store = Store(tmp_path / "store")
    saved = {name: store.save(name, segments("eye", ""), None, "").segments for name in ("a/1.png", "a/2.png")}
    files = store.files()
    assert dict(files) == saved
    assert match(["a/2.png", "a/3.png"], files) == {"a/2.png": "a/2.png"}
    coco.write(tmp_path / "all.json", files.items())
    assert dict(open_segments(tmp_path / "all.json")) == saved


def test_opening_reads_no_picture(tmp_path, monkeypatch):
    store = Store(tmp_path)
    for number in range(60):
        store.save(f"p{number}", segments("eye"), None, "")

    def refuse(data):
        raise AssertionError("a picture was read")

    monkeypatch.setattr(module, "read_record", refuse)
    assert str(Store(tmp_path).tally(60)) == "60 of 60 named"


def test_file_names_for_any_picture():
    ids = ["a.png", "A.png", "a-png", "..", "/", "a/b.png", "a\\b.png", "x" * 500, "\N{BIRD}", "\udcff", "con", "é", ""]
    names = [file_name(picture) for picture in ids]
    assert len({name.lower() for name in names}) == len(ids)
    assert all(len(name) < 80 and name.isascii() and "/" not in name and name not in (".", "..") for name in names)


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="not empty"):
        Store(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        Store(tmp_path / "photo.jpg")
    assert os.listdir(tmp_path) == ["photo.jpg"]
    Store(tmp_path / "store")
    path = tmp_path / "store" / "names" / "00000002.json"
    path.write_text('{"what": "satchel segments", "format": 9, "kinds": {}}')
    with pytest.raises(UserError, match="newer Satchel"):
        Store(tmp_path / "store")
    path.write_text("half")  # the one before holds
    Store(tmp_path / "store").set_kind("eye", "object")
    assert Store(tmp_path / "store").kinds == {"eye": "object"}


# -- several writers -------------------------------------------------------------------------------------------------


def test_who_comes_second_is_told_and_loses_nothing(tmp_path):
    anna, ben = Store(tmp_path, by="Anna"), Store(tmp_path, by="Ben")
    start = anna.save("p", segments("", ""), None, "cut")
    theirs = anna.save("p", segments("eye", ""), start, "typed eye")
    with pytest.raises(StaleError, match=r"Anna changed p first \(typed eye") as caught:
        ben.save("p", segments("", "beak"), start, "typed beak")
    assert caught.value.theirs == theirs == ben.load("p")
    assert caught.value.mine == segments("", "beak")
    assert ben.save("p", segments("eye", "beak"), caught.value.theirs, "typed beak").version == 3
    with pytest.raises(StaleError):
        ben.save("p", segments("new"), None, "")
    with pytest.raises(StaleError):
        anna.undo(theirs)


def add_names(folder, writer: str, count: int) -> None:
    """Add a name of its own to one picture again and again, on top of what the others did."""
    store = Store(folder, by=writer)
    for number in range(count):
        while True:
            record = store.load("p")
            known = record.segments.names if record else ()
            try:
                store.save("p", segments(*known, f"{writer}{number}"), record, "")
                break
            except StaleError:
                continue


def check_all_there(folder, writers: int, count: int) -> None:
    record = Store(folder).load("p")
    expected = {f"{writer}{number}" for writer in range(writers) for number in range(count)}
    assert sorted(record.segments.names) == sorted(expected)
    assert record.version == writers * count
    assert set(Store(folder).kinds) == expected
    assert Store(folder).journal.line("p")["version"] == record.version


def test_threads_lose_nothing(tmp_path):
    threads = [threading.Thread(target=add_names, args=(tmp_path, str(writer), 8)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_all_there(tmp_path, 3, 8)


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")


def forked(work, *args) -> int:
    """Run it in another process; its id."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        work(*args)
        status = 0
    finally:
        os._exit(status)


@pytest.mark.slow
@forks
def test_processes_lose_nothing(tmp_path):
    children = [forked(add_names, tmp_path, str(writer), 8) for writer in range(3)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    check_all_there(tmp_path, 3, 8)


def save_on_and_on(folder, told: int) -> None:
    """Version n has the name "n<n>" in two pictures; each is told when it was saved."""
    store = Store(folder)
    while True:
        for picture in ("p", "q"):
            record = store.load(picture)
            number = record.version + 1 if record else 1
            store.save(picture, segments(f"n{number}"), record, "")
            os.write(told, f"{picture} {number}\n".encode())


@pytest.mark.slow
@forks
def test_killed_at_any_moment_it_loses_at_most_what_was_being_saved(tmp_path):
    rng = random.Random(5)
    for _ in range(8):
        ours, theirs = os.pipe()
        child = forked(save_on_and_on, tmp_path, theirs)
        os.close(theirs)
        before = os.read(ours, 1)  # it is at work
        time.sleep(rng.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(ours) as pipe:
            lines = (before.decode() + pipe.read()).splitlines()
        saved = {picture: int(number) for picture, _, number in (line.partition(" ") for line in lines) if number}
        store = Store(tmp_path)
        records = {picture: store.load(picture) for picture in ("p", "q")}
        for picture, record in records.items():
            if record is not None:
                assert record.version - saved.get(picture, record.version) in (0, 1)
                assert record.segments.names == (f"n{record.version}",)
        assert store.tally(2).named == sum(record is not None for record in records.values())
        assert set(store.kinds.values()) <= set(KINDS)
