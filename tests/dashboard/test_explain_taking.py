"""Maps taken along from the Explain tab, and the words that make them again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torchvision.models import squeezenet1_1
from typer.testing import CliRunner

from core.choice import Choice
from core.errors import UserError
from dashboard.cli.main import app
from dashboard.explain.taking import again_html, command, maps_file, python
from dashboard.page import Page
from dashboard.pictures import View
from dashboard.project.own_models import Stated
from dashboard.runs import ResultKey, Run
from dashboard.sessions import Session

CHOICES = ("integrated-gradients:samples=8", "grad-cam")


def keys_of(page: Page, session: Session, view: View, texts: tuple[str, ...] = CHOICES) -> list[ResultKey]:
    """The chosen maps, made."""
    keys = [ResultKey(view.source.id, view.fingerprint, Choice.parse(text), 1, 2, 0) for text in texts]
    run = Run({key.choice.explainer: key for key in keys})
    for _ in page.runner.stream(page.classifiers.get(session.spec), view.image, run):
        pass
    assert not run.failed
    return keys


def test_the_zip_holds_values_drawings_and_what_they_are(small_page: Page, session: Session, view: View) -> None:
    with pytest.raises(UserError, match="No chosen map is finished"):
        maps_file(
            small_page, session, view, [ResultKey(view.source.id, view.fingerprint, Choice("random"), 0, None, 0)]
        )
    keys = keys_of(small_page, session, view)
    with ZipFile(maps_file(small_page, session, view, keys)) as archive:
        listed = json.loads(archive.read("attribution.json"))
        assert [entry["explainer"] for entry in listed] == ["integrated-gradients", "grad-cam"]
        assert {"first.grad-cam.npy", "first.grad-cam.png"} < set(archive.namelist())
        with archive.open("first.grad-cam.npy") as file:
            values = np.load(file)
    made = small_page.runner.results.get(keys[1])
    assert made is not None
    assert np.array_equal(values, made.values.numpy())
    assert (listed[0]["target_label"], listed[0]["contrast_label"]) == ("bee", "cat")


@pytest.mark.slow
def test_the_command_and_the_python_make_the_same_maps(
    small_page: Page, session: Session, view: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(squeezenet1_1(num_classes=3).state_dict(), tmp_path / "mine.pth")
    assert small_page.classifiers.own is not None
    stated = Stated("mine", "torchvision:squeezenet1_1", ("an ant", "bee", "cat"), {"size": 64, "mean": (0.5,)})
    session.spec = small_page.classifiers.own.add(stated, tmp_path / "mine.pth")
    view = small_page.view(session)
    keys = keys_of(small_page, session, view)
    expected = [small_page.runner.results.get(key).values.numpy() for key in keys]
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command(small_page, session, view, keys))
    assert words[:2] == ["satchel", "explain"]
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output
    found = [np.load(tmp_path / "maps" / f"first.{key.choice.explainer}.npy") for key in keys]
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(found, expected))
    own: dict = {}
    exec(python(small_page, session, view, keys), own)
    assert np.allclose(own["grad_cam"].attribution.values.numpy(), expected[1], atol=1e-5)
    assert (tmp_path / "grad_cam.png").is_file()
    shown = again_html(small_page, session, view, keys)
    assert shown.count("data-copy") == 2
