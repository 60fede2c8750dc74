"""What goes to the browser compressed: the page and its streams, message by message."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any
from urllib.request import Request, urlopen

import pytest

from dashboard.packing import LEAST, Packing
from tests.dashboard.conftest import run_apart

PAGE = b"<p>satchel</p>" * LEAST


def answered(
    bodies: list[bytes], kind: str, *, status: int = 200, accepts: str = "gzip, br", **headers: str
) -> list[dict[str, Any]]:
    """All that is sent for an answer of these bodies."""
    named = {"content-type": kind, "content-length": str(sum(map(len, bodies))), **headers}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": raw})
        for number, body in enumerate(bodies):
            await send({"type": "http.response.body", "body": body, "more_body": number + 1 < len(bodies)})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"accept-encoding", accepts.encode())]}
    run_apart(Packing(app)(scope, None, send))
    return sent


def headers_of(sent: list[dict[str, Any]]) -> dict[str, str]:
    assert sent[0]["type"] == "http.response.start"
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_the_page_is_compressed() -> None:
    sent = answered([PAGE], "text/html; charset=utf-8")
    headers = headers_of(sent)
    assert headers["content-encoding"] == "gzip"
    assert "content-length" not in headers
    assert headers["vary"] == "accept-encoding"
    assert gzip.decompress(sent[1]["body"]) == PAGE
    assert len(sent[1]["body"]) < len(PAGE) / 20


def test_each_message_of_a_stream_can_be_read_when_it_comes() -> None:
    messages = [b"data: one\n\n", b"data: " + PAGE + b"\n\n", b"data: three\n\n"]
    sent = answered(messages, "text/event-stream")
    assert headers_of(sent)["content-encoding"] == "gzip"
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert [reader.decompress(message["body"]) for message in sent[1:]] == messages


def test_a_streams_head_does_not_wait_for_its_first_message() -> None:
    assert [message["type"] for message in answered([], "text/event-stream")] == ["http.response.start"]


@pytest.mark.parametrize(
    ("bodies", "kind", "more"),
    [
        ([b"{}"], "application/json", {}),
        ([PAGE], "image/png", {}),
        ([PAGE], "text/html", {"content_encoding": "br"}),
        ([PAGE], "text/html", {"status": 206}),
        ([PAGE], "text/html", {"accepts": "br"}),
    ],
)
def test_everything_else_is_left_as_it_is(bodies: list[bytes], kind: str, more: dict[str, Any]) -> None:
    sent = answered(bodies, kind, **more)
    assert headers_of(sent).get("content-encoding") in (None, "br")
    assert headers_of(sent)["content-length"] == str(len(bodies[0]))
    assert [message["body"] for message in sent[1:]] == bodies


@pytest.mark.slow
def test_the_page_is_served_compressed_and_its_quiet_events_are_told_to_nobody(served: Any) -> None:
    """Gradio's page looks for each output of each event that ever ran, at each change of any event's state."""
    with urlopen(Request(served.url, headers={"Accept-Encoding": "gzip"})) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert b"Satchel" in gzip.decompress(answer.read())
    with urlopen(f"{served.url}config") as answer:
        events = json.loads(answer.read())["dependencies"]
    quiet = [event for event in events if event["show_progress"] == "hidden"]
    assert len(quiet) > 50
    assert {len(event["show_progress_on"] or event["outputs"]) for event in quiet} == {1}
