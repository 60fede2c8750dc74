"""Many files in one."""

from __future__ import annotations

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import UserError
from core.storage.pack import Pack, packing

FILES = {f"{number}.bin": bytes([number]) * number for number in range(50)}


@pytest.fixture
def path(tmp_path) -> Path:
    with packing(tmp_path / "a.zip") as pack:
        for name, data in FILES.items():
            pack.add(name, data)
            assert name in pack
            assert "other" not in pack
    return tmp_path / "a.zip"


def test_each_file_comes_back_alone_to_any_thread(path):
    pack = Pack(path)
    assert pack.names == tuple(FILES)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(pack.read, [*FILES] * 20)) == [*FILES.values()] * 20


def test_other_programs_open_it(path, tmp_path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "by hand")
    assert {file.name: file.read_bytes() for file in (tmp_path / "by hand").iterdir()} == FILES


def test_the_same_files_give_the_same_bytes(path, tmp_path):
    with packing(tmp_path / "b.zip") as pack:
        for name, data in FILES.items():
            pack.add(name, data)
    assert (tmp_path / "b.zip").read_bytes() == path.read_bytes()


def test_files_of_one_name_get_a_number(tmp_path):
    with packing(tmp_path / "b.zip") as pack:
        names = [pack.add("a.jpg", bytes([number])) for number in range(3)]
    assert names == ["a.jpg", "a-2.jpg", "a-3.jpg"]
    assert [Pack(tmp_path / "b.zip").read(name) for name in names] == [b"\0", b"\1", b"\2"]


def test_what_is_stopped_half_way_leaves_what_was_there(path):
    before = path.read_bytes()

    def stopped() -> None:
        with packing(path) as pack:
            pack.add("new", b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped()
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["a.zip"]


def test_what_is_missing_or_damaged_is_told(path, tmp_path):
    with pytest.raises(UserError, match=r"a\.zip holds no other\.bin"):
        Pack(path).read("other.bin")
    with pytest.raises(UserError, match=r"b\.zip is missing or damaged"):
        Pack(tmp_path / "b.zip").read("1.bin")
    data = bytearray(path.read_bytes())
    data[data.index(bytes([49]) * 49)] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.zip is missing or damaged .*CRC"):
        Pack(path).read("49.bin")
    path.write_bytes(data[:-30])
    with pytest.raises(UserError, match=r"a\.zip is missing or damaged"):
        _ = Pack(path).names


def test_what_would_be_larger_than_the_pack_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10_000_000))
    with pytest.raises(UserError, match="not as it was written"):
        Pack(tmp_path / "bomb.zip").read("a.png")
