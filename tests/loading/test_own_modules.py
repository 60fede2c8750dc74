"""A person's own modules load whatever they are called, and Satchel's stay what they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import core.classifier
import core.errors
from core.errors import UserError
from core.loading import load_classifier

FILES = {
    "core/__init__.py": "from .helpers import CLASSES\n",
    "core/helpers.py": "CLASSES = 3\ndef width():\n    return 4\n",
    "core/nets/__init__.py": "",
    "core/nets/small.py": """
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

import core
import core.helpers
import core.helpers as helpers
from core import CLASSES
from core.helpers import width as wide
from core.nets import parts
from . import parts as same
from ..helpers import width

assert core.helpers is helpers and core.CLASSES == CLASSES and same is parts


@dataclass
class Shape:
    classes: int = CLASSES


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, width()), nn.Linear(wide(), Shape().classes)

    def forward(self, x):
        from core.nets.parts import pooled  # as late as can be

        return self.last(self.first(pooled(x)))
""",
    "core/nets/parts.py": "def pooled(x):\n    return x.mean((2, 3))\n",
    "core/models.py": """
from core.classifier import Classifier  # there is none of theirs
from core.nets.small import Net

def make():
    return Net()

def finished():
    return Classifier(Net(), labels=["a", "b", "c"], device="cpu")
""",
    "core/broken.py": "import core.nothing\n",
    "core/failing.py": "raise RuntimeError(__name__ + ' failed')\n",
    "mine/models.py": "from core.nets.small import Net\nfrom .more import finished, make\n",
    "mine/more.py": "from core.nets.small import Net as make\nfrom core.models import finished\n",
    "dashboard.py": "from core.models import finished, make\n",
    "tests/models.py": "from core.models import finished, make\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = dict(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - set(before):
        if str(tmp_path) in str(
            getattr(sys.modules[name], "__file__", None) or sys.modules[name].__dict__.get("__path__")
        ):
            del sys.modules[name]


def load(spec: str):
    return load_classifier(spec, device="cpu", allow_python=True)


@pytest.mark.parametrize("module", ["core.models", "mine.models", "dashboard", "tests.models"])
@pytest.mark.parametrize("function", ["make", "finished"])
def test_modules_of_any_name_load(folder, module, function):
    import dashboard.words

    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("core", "dashboard")}
    classifier = load(f"python:{module}:{function}")
    assert len(classifier.labels) == 3
    assert all(sys.modules[name] is module for name, module in ours.items())
    assert dashboard.words is ours["dashboard.words"]
    assert not hasattr(core, "CLASSES")
    assert core.errors.UserError is UserError
    from core.runtime import interrupt  # what of ours is imported later is ours

    assert Path(interrupt.__file__).is_relative_to(Path(core.errors.__file__).parent)


def test_loaded_twice_it_is_imported_once(folder):
    load("python:core.models:make")
    with open("core/helpers.py", "a") as file:
        file.write("raise RuntimeError('imported again')\n")
    load("python:core.models:make")
    load("python:mine.models:make")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("core.absent:make", "no module 'core.absent' here"),
        ("core.models:mak", "did you mean 'make'?"),
        ("core.broken:make", "imports 'core.nothing'"),
        ("core.failing:make", "RuntimeError: core.failing failed"),
    ],
)
def test_mistakes_are_told_in_names_as_they_are_written(folder, spec, told):
    with pytest.raises(UserError) as caught:
        load(f"python:{spec}")
    assert told in str(caught.value)
    assert "_of_" not in str(caught.value)


def test_a_folder_of_that_name_without_the_module_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / "core").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    (tmp_path / "plain.py").write_text(
        "from core.classifier import Classifier\n"
        "import torchvision\n"
        "def make():\n    return torchvision.models.squeezenet1_1(num_classes=3)\n"
    )
    assert len(load("python:plain:make").labels) == 3
    sys.modules.pop("plain")
