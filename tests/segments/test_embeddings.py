"""The disk cache: whole files, a bounded size, and never in the way."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from core.segments.sam.embeddings import EmbeddingCache


def blob(size: int = 1000, value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"embedding": torch.full((size,), value)}


@pytest.fixture
def cache(tmp_path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "cache", limit=25_000)


def test_what_is_written_is_read_in_half_precision(cache):
    tensors = {"embedding": torch.randn(1, 4, 3, 3), "runs": torch.tensor([1, 70_000], dtype=torch.int32)}
    cache.write("a", tensors)
    found = cache.read("a")
    assert found["embedding"].dtype == torch.float32
    assert torch.equal(found["embedding"], tensors["embedding"].half().float())
    assert torch.equal(found["runs"], tensors["runs"])
    assert cache.read("b") is None


def test_the_folder_never_grows_beyond_its_limit_and_the_oldest_used_go(cache):
    for i in range(8):
        cache.write(str(i), blob())  # 2 kB each
        os.utime(cache._path(str(i)), (i, i))
    assert cache.read("0") is not None  # and so it was used last
    for i in range(8, 13):
        cache.write(str(i), blob())
    files = list(cache.folder.iterdir())
    assert sum(path.stat().st_size for path in files) <= cache.limit
    kept = [i for i in range(13) if cache.read(str(i)) is not None]
    assert 0 in kept
    assert 1 not in kept
    assert 12 in kept


def test_what_is_larger_than_all_room_is_not_kept(cache):
    cache.write("a", blob())
    cache.write("large", blob(100_000))
    assert cache.read("large") is None
    assert cache.read("a") is not None


def test_numbers_that_half_precision_cannot_hold_are_not_kept(cache):
    cache.write("a", blob(value=1e6))
    assert cache.read("a") is None


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 3000])
def test_a_damaged_file_counts_as_missing_and_goes(cache, content):
    cache.write("a", blob())
    path = cache._path("a")
    path.write_bytes(content)
    assert cache.read("a") is None
    assert not path.exists()
    cache.write("a", blob())
    assert cache.read("a") is not None


def test_a_cut_file_counts_as_missing(cache):
    cache.write("a", blob())
    path = cache._path("a")
    path.write_bytes(path.read_bytes()[:-10])
    assert cache.read("a") is None


def test_a_folder_that_cannot_be_written_is_a_note_and_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = EmbeddingCache(tmp_path / "file" / "cache")
    for _ in range(3):
        cache.write("a", blob())
    assert cache.read("a") is None
    assert len(cache.notes) == 1
    assert "every picture is encoded anew" in cache.notes[0]


def test_a_write_that_fails_half_way_leaves_nothing(cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.write("a", blob())
    assert list(cache.folder.iterdir()) == []
    assert "No space left" in cache.notes[0]


def test_many_threads_share_a_folder(cache):
    def work(own: int) -> None:
        for i in range(10):
            cache.write(f"{own} {i % 3}", blob(value=own))
            found = cache.read(f"{own} {i % 3}")
            assert found is None or float(found["embedding"][0]) == own

    threads = [threading.Thread(target=work, args=(own,)) for own in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.notes == []
    assert not list(cache.folder.glob("*.part"))


def test_clearing_removes_all(cache):
    cache.write("a", blob())
    cache.clear()
    assert cache.read("a") is None


def test_the_folder_can_be_set(monkeypatch, tmp_path):
    monkeypatch.setenv("SATCHEL_CACHE", str(tmp_path))
    assert EmbeddingCache().folder == tmp_path / "embeddings"
    monkeypatch.delenv("SATCHEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert EmbeddingCache().folder == tmp_path / "satchel" / "embeddings"
