"""A page on a tiny classifier, served for real, and a browser to look at it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from core.attribution import Attribution
from core.classifier import Classifier
from core.demo.segments import SEGMENTS
from core.parameters import Parameters
from core.preprocessing import Preprocessing
from core.segments.files.label_maps import read_one
from dashboard.classifiers import Classifiers
from dashboard.explain.actions import Actions
from dashboard.explain.tab import Widgets, _layout
from dashboard.page import Page
from dashboard.pictures import View
from dashboard.report.finished import Finished, open_finished
from dashboard.sessions import Session, Sessions

LABELS = ("ant", "bee", "cat", "dog", "elk")
CHROMIUM = os.environ.get("SATCHEL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
QUIET += ["--disable-sync", "--no-first-run"]


class Tiny(nn.Module):
    """Two convolutions: every explainer can explain it, a pass costs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.Softplus(), nn.Conv2d(8, 8, 3, 2, 1), nn.Softplus())
        self.head = nn.Linear(8, len(LABELS))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def tiny_classifier(seed: int = 0) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Tiny()
        with torch.no_grad():
            module.head.weight.mul_(20)
    preprocessing = Preprocessing(resize=40, crop=(32, 32))
    return Classifier(module, labels=LABELS, preprocessing=preprocessing, name="tiny", device="cpu")


def photo(height: int = 60, width: int = 90, seed: int = 0) -> Image.Image:
    """Smooth colours that differ from seed to seed."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def attribution(
    values: Tensor, signed: bool = False, error: Tensor | None = None, partial: bool = False
) -> Attribution:
    return Attribution(values, error, partial, signed, 0, None, "suppression", Parameters(), 0, 4, 4, 0.1)


@dataclass
class Served:
    """A running page: where it is, and its stores for looking behind it."""

    url: str
    page: Any


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page on the tiny classifier with two examples, one of them with a mask."""
    from dashboard.app import build, launch_options
    from dashboard.classifiers import Classifiers
    from dashboard.page import Page
    from dashboard.sessions import Sessions

    folder = tmp_path_factory.mktemp("examples")
    page = Page(Classifiers("tiny"), Sessions("tiny"), autorun=False)
    page.classifiers.add("tiny", tiny_classifier())
    mask = np.ones((60, 90), np.uint8)
    mask[20:40, 30:60] = 4
    Image.fromarray(mask).save(folder / "first.mask.png")
    for seed, name in enumerate(("first", "second")):
        photo(seed=seed).save(folder / f"{name}.png")
        with_mask = partial(read_one, folder / "first.mask.png", dict(SEGMENTS)) if name == "first" else None
        source = page.pictures.read(folder / f"{name}.png", name, with_mask, upload=False)
        page.examples[source.id] = source
    blocks = build(page)
    _, url, _ = blocks.launch(prevent_thread_lock=True, **launch_options(page=page))
    yield Served(url, page)
    blocks.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; without one the test skips, except in CI, where it fails."""
    if CHROMIUM is None:
        reason = "no Chromium was found; install it or set SATCHEL_CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One open page, with what it complained of and where it went."""

    tab: Any
    errors: list[str]
    elsewhere: list[str]


Visits = Callable[..., Visit]


@pytest.fixture
def visits(chromium: Any, served: Served) -> Iterator[Visits]:
    """Opens fresh visitors at the Explain tab, the first example in view. Complaints fail the test at its end."""
    contexts, opened = [], []

    def open_one(theme: str = "light", width: int = 1400) -> Visit:
        context = chromium.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        found = Visit(tab, [], [])
        opened.append(found)
        tab.on("console", lambda message: found.errors.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: found.errors.append(str(error)))
        local = (served.url, "data:", "blob:", "about:")
        tab.on("request", lambda request: request.url.startswith(local) or found.elsewhere.append(request.url))
        tab.goto(f"{served.url}?__theme={theme}")
        open_explain(tab)
        return found

    yield open_one
    for context in contexts:
        context.close()
    assert [error for found in opened for error in found.errors] == []
    assert [address for found in opened for address in found.elsewhere] == []


@pytest.fixture
def visit(visits: Visits) -> Visit:
    """One of them."""
    return visits()


def open_explain(tab: Any) -> None:
    """Wait until the Explain tab shows a prediction, whichever tab the page opens on."""
    tab.get_by_role("tab", name="Explain").click()
    tab.get_by_test_id("predictions").wait_for()


def run_apart(work: Coroutine[Any, Any, None]) -> None:
    """A coroutine to its end in a thread of its own: a browser that was started in this one keeps a loop running."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, work).result()


def save(folder: Path, name: str, image: Image.Image) -> str:
    image.save(folder / name)
    return str(folder / name)


@pytest.fixture(scope="module")
def finished(toy_report) -> Finished:
    return open_finished(toy_report.path)


@pytest.fixture
def copied(toy_report, tmp_path):
    shutil.copytree(toy_report.path, tmp_path / "report")
    return tmp_path / "report"


@pytest.fixture
def small_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """With one model and one picture that has two segments, without a server."""
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "own"))
    found = Page(Classifiers("tiny"), Sessions("tiny"), autorun=False)
    found.classifiers.add("tiny", tiny_classifier())
    mask = np.ones((60, 90), np.uint8)
    mask[20:40, 30:60] = 4
    Image.fromarray(mask).save(tmp_path / "mask.png")
    photo().save(tmp_path / "first.png")
    segments = partial(read_one, tmp_path / "mask.png", dict(SEGMENTS))
    source = found.pictures.read(tmp_path / "first.png", "first", segments, upload=False)
    found.examples[source.id] = source
    return found


@pytest.fixture
def session(small_page: Page) -> Session:
    return small_page.sessions.get("visitor")


@pytest.fixture
def view(small_page: Page, session: Session) -> View:
    return small_page.view(session)


@pytest.fixture
def explain_tab(small_page: Page) -> tuple[Actions, Widgets]:
    """The handlers of the Explain tab and what they show, without a server."""
    with gr.Blocks():
        small_page.explained = gr.HTML()
        widgets = _layout()
    return Actions(small_page, widgets), widgets
