"""Who may speak to the page: the names that it answers to, and which sites may send it anything.

A page in the same browser can send requests to the loopback address, and, where its own name is made to point there
(DNS rebinding), read the answers as well. Both show in the headers: `Host` is then a name that is not ours, `Origin`
another site.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from time import monotonic
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import UserError
from dashboard.log import told

SAFE = ("GET", "HEAD", "OPTIONS")
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
BODY_BYTES = 8 * 2**20  # of anything but an upload, which has its own limit
UPLOAD_BYTES = 2**30  # of all that is uploaded at a time: a zip of pictures, a file of weights
FORM_BYTES = 2**20  # that a form takes besides its files
MOST_TOLD = 200  # characters of a path in the log
SPARE_BYTES = 64 * 2**20  # that an upload leaves free on the disk


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches such an address."""
    address = _address(host)
    return address.is_loopback if address is not None else host.lower().rstrip(".") == "localhost"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def split_host(text: str) -> tuple[str, int | None] | None:
    """A `Host` header -> name or address in lower case, port; None where it is none."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?", text.strip().lower())
    if found is None:
        return None
    return (found[1] or found[2]).rstrip("."), int(found[3]) if found[3] else None


class Names:
    """The names that a page answers to.

    An address by number cannot be rebound, so every one is taken where other machines are let in: it may be one that
    this machine does not know of, as behind a router or in a container. On a loopback address only loopback ones are.
    """

    def __init__(self, host: str, given: Iterable[str] = ()) -> None:
        """
        Args:
            host: where the page listens. given: further names, as a proxy's.

        Raises:
            UserError: one of them is no name.
        """
        self.open = not is_loopback(host)
        self.given = {given_name(name) for name in given}
        self.own = {"localhost"}
        if self.open:
            hostname = socket.gethostname().lower().rstrip(".")
            self.own |= {hostname, f"{hostname.partition('.')[0]}.local", host.lower().rstrip(".")}

    @property
    def shared(self) -> bool:
        """Whether others than who starts the page are to reach it: from other machines, or through a proxy."""
        return self.open or bool(self.given)

    def allow(self, name: str) -> None:
        """One more, known only now."""
        self.given.add(given_name(name))

    def __contains__(self, name: str) -> bool:
        address = _address(name)
        if address is not None and (self.open or address.is_loopback):
            return True
        return name in self.own or name in self.given


def given_name(text: str) -> str:
    """What somebody named, an address of a site or a bare name -> the name.

    Raises:
        UserError: it is none.
    """
    site = re.fullmatch(r"\w+://([^/]*).*", text.strip())
    found = split_host(site[1] if site else text)
    if found is None:
        raise UserError(f"{text!r} is no name of a machine; give one such as satchel.example.org, without a path.")
    return found[0]


class Guard:
    """ASGI middleware that refuses foreign hosts and origins; streams pass through untouched."""

    def __init__(
        self, app: ASGIApp, names: Names, upload_bytes: int = UPLOAD_BYTES, room: Callable[[], int] | None = None
    ) -> None:
        """
        Args:
            names: what the page answers to.
            upload_bytes: that one upload may have.
            room: bytes that are free where uploads are kept; without it that is not looked at.
        """
        self.app, self.names, self.upload_bytes, self.room = app, names, upload_bytes, room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        refusal = self.refusal(scope, headers)
        if refusal is not None:
            code, sentence = refusal
            told("request refused", failed=True, status=code, path=scope["path"][:MOST_TOLD], why=sentence)
        if refusal is None:
            await self.app(scope, receive, _told_of(send, headers) if is_upload(scope) else send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            answer = PlainTextResponse(sentence, code, {"X-Content-Type-Options": "nosniff", "Connection": "close"})
            await answer(scope, receive, send)

    def refusal(self, scope: Scope, headers: dict[str, list[str]]) -> tuple[int, str] | None:
        """(status, sentence) where the request is refused."""
        hosts = headers.get("host", [])
        host = split_host(hosts[0]) if len(hosts) == 1 else None
        if host is None:
            return 400, "The request does not say which host it is for."
        if host[0] not in self.names:
            return 403, (
                f"This page does not answer to the name {host[0][:253]}; if it should, "
                f"start it with --allow-host {host[0][:253]}."
            )
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE
        origins = headers.get("origin", [])
        if origins and not (len(origins) == 1 and self._same_site(origins[0], host)):
            return 403, "This page takes nothing from other sites; behind a proxy, name the proxy with --allow-host."
        site = headers.get("sec-fetch-site", ["none"])
        if changes and not origins and site[-1] not in ("none", "same-origin"):
            return 403, "This page takes nothing from other sites."
        if not changes or scope["type"] != "http":
            return None
        if is_upload(scope):
            return self._too_large(headers)
        return self._too_long(headers)

    def _same_site(self, origin: str, host: tuple[str, int | None]) -> bool:
        """Whether a request comes from this very page, or from a name that was given."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        found = split_host(parts.netloc)
        if parts.scheme not in PORTS or found is None:  # "null" of a sandboxed frame
            return False
        if found[0] in self.names.given:
            return True
        usual = PORTS[parts.scheme]
        # behind a proxy that speaks TLS, a host without a port is at that proxy's own
        return found[0] == host[0] and (found[1] or usual) == (host[1] or usual)

    def _too_large(self, headers: dict[str, list[str]]) -> tuple[int, str] | None:
        """Of uploads, before any of it is taken."""
        length = _length(headers)
        if length is None:
            return NO_LENGTH
        if length > self.upload_bytes + FORM_BYTES:
            return 413, (
                f"This page takes {self.upload_bytes / 2**20:,.0f} MB at a time (--max-upload); "
                "give less at once, or put the files on the server."
            )
        if self.room is not None and length + SPARE_BYTES > self.room():
            return 507, "The disk of this page is nearly full; tell whoever runs it, or come back later."
        return None

    @staticmethod
    def _too_long(headers: dict[str, list[str]]) -> tuple[int, str] | None:
        length = _length(headers)
        if length is None:
            return NO_LENGTH
        return (413, f"The request is longer than {BODY_BYTES >> 20} MB.") if length > BODY_BYTES else None


def is_upload(scope: Scope) -> bool:
    """Whether a request brings files."""
    return scope["type"] == "http" and scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload")


def _told_of(send: Send, headers: dict[str, list[str]]) -> Send:
    """Pass on the answer to an upload, and tell what became of it."""
    began = monotonic()

    async def passed(message: Message) -> None:
        if message["type"] == "http.response.start":
            status, megabytes = message["status"], round((_length(headers) or 0) / 2**20, 2)
            taken = status < 400
            told(
                "upload taken" if taken else "upload refused", failed=not taken, status=status, megabytes=megabytes,
                seconds=round(monotonic() - began, 3),
            )  # fmt: skip
        await send(message)

    return passed


NO_LENGTH = (411, "The request does not say how long it is.")


def _length(headers: dict[str, list[str]]) -> int | None:
    """What a request says that it holds; None where it does not say."""
    length = headers.get("content-length", ["0"])[-1]
    if "transfer-encoding" in headers or not length.isdecimal():
        return None
    return int(length)
