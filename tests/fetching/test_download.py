"""Downloads from a server on this machine that stalls, cuts off, ignores what it is asked, and lies."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE

import pytest
import torch

from core.errors import UserError
from core.fetching import download as module
from core.fetching.download import download

CONTENT = bytes(range(256)) * 12_000  # 3 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()
TAG = '"version-1"'


class Server(ThreadingHTTPServer):
    """Serves CONTENT. `habits` are taken one a request, the last one for all that follow; `asked` notes the ranges."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.habits: list[str] = ["honest"]
        self.asked: list[str | None] = []
        self.release = threading.Event()

    def handle_error(self, *args: object) -> None:
        """The client may hang up on a server that misbehaves."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/model.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        habit = server.habits.pop(0) if len(server.habits) > 1 else server.habits[0]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        tag = '"version-2"' if "changed" in habit else TAG
        if "missing" in habit or "busy" in habit:
            self.send_error(404 if "missing" in habit else 503)
            return
        if start >= len(CONTENT):
            self.send_error(416)
            return
        if "no range" in habit or self.headers.get("If-Range") != tag:
            start = 0
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            shown = start + 7 if "other part" in habit else start
            self.send_header("Content-Range", f"bytes {shown}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body) // 2 if "short" in habit else len(body)))
        if "untagged" not in habit:
            self.send_header("ETag", tag)
        self.end_headers()
        if "lies" in habit:
            body = bytes(len(body))
        if "cuts" in habit:
            body = body[: max(len(body) // 2, 1)]
        self.wfile.write(body[:1_000_000] if "stalls" in habit else body)
        if "stalls" in habit:
            server.release.wait(20)


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    thread = threading.Thread(target=one.serve_forever, args=(0.02,))
    thread.start()
    yield one
    one.release.set()
    one.shutdown()
    one.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    return tmp_path / "checkpoints"


def fetch(server: Server, **options) -> Path:
    return download(server.url, "vit_b", sha256=DIGEST, **options)


def fails(server: Server, words: str, **options) -> None:
    with pytest.raises(UserError, match=words) as caught:
        fetch(server, **options)
    assert "\n" not in str(caught.value)


def test_what_is_there_is_fetched_once_and_reported(server, cache):
    seen = []
    path = fetch(server, progress=lambda part, text: seen.append((part, text)))
    assert path.read_bytes() == CONTENT
    assert [part for part, _ in seen] == sorted(part for part, _ in seen)
    assert seen[-1] == (1.0, "Downloading vit_b (2 of 2 MB)")
    assert fetch(server) == path
    assert server.asked == [None]
    assert sorted(cache.iterdir()) == [path, cache / "model.pth.checked"]


def test_what_lies_in_the_cache_is_checked_once(server, cache, monkeypatch):
    cache.mkdir()
    path = cache / "model.pth"
    path.write_bytes(CONTENT)
    assert fetch(server) == path
    with monkeypatch.context() as patch:
        patch.setattr(module.hashlib, "file_digest", None)
        assert fetch(server) == path
    assert server.asked == []


def test_another_file_of_that_name_is_fetched_again(server):
    path = fetch(server)
    for wrong in (CONTENT[:-9], bytes(len(CONTENT))):
        path.write_bytes(wrong)
        server.habits = ["missing"]
        for _ in range(2):
            fails(server, r"model.pth does not hold them\) could not be downloaded")
        assert path.read_bytes() == wrong
        server.habits = ["honest"]
        assert fetch(server).read_bytes() == CONTENT
    assert download(server.url, "vit_b").read_bytes() == CONTENT


def test_what_is_cut_off_goes_on_where_it_stopped(server, cache):
    server.habits = ["cuts", "cuts", "honest"]
    path = fetch(server)
    assert path.read_bytes() == CONTENT
    half, rest = len(CONTENT) // 2, len(CONTENT) - len(CONTENT) // 2
    assert server.asked == [None, f"bytes={half}-", f"bytes={half + rest // 2}-"]
    assert sorted(cache.iterdir()) == [path, cache / "model.pth.checked"]


def test_a_later_call_goes_on_too(server, cache):
    server.habits = ["cuts", "busy"]
    fails(server, r"was refused \(Service Unavailable\) after 1 MB; try again, and it goes on")
    assert (cache / "model.pth.part").stat().st_size == len(CONTENT) // 2
    server.habits, server.asked = ["honest"], []
    assert fetch(server).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) // 2}-"]


def test_a_server_that_ignores_the_range_sends_it_all_again(server):
    server.habits = ["cuts", "no range"]
    assert fetch(server).read_bytes() == CONTENT


@pytest.mark.parametrize("habit", ["changed", "untagged"])
def test_parts_of_a_file_that_may_have_changed_are_not_mixed(server, habit):
    server.habits = ["cuts untagged" if habit == "untagged" else "cuts", habit]
    assert fetch(server).read_bytes() == CONTENT
    assert server.asked[1] == (None if habit == "untagged" else f"bytes={len(CONTENT) // 2}-")


def test_another_part_than_was_asked_for_is_not_used(server):
    server.habits = ["cuts", "other part", "honest"]
    assert fetch(server).read_bytes() == CONTENT
    assert server.asked[2] is None


def test_a_stall_is_waited_for_once_and_then_left(server):
    server.habits = ["stalls", "honest"]
    began = time.monotonic()
    assert fetch(server, timeout=0.3).read_bytes() == CONTENT
    assert time.monotonic() - began < 15
    assert len(server.asked) == 2


@pytest.mark.slow
def test_a_server_that_always_stalls_or_cuts_is_told_of_in_a_sentence(server, cache):
    server.habits = ["stalls no range"]
    fails(server, "The download of vit_b stalled after 0 MB; try again", timeout=0.2)
    server.habits = ["cuts no range"]
    fails(server, "The download of vit_b broke off after 1 MB; try again")
    assert not (cache / "model.pth").exists()


@pytest.mark.parametrize("habit", ["lies", "short"])
def test_what_is_not_the_file_never_enters_the_cache(server, cache, habit):
    server.habits = [habit]
    fails(server, "arrived damaged")
    assert not list(cache.iterdir())
    server.habits = ["honest"]
    assert fetch(server).read_bytes() == CONTENT


def test_a_part_that_a_lie_was_added_to_is_thrown_away(server, cache):
    server.habits = ["cuts", "lies"]
    fails(server, "arrived damaged")
    assert not list(cache.iterdir())


def test_a_missing_file_and_no_server_at_all(server, cache):
    server.habits = ["missing"]
    fails(server, r"could not be downloaded \(Not Found\); connect to the internet once, or give a file")
    assert len(server.asked) == 1
    with pytest.raises(UserError, match="could not be downloaded"):
        download("http://127.0.0.1:9/model.pth", "vit_b")
    assert not list(cache.iterdir())


def test_a_part_longer_than_the_file_is_begun_anew(server, cache):
    server.habits = ["cuts", "busy"]
    fails(server, "refused")
    with (cache / "model.pth.part").open("ab") as part:
        part.write(CONTENT)
    server.habits = ["honest"]
    assert fetch(server).read_bytes() == CONTENT


def test_a_full_disk_is_told_as_such(server, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._Part, "clear", full)
    fails(server, "cannot be kept in .* \\(No space left on device\\); make room there")


def test_two_at_once_fetch_it_once(server):
    server.habits = ["honest"]
    found: list[Path] = []
    both = [threading.Thread(target=lambda: found.append(fetch(server))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [path.read_bytes() == CONTENT for path in found] == [True, True]
    assert server.asked == [None]


def test_who_is_killed_while_fetching_holds_up_nobody(server, cache):
    server.habits = ["honest"]
    cache.mkdir()
    held = f"""
from filelock import FileLock
with FileLock({str(cache / "model.pth.part.lock")!r}):
    print("held", flush=True)
    input()
"""
    found: list[Path] = []
    with subprocess.Popen([sys.executable, "-c", held], stdin=PIPE, stdout=PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        waiting = threading.Thread(target=lambda: found.append(fetch(server)))
        waiting.start()
        waiting.join(0.3)
        assert (server.asked, waiting.is_alive()) == ([], True)
        other.kill()
    waiting.join(30)
    assert found[0].read_bytes() == CONTENT
    assert not list(cache.glob("*.part*"))
