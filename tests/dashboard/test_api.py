"""What programs may ask of a page: the documented example, the page's limits, and what is refused."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest

from core.errors import UserError
from dashboard import api
from dashboard.api import CALLS_EACH, Calls, Turnstile, uploaded
from dashboard.page import Page
from tests.dashboard.conftest import LABELS, photo

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"


@pytest.fixture
def sent(tmp_path: Path, monkeypatch) -> dict[str, Any]:
    """A picture that lies where uploads do."""
    monkeypatch.setattr(api, "get_upload_folder", lambda: str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    photo().save(tmp_path / "uploads" / "photo.png")
    return {"path": str(tmp_path / "uploads" / "photo.png"), "meta": {"_type": "gradio.FileData"}}


@pytest.mark.slow
def test_the_documented_example_runs_against_a_served_page(served, tmp_path: Path, capsys):
    (block,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    photo(seed=3).save(tmp_path / "photo.jpg")
    example = block.replace("http://127.0.0.1:7860", served.url).replace("photo.jpg", str(tmp_path / "photo.jpg"))
    assert example.count(served.url) == 1
    names: dict[str, Any] = {}
    exec(compile(example, str(DOCUMENT), "exec"), names)
    assert sum(one["probability"] for one in names["said"]["classes"]) <= 1.001
    assert len(names["said"]["classes"]) == 3
    assert names["numbers"]["target_label"] == LABELS[0]
    assert names["values"].dtype == np.float32
    assert names["values"].shape == (32, 32)
    assert Path(names["overlay"]).read_bytes().startswith(b"\x89PNG")
    assert names["found"]["findings"]
    assert LABELS[0] in capsys.readouterr().out


@pytest.mark.slow
def test_exactly_three_endpoints_are_named_and_all_are_documented(served):
    from gradio_client import Client

    told = Client(served.url, verbose=False).view_api(return_format="dict", print_info=False)
    assert set(told["named_endpoints"]) == {"/predict", "/explain", "/report_findings"}
    assert told["unnamed_endpoints"] == {}
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, endpoint in told["named_endpoints"].items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
        assert endpoint["description"]
        assert all(f"`{parameter['parameter_name']}`" in line for parameter in endpoint["parameters"])


@pytest.mark.slow
def test_no_address_of_the_servers_own_network_is_fetched(served):
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(served.url, verbose=False)
    for address in (f"{served.url}config", f"{served.url}gradio_api/file=/etc/passwd", "http://169.254.169.254/latest"):
        with pytest.raises(AppError):
            client.predict(
                picture={"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}, api_name="/predict"
            )


def test_a_map_is_the_same_as_in_every_other_command(small_page: Page, sent):
    from core.explain import explain

    classifier = small_page.classifiers.get("tiny").classifier
    numbers, values, _ = Calls(small_page).explain(sent, "smoothgrad:samples=4", "cat", seed=7)
    expected = explain(classifier, sent["path"], "smoothgrad", "cat", parameters={"samples": 4}, seed=7)
    np.testing.assert_allclose(np.load(values["path"]), expected.attribution.values.numpy(), rtol=1e-4, atol=1e-6)
    assert (numbers["target_label"], numbers["seed"], numbers["picture"]) == ("cat", 7, "photo.png")
    assert not any("file" in name for name in numbers)


def test_the_page_opens_no_more_for_programs_than_for_people(small_page: Page, sent, tmp_path: Path):
    calls = Calls(small_page)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = tmp_path / "elsewhere"
    for call in (
        lambda: calls.predict(sent, model=f"torchvision:resnet18@{elsewhere}/w.pth"),
        lambda: calls.predict(sent, model=f"hf:{elsewhere}"),
        lambda: calls.explain(sent, explainer=f"expected-gradients:references={elsewhere}"),
        lambda: calls.explain(sent, explainer=f"salvage@{elsewhere}/w.safetensors"),
        lambda: calls.explain(sent, explainer=f"salvage:weights={elsewhere}/w.safetensors"),
        lambda: calls.report_findings(str(elsewhere)),
    ):
        with pytest.raises(gr.Error, match="named when it was started"):
            call()
    with pytest.raises(gr.Error, match="command line only"):
        calls.predict(sent, model="python:os:getcwd")


def test_only_uploads_are_read(sent, tmp_path: Path):
    photo().save(tmp_path / "outside.png")
    (tmp_path / "uploads" / "link.png").symlink_to(tmp_path / "outside.png")
    (tmp_path / "uploads-of-others").mkdir()
    photo().save(tmp_path / "uploads-of-others" / "a.png")
    assert uploaded(sent) == Path(sent["path"])
    assert uploaded({"path": f"http://127.0.0.1:7860/gradio_api/file={sent['path']}"}) == Path(sent["path"])
    for path in (
        "", str(tmp_path / "outside.png"), str(tmp_path / "uploads"), f"{tmp_path}/uploads/../outside.png",
        f"{tmp_path}/uploads/link.png", f"{tmp_path}/uploads-of-others/a.png", "/etc/passwd", "https://evil.example/a",
        f"https://evil.example/file={tmp_path}/outside.png", "a\0b", None,
    ):  # fmt: skip
        with pytest.raises(UserError, match="Upload the picture"):
            uploaded({"path": path})


def test_mistakes_are_one_sentence_and_defects_are_told_as_such(small_page: Page, sent, monkeypatch, caplog):
    calls = Calls(small_page)
    for call, sentence in (
        (lambda: calls.predict(sent, classes=0), "Ask for 1 to 100 classes"),
        (lambda: calls.explain(sent, target="horse"), "has no class 'horse'"),
        (lambda: calls.explain(sent, explainer="nonsense"), "nonsense"),
        (lambda: calls.explain(sent, seed=-1), "must be 0 or above"),
        (lambda: calls.explain(sent, explainer="occlusion:regions=segments"), "named segments"),
    ):
        with pytest.raises(gr.Error, match=sentence):
            call()
    monkeypatch.setattr(api, "read_picture", lambda path: 1 / 0)
    with pytest.raises(gr.Error, match="log says why"):
        calls.predict(sent)
    assert "ZeroDivisionError" in caplog.text
    small_page.end(0.0)
    with pytest.raises(gr.Error, match="about to end"):
        calls.report_findings()


def test_a_client_of_a_shared_page_has_few_requests_in_hand(small_page: Page, sent):
    turnstile = Turnstile(CALLS_EACH)
    with turnstile.passed("a"), turnstile.passed("a"):
        with pytest.raises(UserError, match="2 requests of yours"), turnstile.passed("a"):
            pass
        with turnstile.passed("b"):
            pass
    with turnstile.passed("a"):
        pass
    small_page.shared = True
    calls, asked = Calls(small_page), SimpleNamespace(client=SimpleNamespace(host="10.0.0.1"))
    with small_page.runner.lock.turn():  # everybody waits for the device
        waiting = [threading.Thread(target=calls.predict, args=(sent,), kwargs={"request": asked}) for _ in range(2)]
        for thread in waiting:
            thread.start()
        while calls.turnstile._inside["10.0.0.1"] < CALLS_EACH:
            pass
        with pytest.raises(gr.Error, match="2 requests of yours"):
            calls.predict(sent, request=asked)
    for thread in waiting:
        thread.join(30)
    assert calls.predict(sent, request=asked)["classes"][0]["label"] in LABELS


def test_reports_go_by_name_and_those_of_a_shared_page_stay_their_makers(small_page: Page, toy_report):
    small_page.report = toy_report.path
    small_page.reports.allowed = type(small_page.allowed)([toy_report.path])
    calls = Calls(small_page)
    own = calls.report_findings()
    assert own == calls.report_findings(toy_report.path.name) == calls.report_findings(str(toy_report.path))
    assert (own["model"], own["pictures"], own["findings"]) == ("toy", 72, toy_report.findings)
    assert calls.report_findings("demo-biased")["report"] == "demo-biased"
    assert calls.page.brought.name == "page"
