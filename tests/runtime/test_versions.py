"""Numbered whole files: no number twice, nothing half."""

from __future__ import annotations

import os
import resource
import threading
import time

import pytest

from core.errors import UserError
from core.runtime.versions import Versions, WriteError


def test_a_number_is_given_once(tmp_path):
    versions = Versions(tmp_path / "new" / "folder")
    assert versions.newest() == 0
    versions.add(1, b"one")
    versions.add(2, b"two")
    with pytest.raises(FileExistsError):
        versions.add(2, b"other")
    assert versions.numbers() == [1, 2]
    assert versions.path(2).read_bytes() == b"two"
    assert sorted(os.listdir(versions.folder)) == ["00000001.json", "00000002.json"]


def test_of_many_threads_one_gets_a_number(tmp_path):
    versions, won = Versions(tmp_path), []
    begin = threading.Barrier(8)

    def write(name: int) -> None:
        begin.wait()
        for number in range(1, 11):
            try:
                versions.add(number, b"%d" % name)
                won.append((number, name))
            except FileExistsError:
                pass

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for number, _ in won) == list(range(1, 11))
    assert all(versions.path(number).read_bytes() == b"%d" % name for number, name in won)


def test_a_full_disk_leaves_what_was_there(tmp_path):
    versions = Versions(tmp_path)
    versions.add(1, b"one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(WriteError, match=r"is full; free some room.*what was saved before is whole"):
            versions.add(2, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["00000001.json"]
    versions.add(2, b"two")


def test_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written to"):
        Versions(tmp_path / "file" / "folder").add(1, b"")

    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(WriteError, match="Operation not permitted"):
        Versions(tmp_path).add(1, b"")
    assert os.listdir(tmp_path) == ["file"]


def test_pruning_keeps_the_newest_and_removes_what_killed_writers_left(tmp_path):
    versions = Versions(tmp_path)
    for number in range(1, 8):
        versions.add(number, b"")
    old, young = tmp_path / "1-1-0.part", tmp_path / "1-1-1.part"
    old.write_text("half"), young.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    versions.prune(3)
    assert versions.numbers() == [5, 6, 7]
    assert young.exists()
    assert not old.exists()
