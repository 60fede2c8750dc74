"""`satchel list`, `satchel --version`, and what `satchel serve` hands to the page."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.explainer import explainers
from core.explainers.captum_adapter import captum_explainers
from core.loading import known_models

DEFAULTS = {
    "model_spec": "demo:biased",
    "labels": None,
    "stated": {"output": None, "preprocessing": {}},
    "report": None,
    "evaluation": None,
    "data": None,
    "segments": None,
    "allow": (),
    "roots": (),
    "host": "127.0.0.1",
    "port": 7860,
    "open_browser": True,
    "share": False,
    "auth": None,
    "allow_hosts": (),
    "root_path": None,
    "max_upload": 2**30,
    "model_memory": None,
    "mcp": False,
}


@pytest.fixture
def launched(monkeypatch) -> list[dict]:
    calls: list[dict] = []
    monkeypatch.setitem(sys.modules, "dashboard.app", SimpleNamespace(launch=lambda **given: calls.append(given)))
    return calls


@pytest.mark.slow
def test_explainers_as_json_are_the_registry_and_captums(satchel):
    listed = json.loads(satchel("list", "explainers", "--json").out)
    known = {**explainers(), **captum_explainers()}
    assert [entry["name"] for entry in listed] == list(known)
    for entry in listed:
        method = known[entry["name"]]
        assert (entry["title"], entry["summary"], entry["family"]) == (method.title, method.summary, method.family)
        assert (entry["signed"], entry["unit"], entry["default"]) == (method.signed, method.unit, method.default)
        defaults = {parameter["name"]: parameter["default"] for parameter in entry["parameters"]}
        assert method.parameters.parse(defaults) == method.parameters()


def test_tables_name_everything(satchel):
    shown = satchel("list", "explainers").out
    assert all(name in shown for name in (*explainers(), *captum_explainers()))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["explainers", "metrics", "models", "segmenters"])
def test_nothing_that_has_to_be_typed_is_cut(satchel, monkeypatch, what):
    entries = json.loads(satchel("list", what, "--json").out)
    names = [entry["spec" if what == "models" else "name"] for entry in entries]
    with monkeypatch.context() as terminal:
        terminal.setenv("FORCE_COLOR", "1")
        terminal.setenv("COLUMNS", "80")
        shown = satchel("list", what).out
    assert "…" not in shown
    assert all(name in shown for name in names)
    piped = satchel("list", what).out
    assert "…" not in piped
    assert all(p["name"] in piped for entry in entries for p in entry.get("parameters", ()))


def test_models_as_json(satchel):
    listed = json.loads(satchel("list", "models", "--json").out)
    assert listed == known_models()
    specs = [entry["spec"] for entry in listed]
    assert {"demo:biased", "demo:repaired", "demo:vit", "torchvision:mobilenet_v2"} <= set(specs)
    shown = satchel("list", "models").out
    assert all(spec in shown for spec in specs)


def test_version(satchel):
    assert satchel("--version").out == f"satchel {version('satchel')}\n"


def test_without_a_command_the_page_opens_on_the_demo(satchel, launched):
    assert satchel().code == 0
    assert launched == [DEFAULTS]
    satchel("serve")
    assert launched == [DEFAULTS, DEFAULTS]


def test_serve_hands_its_options_on(satchel, launched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("names.txt").touch()
    for folder in ("found", "judged", "birds"):
        Path(folder).mkdir()
        Path(folder, "manifest.json").touch()
    words = "--model demo:vit --labels names.txt --report found --evaluation judged --data birds --segments cut"
    words += " --allow models --allow others --data-root sets --output sigmoid --mean 0.5"
    words += (
        " --host 0.0.0.0 --port 8000 --no-open --share --auth me:secret --allow-host a.example --allow-host b.example"
    )
    words += " --root-path /satchel --max-upload 5 --model-memory 0.5 --log-format json --mcp"
    assert satchel("serve", *words.split()).code == 0
    assert launched == [
        {
            "model_spec": "demo:vit",
            "labels": Path("names.txt"),
            "stated": {"output": "sigmoid", "preprocessing": {"mean": (0.5,)}},
            "report": Path("found"),
            "evaluation": Path("judged"),
            "data": "birds",
            "segments": Path("cut"),
            "allow": [Path("models"), Path("others")],
            "roots": [Path("sets")],
            "host": "0.0.0.0",
            "port": 8000,
            "open_browser": False,
            "share": True,
            "auth": "me:secret",
            "allow_hosts": ["a.example", "b.example"],
            "root_path": "/satchel",
            "max_upload": 5 * 2**20,
            "model_memory": 2**29,
            "mcp": True,
        }
    ]


class Blocks:
    """Stands for a page; keeps what it was served with."""

    def __init__(self, public: str | None = None) -> None:
        self.public, self.given, self.closed = public, {}, []

    def launch(self, **given: object) -> tuple[None, str, str | None]:
        self.given = given
        print("* Running on local URL")
        return None, f"http://127.0.0.1:{given['server_port']}/", self.public

    def close(self, verbose: bool) -> None:
        self.closed.append(verbose)

    @property
    def names(self) -> Any:
        guard, *_ = self.given["app_kwargs"]["middleware"]
        return guard.kwargs["names"]


@pytest.fixture
def serving(satchel, monkeypatch):
    """`satchel serve` on a page that is none, interrupted at once."""
    from dashboard import app

    def interrupted() -> None:
        raise KeyboardInterrupt

    def serve(*words: str, public: str | None = None) -> tuple[Any, Blocks]:
        blocks = Blocks(public)
        monkeypatch.setattr(app, "build", lambda page: blocks)
        monkeypatch.setattr(app, "keep_level", lambda: None)
        monkeypatch.setattr(app, "Event", lambda: SimpleNamespace(wait=interrupted))
        return satchel("serve", "--no-open", *words), blocks

    return serve


@pytest.mark.slow
@pytest.mark.parametrize(("share", "public"), [(False, None), (True, "https://abc.gradio.live"), (True, None)])
def test_serve_says_where_the_page_is_and_ends_with_ctrl_c(serving, share, public):
    done, blocks = serving(*(["--share"] if share else []), public=public)
    assert done.code == 130
    assert "Stopped." in done.err
    first, *others = done.out.splitlines()
    assert first == "Satchel is at http://127.0.0.1:7860 - Ctrl-C ends it."
    assert [(public or "could not be made") in line for line in others] == [True] * share
    assert blocks.closed == [False]
    assert ("abc.gradio.live" in blocks.names) == (public is not None)
    assert done.err.count("can use this page") == share  # without a password


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "warned"), [("127.0.0.1", 0), ("localhost", 0), ("::1", 0), ("0.0.0.0", 1), ("::", 1)]
)
def test_an_open_page_without_a_password_is_warned_of_in_one_sentence(serving, host, warned):
    done, blocks = serving("--host", host, "--port", "7999", "--allow-host", "satchel.example.org")
    assert done.err.count("Everyone who reaches port 7999") == warned
    assert done.err.count("--auth USER:PASSWORD") == warned
    assert "satchel.example.org" in blocks.names
    assert ("10.1.2.3" in blocks.names) == bool(warned)
    assert blocks.given["auth"] is None


@pytest.mark.slow
def test_a_password_comes_from_the_option_or_the_environment(serving, monkeypatch):
    done, blocks = serving("--host", "0.0.0.0", "--auth", "me:se:cret")
    assert blocks.given["auth"] == ("me", "se:cret")
    assert "can use this page" not in done.err
    monkeypatch.setenv("SATCHEL_AUTH", "you:other")
    assert serving()[1].given["auth"] == ("you", "other")
    for bad in ("justaword", ":secret", "me:"):
        done, _ = serving("--auth", bad)
        assert (done.code, "takes USER:PASSWORD" in done.err, "secret" in done.err) == (2, True, False)


@pytest.mark.slow
def test_the_address_a_proxy_shows_the_page_under_is_a_name_it_answers_to(serving):
    _, blocks = serving("--root-path", "https://tools.example.org/satchel")
    assert blocks.given["root_path"] == "https://tools.example.org/satchel"
    assert "tools.example.org" in blocks.names
    done, _ = serving("--allow-host", "not a name")
    assert (done.code, "no name of a machine" in done.err) == (2, True)


@pytest.mark.slow
def test_agents_need_a_package_and_know_no_password(serving, monkeypatch):
    monkeypatch.setattr("dashboard.app.find_spec", lambda name: None)
    done, _ = serving("--mcp")
    assert (done.code, 'pip install "satchel[mcp]"' in done.err) == (2, True)
    monkeypatch.setattr("dashboard.app.find_spec", lambda name: name)
    done, _ = serving("--mcp", "--auth", "me:secret")
    assert (done.code, "--mcp knows no password" in done.err) == (2, True)
    done, blocks = serving("--mcp")
    assert blocks.given["mcp_server"] is True
    assert "gradio_api/mcp/" in done.out


def test_serve_refuses_a_port_that_is_none(satchel, launched):
    assert satchel("serve", "--port", 70000).code == 2
    assert launched == []
