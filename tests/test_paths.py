"""Paths that people give: what is no path, what is not there, and what must not be opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from core.errors import UserError
from core.paths import existing_file, existing_folder, kind_at, user_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\0b", "NUL"),
        ("x" * 5000, "longer than paths can be"),
        ("a/" * 3000, "longer than paths can be"),
        ("é" * 200, "longer than paths can be"),  # 400 bytes in one name
        ("~nosuchuser/x", "no user ~nosuchuser"),
        ("\ud800", "characters that no file name has"),
        ("", "No path was given"),
        (" \n", "No path was given"),
    ],
)
def test_what_is_no_path(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as told:
        user_path(text)
    assert len(str(told.value)) < 300


def test_the_home_folder_is_meant_and_other_paths_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/a") == tmp_path / "a"
    assert user_path("a/~b") == Path("a/~b")
    assert user_path(Path("c")) == Path("c")
    monkeypatch.chdir(tmp_path)
    Path("~$table.png").touch()
    assert user_path("~$table.png") == Path("~$table.png")


def test_files_and_folders(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.touch()
    assert existing_file(file, "labels file") == file
    assert existing_folder(tmp_path, "folder of masks") == tmp_path
    assert kind_at(file / "below", "file") is None  # below a file is nothing
    with pytest.raises(UserError, match=r"There is no labels file .*b\.txt; check --labels"):
        existing_file(tmp_path / "b.txt", "labels file", "check --labels")
    with pytest.raises(UserError, match="is a folder, not a labels file"):
        existing_file(tmp_path, "labels file")
    with pytest.raises(UserError, match="There is no report folder"):
        existing_folder(tmp_path / "b", "report folder")
    with pytest.raises(UserError, match="is a file, not a report folder"):
        existing_folder(file, "report folder")


def test_devices_pipes_and_sockets_are_not_opened(tmp_path: Path) -> None:
    pipe, link, plug = tmp_path / "pipe", tmp_path / "zero", tmp_path / "plug"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(plug))
        for path in (pipe, link, plug, Path("/dev/null"), Path("/proc/self/maps")):
            for look in (existing_file, existing_folder):
                with pytest.raises(UserError, match="a device, a pipe or a socket"):
                    look(path, "weights file")


def test_links_in_a_circle_and_names_too_long(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match=r"cannot be read .*symbolic links"):
        existing_file(tmp_path / "a", "weights file")
    for bad in ("x" * 300, "a\0b"):
        with pytest.raises(UserError, match="cannot be read"):
            existing_folder(tmp_path / bad, "report folder")


def test_what_may_not_be_read(tmp_path: Path, closed: Path) -> None:
    (tmp_path / "file").touch(mode=0)
    for look, path in (
        (existing_file, closed / "inside"),
        (existing_file, tmp_path / "file"),
        (existing_folder, closed),
        (kind_at, closed / "inside"),
    ):
        with pytest.raises(UserError, match=r"cannot be read .Permission denied.; check its permissions"):
            look(path, "thing")
