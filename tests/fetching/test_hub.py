"""timm's published weights from a hub on this machine, and a hub that cannot be reached."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save
from torch import nn

from core.errors import UserError
from core.fetching.hub import hub_file, reason
from core.loading import load_classifier

MODEL = "mobilenetv3_small_050"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Has one file, a repository's model.safetensors; `asked` notes what for."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.asked = content, []


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        there = self.path.endswith("/model.safetensors")
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(200 if there else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        if there:
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(self.server.content)))
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.path.endswith("/model.safetensors"):
            self.wfile.write(self.server.content)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(5)
    return timm.create_model(MODEL).eval()


@pytest.fixture
def hub(module, tmp_path, monkeypatch) -> Iterator[Hub]:
    server = Hub(save(module.state_dict()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_published_weights_are_fetched_once_with_progress(hub, module):
    told = []
    mean, std = (torch.tensor(module.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    picture = torch.rand(1, 3, 224, 224)
    expected = module((picture - mean) / std)
    for _ in range(2):
        classifier = load_classifier(f"timm:{MODEL}", device="cpu", progress=lambda part, text: told.append(text))
        torch.testing.assert_close(classifier.logits(picture), expected, rtol=1e-4, atol=1e-5)
    assert len(classifier.labels) == 1000
    assert sum(line.startswith("GET") and line.endswith("/model.safetensors") for line in hub.asked) == 1
    assert any("Downloading timm/" in text for text in told)


def test_a_file_that_a_repository_has_not_is_none(hub):
    assert hub_file("timm/some", "other.bin") is None
    assert Path(str(hub_file("timm/some", "model.safetensors"))).read_bytes() == hub.content


def test_no_connection_is_one_short_sentence_and_nothing_else(monkeypatch, caplog):
    def refuse(*args: object, local_files_only: bool = False, **options: object) -> None:
        missing = huggingface_hub.errors.LocalEntryNotFoundError("An error happened, and much more. " * 20)
        if local_files_only:
            raise missing
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s")
        try:
            raise OSError("[Errno -2] Name or service not known")
        except OSError as error:
            raise missing from error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(UserError) as told:
        load_classifier(f"timm:{MODEL}", device="cpu")
    sentence = str(told.value)
    assert "could not be fetched ([Errno -2] Name or service not known)" in sentence
    assert "NAME@FILE" in sentence
    assert caplog.records == []


def test_a_long_reason_ends_at_a_word():
    told = reason(ValueError("word " * 100))
    assert len(told) < 170
    assert told.endswith("word ...")
    assert reason(OSError()) == "OSError"
