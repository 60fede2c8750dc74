"""GET /health: what it tells, to whom, and that it waits for nobody."""

from __future__ import annotations

import http.client
import json
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from core.runtime.software import satchel_version
from dashboard.health import Health, state
from dashboard.machine import resident, usual_model_bytes
from dashboard.network import Guard, Names
from dashboard.page import Page
from tests.dashboard.conftest import run_apart


def asked(app, path: str = "/health", method: str = "GET", host: str = "127.0.0.1", root: str = ""):
    """(status, body) of one request, over ASGI."""
    sent: list[dict] = []
    scope = {
        "type": "http", "method": method, "path": path, "root_path": root, "headers": [(b"host", host.encode())],
        "query_string": b"",
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    run_apart(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], body


async def nothing(scope, receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_it_tells_numbers_and_nothing_that_is_anybodys(small_page: Page):
    small_page.sessions.get("a secret key")
    small_page.maker = SimpleNamespace(counts=lambda: (2, 1))
    told = json.loads(asked(Health(nothing, small_page))[1])
    assert told.pop("memory_bytes") == pytest.approx(resident(), rel=0.5)
    assert told == {
        "status": "ok", "version": satchel_version(), "model_loaded": True, "models": 1, "visitors": 1,
        "reports": {"waiting": 2, "running": 1}, "training": False, "evaluations": 0,
    }  # fmt: skip
    words = json.dumps(state(small_page))
    assert not any(secret in words for secret in ("secret", "tiny", "/", "first"))


def test_only_its_own_path_is_answered_also_behind_a_proxy(small_page: Page):
    health = Health(nothing, small_page)
    assert asked(health, "/health/")[0] == asked(health, method="HEAD")[0] == 200
    assert asked(health, "/satchel/health", root="/satchel")[0] == 200
    assert asked(health, "/healthy")[0] == asked(health, "/a/health")[0] == asked(health, method="POST")[0] == 404


def test_names_that_the_page_does_not_answer_to_learn_nothing(small_page: Page):
    guarded = Guard(Health(nothing, small_page), Names("127.0.0.1"))
    assert asked(guarded)[0] == 200
    assert asked(guarded, host="evil.example")[0] == 403


def test_a_page_that_ends_says_so_and_takes_nothing_new(small_page: Page):
    small_page.end(0.0)
    status, body = asked(Health(nothing, small_page))
    assert (status, json.loads(body)["status"]) == (503, "ending")


@pytest.mark.slow
def test_the_served_page_answers_while_somebody_has_the_device(served):
    place = urlsplit(served.url)
    with served.page.runner.lock.turn() as mine:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert (mine, answer.status, json.loads(answer.read())["status"]) == (True, 200, "ok")
        connection.close()


@pytest.mark.slow
def test_a_login_is_asked_for_everything_but_health(small_page: Page):
    import gradio as gr

    from dashboard.app import launch_options

    with gr.Blocks() as blocks:
        gr.api(lambda: None, api_name="predict")
    _, url, _ = blocks.launch(prevent_thread_lock=True, auth=("me", "secret"), **launch_options(page=small_page))
    place = urlsplit(url)

    def status(method: str, path: str, body: str | None = None) -> int:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        code = connection.getresponse().status
        connection.close()
        return code

    try:
        assert status("GET", "/health") == 200
        for method, path in (
            ("GET", "/config"), ("GET", "/gradio_api/info"), ("GET", "/gradio_api/file=/etc/passwd"),
            ("POST", "/gradio_api/upload"), ("POST", "/gradio_api/queue/join"), ("POST", "/gradio_api/call/predict"),
        ):  # fmt: skip
            assert status(method, path, "{}" if method == "POST" else None) in (401, 403), path
    finally:
        blocks.close(verbose=False)


def test_a_page_behind_a_named_proxy_is_a_shared_one():
    assert not Names("127.0.0.1").shared
    assert Names("127.0.0.1", ["satchel.example.org"]).shared
    assert Names("0.0.0.0").shared


def test_models_may_take_a_part_of_the_memory(monkeypatch):
    for machine, part in ((6 * 2**30, 2 * 2**30), (2**40, 4 * 2**30), (0, 4 * 2**30)):
        monkeypatch.setattr("dashboard.machine.machine_bytes", lambda machine=machine: machine)
        assert usual_model_bytes() == part
