"""What the page writes for a while."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from core.errors import UserError
from dashboard import temporary
from dashboard.evaluate.actions import _table_file
from dashboard.temporary import KEPT_DOWNLOADS, download, new_folder, offered, process_folder


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """As if the process had just begun, with an empty temporary directory."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(temporary, "_MADE", {})
    monkeypatch.setattr(temporary, "_OFFERED", [])


def test_one_folder_a_process_whatever_is_asked_for(tmp_path):
    first = offered("a.csv", b"1")
    assert offered("a.csv", b"1") == first
    assert offered("a.csv", b"2") != first
    assert first.read_bytes() == b"1"
    with new_folder("work-") as work:
        assert os.path.dirname(work) == str(process_folder())
    assert [path.name for path in tmp_path.iterdir()] == [process_folder().name]
    assert process_folder().stat().st_mode & 0o077 == 0


def test_the_openings_of_the_evaluate_tab_share_one_file(tmp_path):
    standing = SimpleNamespace(
        planned=None, manifest={"model": "m", "scorer": "m", "data": "d"},
        evaluation=SimpleNamespace(leaderboard=[{"metric": "a", "mean": 1.0}]),
    )  # fmt: skip
    files = {_table_file(standing)["value"] for _ in range(5)}
    assert len(files) == 1
    assert len(list(tmp_path.rglob("*.csv"))) == 1


def test_of_many_downloads_the_last_ones_are_kept():
    made = [offered("a.csv", str(number).encode()) for number in range(KEPT_DOWNLOADS + 3)]
    assert [path.is_file() for path in made] == [False] * 3 + [True] * KEPT_DOWNLOADS


@pytest.mark.slow
def test_the_folder_goes_with_the_process_and_not_with_a_forked_child(tmp_path):
    code = (
        "import os, atexit\n"
        "from dashboard.temporary import offered, process_folder\n"
        "offered('a.csv', b'1')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    atexit._run_exitfuncs()\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(process_folder().is_dir())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.stdout == "True\n"
    assert list(tmp_path.glob("satchel-*")) == []


def test_a_full_disk_costs_the_download_and_one_sentence(monkeypatch):
    process_folder()
    told = []
    monkeypatch.setattr(temporary.gr, "Warning", lambda text, title: told.append(text))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert download(lambda: offered("a.csv", b"1"))["visible"] is False
    assert len(told) == 1
    assert "No space left on device" in told[0]
    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(UserError, match="No temporary folder can be made"):
        new_folder("work-")
