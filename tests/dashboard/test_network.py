"""Which requests the page answers: over a real connection, and rule by rule."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import pytest

from core.errors import UserError
from dashboard.network import (
    BODY_BYTES,
    FORM_BYTES,
    SPARE_BYTES,
    UPLOAD_BYTES,
    Guard,
    Names,
    given_name,
    is_loopback,
    split_host,
)

HERE, EVIL = "127.0.0.1:7860", "evil.example"


def asked(names: Names, host: str | None, method: str = "GET", kind: str = "http", path: str = "/", **headers: str):
    """The status a request is refused with, or None."""
    guard = Guard(None, names)
    found = {name.replace("_", "-"): [value] for name, value in headers.items()}
    if host is not None:
        found["host"] = [host]
    refusal = guard.refusal({"type": kind, "method": method, "path": path}, found)
    return None if refusal is None else refusal[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("LocalHost:7860", ("localhost", 7860)), ("localhost.", ("localhost", None)), ("[::1]:80", ("::1", 80)),
        ("a.b", ("a.b", None)), ("", None), ("a b", None), ("a:b", None), ("a/b", None), ("a@b", None), ("[::1", None),
        ("::1", None), ("a:123456", None),
    ],
)  # fmt: skip
def test_host_headers(text, found):
    assert split_host(text) == found


def test_loopback_addresses():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "")))


@pytest.mark.parametrize("host", ["localhost:7860", HERE, "127.0.0.1", "[::1]:7860", "localhost."])
def test_a_loopback_page_answers_to_loopback_names(host):
    assert asked(Names("127.0.0.1"), host) is None


@pytest.mark.parametrize(
    "host", [EVIL, "localhost.evil.example", "10.0.0.1:7860", "0.0.0.0:7860", "127.0.0.1.evil.example"]
)
def test_a_loopback_page_answers_to_no_other(host):
    assert asked(Names("127.0.0.1"), host) == 403
    assert asked(Names("localhost"), host, kind="websocket") == 403


def test_a_request_without_a_host_or_with_two_is_refused():
    assert asked(Names("127.0.0.1"), None) == 400
    guard = Guard(None, Names("127.0.0.1"))
    both = guard.refusal({"type": "http", "method": "GET", "path": "/"}, {"host": [HERE, EVIL]})
    assert both is not None
    assert both[0] == 400


def test_an_open_page_answers_to_addresses_and_to_its_machines_name_but_not_to_any_name():
    names = Names("0.0.0.0")
    own = socket.gethostname().lower()
    for host in ("192.168.1.20:7860", "[2001:db8::1]:7860", "localhost:9000", f"{own}:7860"):
        assert asked(names, host) is None
    assert asked(names, EVIL) == 403
    assert asked(Names("0.0.0.0", ["Satchel.Example.org"]), "satchel.example.org") is None
    assert asked(Names("0.0.0.0", ["https://satchel.example.org/path"]), "satchel.example.org:443") is None


@pytest.mark.parametrize("text", ["", "a b", "https://", "a/b", "http://[::1"])
def test_what_is_no_name_is_refused(text):
    with pytest.raises(UserError, match="no name of a machine"):
        given_name(text)


def test_other_sites_may_send_nothing():
    names = Names("127.0.0.1")
    assert asked(names, HERE, "POST", origin="http://127.0.0.1:7860") is None
    assert asked(names, HERE, "POST") is None  # a program, not a browser
    foreign = (
        "http://evil.example",
        "null",
        "http://127.0.0.1:3000",
        "http://localhost:7860",
        "file://",
        "https://127.0.0.1",
    )
    for origin in foreign:
        for method in ("POST", "PUT", "DELETE", "GET"):
            assert asked(names, HERE, method, origin=origin) == 403
        assert asked(names, HERE, kind="websocket", origin=origin) == 403
    for site in ("cross-site", "same-site"):  # a form that keeps its origin to itself
        assert asked(names, HERE, "POST", sec_fetch_site=site) == 403
        assert asked(names, HERE, "GET", sec_fetch_site=site) is None  # a link that somebody follows
    assert asked(names, HERE, "POST", sec_fetch_site="same-origin") is None


def test_behind_a_proxy_its_name_is_an_origin_whether_or_not_it_passes_the_host_on():
    names = Names("127.0.0.1", ["satchel.example.org"])
    origin = "https://satchel.example.org"
    assert asked(names, "satchel.example.org", "POST", origin=origin) is None
    assert asked(names, HERE, "POST", origin=origin) is None
    assert asked(names, HERE, kind="websocket", origin=origin) is None
    assert asked(names, HERE, "POST", origin="https://satchel.example.org.evil.example") == 403


def test_long_requests_are_refused_but_for_uploads():
    names = Names("127.0.0.1")
    too_long = {"content_length": str(BODY_BYTES + 1)}
    assert asked(names, HERE, "POST", path="/gradio_api/queue/join", **too_long) == 413
    assert asked(names, HERE, "POST", path="/gradio_api/queue/join", content_length="-1") == 411
    assert asked(names, HERE, "POST", path="/gradio_api/queue/join", transfer_encoding="chunked") == 411
    assert asked(names, HERE, "POST", path="/gradio_api/upload", **too_long) is None


def test_an_upload_has_a_bound_of_its_own_and_leaves_room_on_the_disk():
    def upload(guard: Guard, **headers: str) -> tuple[int, str] | None:
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload"}
        return guard.refusal(scope, {"host": [HERE], **{k.replace("_", "-"): [v] for k, v in headers.items()}})

    names = Names("127.0.0.1")
    assert upload(Guard(None, names), content_length=str(UPLOAD_BYTES + FORM_BYTES)) is None
    assert upload(Guard(None, names), content_length=str(UPLOAD_BYTES + FORM_BYTES + 1))[0] == 413
    small = Guard(None, names, 5 * 2**20, lambda: 2**40)
    assert upload(small, content_length=str(5 * 2**20)) is None
    assert "takes 5 MB at a time (--max-upload)" in upload(small, content_length=str(2**30))[1]
    assert upload(small, transfer_encoding="chunked")[0] == 411
    assert upload(Guard(None, names, room=lambda: SPARE_BYTES + 99), content_length="100")[0] == 507
    assert upload(Guard(None, names, room=lambda: SPARE_BYTES + 100), content_length="100") is None


def fetched(served, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    place = urlsplit(served.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.slow
def test_the_served_page_refuses_rebound_names_and_foreign_uploads(served):
    assert fetched(served, "GET", "/")[0] == 200
    status, told = fetched(served, "GET", "/config", Host=EVIL)
    assert status == 403
    assert told.endswith("start it with --allow-host evil.example.")
    form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nx\r\n--b--\r\n'
    kind = {"Content_Type": "multipart/form-data; boundary=b"}
    assert fetched(served, "POST", "/gradio_api/upload", form, **kind)[0] == 200
    status, told = fetched(served, "POST", "/gradio_api/upload", form, Origin="http://evil.example", **kind)
    assert (status, told.startswith("This page takes nothing from other sites")) == (403, True)
    own = served.url.rstrip("/")
    assert fetched(served, "POST", "/gradio_api/upload", form, Origin=own, **kind)[0] == 200
