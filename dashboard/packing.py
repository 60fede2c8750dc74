"""The page and its streams, compressed on the way: Gradio compresses only files that have a suffix.

Of a stream, each message is sent on as soon as it is there, so that nothing waits for what comes after it.
"""

from __future__ import annotations

import zlib
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEVEL = 5
STREAM = "text/event-stream"
WHOLE = ("text/html", "application/json")
LEAST = 1000  # bytes of such an answer, that are worth it


class Packing:
    """ASGI middleware: gzip for those who take it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            await self.app(scope, receive, _Packed(send))
        else:
            await self.app(scope, receive, send)


class _Packed:
    """Sends one answer on; the head of what is no stream waits until it is known how long the body is."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.waiting: Message | None = None
        self.packer: Any = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = _kind(message)
            if kind.startswith(WHOLE):
                self.waiting = message
            else:
                await self._begin(message, kind.startswith(STREAM))
        elif message["type"] == "http.response.body":
            await self._pass(message, message.get("body", b""), message.get("more_body", False))
        else:
            await self.send(message)

    async def _begin(self, head: Message, packs: bool) -> None:
        if packs:
            self.packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
            headers = MutableHeaders(raw=head["headers"])
            headers["content-encoding"] = "gzip"
            headers.add_vary_header("accept-encoding")
            del headers["content-length"]
        await self.send(head)

    async def _pass(self, message: Message, body: bytes, more: bool) -> None:
        if self.waiting is not None:
            head, self.waiting = self.waiting, None
            await self._begin(head, more or len(body) >= LEAST)
        if self.packer is not None:
            body = self.packer.compress(body) + self.packer.flush(zlib.Z_SYNC_FLUSH if more else zlib.Z_FINISH)
        await self.send({**message, "body": body})


def _kind(head: Message) -> str:
    """The type of an answer that may be compressed: whole, and by nobody yet."""
    headers = Headers(raw=head["headers"])
    whole = head["status"] == 200 and "content-encoding" not in headers
    return headers.get("content-type", "") if whole else ""
