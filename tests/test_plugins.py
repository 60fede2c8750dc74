"""What other packages add by entry points appears and works; what does not do is told in a sentence and left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow  # each starts Python with torch anew
ROOT = Path(__file__).resolve().parents[1]
MAIN = "from dashboard.cli.main import main; main()"
PLUG_IN = """
from dataclasses import dataclass

import torch
from torch import nn

import satchel
from core.explainer import Estimate, Explainer
from core.metrics.metric import Metric
from core.parameters import Parameters, parameter
from core.segments import segments_from_label_map
from core.segments.registry import Segmenter


@dataclass(frozen=True)
class TiltParameters(Parameters):
    slope: float = parameter(1.0, "how steep", low=0.0, high=2.0, step=0.1)


class Tilt(Explainer):
    name, title, summary, family = "tilt", "Tilt", "Brighter to the right.", "control"
    class_specific = False
    parameters = TiltParameters

    def run(self, classifier, job, state):
        ramp = torch.linspace(0, job.parameters.slope, job.frame[1]).expand(job.size, *job.frame)
        yield Estimate(ramp.clone(), [0] * job.size, [0] * job.size)


@satchel.register_metric
class Middle(Metric):
    name, title, summary, family = "middle", "Middle", "How much lies in the middle.", "complexity"
    higher_is_better, reference = True, "nobody"

    def judge(self, case, parameters):
        return case.values.mean((1, 2))


class Halves(Segmenter):
    name, title, summary, family = "halves", "Halves", "left and right", "unnamed"

    def cut(self, picture, parameters):
        import numpy as np
        labels = np.ones(picture.size, np.uint8)
        labels[:, picture.size[1] // 2 :] = 2
        return segments_from_label_map(labels, {1: ("", "unset"), 2: ("", "unset")}, self.source)


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, x):
        return self.head(x.mean((2, 3)))


def model(name):
    return Net({"two": 2, "five": 5}[name])
"""
ADDED = {
    "explainers": {"tilt": "added_by:Tilt"},
    "metrics": {"middle": "added_by"},
    "segmenters": {"halves": "added_by:Halves"},
    "models": {"nets": "added_by:model"},
}
DEFECTS = {
    "a module that is not there": ("nowhere_at_all:Thing", "nowhere_at_all"),
    "a name that is not there": ("added_by:Thing", "Thing"),
    "no explainer": ("added_by:Net", "no class derived from Explainer"),
    "a module that fails": ("broken:Thing", "it broke"),
    "a module that ends the program": ("ending:Thing", "SystemExit"),
    "a name that is taken": ("odd:Taken", "two explainers are called 'gradient'"),
    "an unknown family": ("odd:Family", "'psychic'"),
    "no summary": ("odd:Mute", "has no summary"),
    "parameters that are none": ("odd:Loose", "no class derived from Parameters"),
    "nothing to run": ("odd:Idle", "abstract"),
    "registered before it failed": ("half:Thing", "ZeroDivisionError"),
}
ODD = """
from core.explainer import Explainer

class Whole(Explainer):
    name, title, summary, family = "odd", "Odd", "Odd.", "control"
    def run(self, classifier, job, state): ...

class Taken(Whole): name = "gradient"
class Family(Whole): family = "psychic"
class Mute(Whole): summary = ""
class Loose(Whole): parameters = dict
class Idle(Explainer): name, title, summary, family = "idle", "Idle", "Idle.", "control"
"""
HALF = """
import satchel
from odd import Whole

@satchel.register_explainer
class Half(Whole): name = "half"

1 / 0
"""


def write(folder: Path, package: str, groups: dict[str, dict[str, str]], **modules: str) -> None:
    """A package as it lies there once it is installed."""
    about = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines: list[str] = []
    for group, entries in groups.items():
        lines += [f"[satchel.{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


@pytest.fixture
def installed(tmp_path):
    """Runs Python with packages from tmp_path / "site"."""

    def run(*words: object, code: str = MAIN) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path / "site"), str(ROOT)))}
        command = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture
def added(tmp_path, installed):
    write(tmp_path / "site", "satchel-added", ADDED, added_by=PLUG_IN)
    return installed


@pytest.mark.parametrize(("what", "name"), [("explainers", "tilt"), ("metrics", "middle"), ("segmenters", "halves")])
def test_what_a_package_adds_is_listed(added, what, name):
    done = added("list", what, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (entry,) = [entry for entry in json.loads(done.stdout) if entry["name"] == name]
    assert entry["title"] == name.capitalize()
    assert [p["name"] for p in entry["parameters"]] == (["slope"] if name == "tilt" else [])


def test_what_a_package_adds_is_used(added, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)).save(tmp_path / "a.png")
    done = added("explain", "a.png", "--model", "nets:five", "-e", "tilt:slope=2", "--out", "maps")
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads((tmp_path / "maps" / "attribution.json").read_text())
    assert (entry["explainer"], entry["parameters"], entry["model"]) == ("tilt", {"slope": 2.0}, "nets:five")
    assert entry["target_label"].startswith("class ")
    values = np.load(tmp_path / "maps" / entry["values_file"])
    assert (values[:, 0].max(), values[:, -1].min()) == (0, 2)

    (tmp_path / "data").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "data" / "a.png")
    done = added("segment", "data", "--segmenter", "halves", "--out", "cut")
    assert done.returncode == 0, done.stderr
    assert "1 picture cut" in done.stdout
    assert "2 masks" in done.stdout
    words = ("--explainers", "gradient", "--metrics", "middle", "--out", "evaluation")
    done = added("evaluate", "data", "--model", "nets:two", *words)
    assert done.returncode == 0, done.stderr
    entries = json.loads((tmp_path / "evaluation" / "manifest.json").read_text())["explainers"]
    assert {"gradient", "random", "edges", "centre", "tilt"} == {entry["name"] for entry in entries}


def test_models_of_a_package_are_told_like_others(added):
    listed = json.loads(added("list", "models", "--json").stdout)
    assert {
        "spec": "nets:NAME",
        "title": "A model of the package satchel-added",
        "needs": "see satchel-added",
    } in listed
    done = added("explain", __file__, "--model", "nets:three")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nets:three failed in the package satchel-added (KeyError: 'three')" in done.stderr
    assert "did you mean 'nets'?" in added("explain", __file__, "--model", "net:two").stderr


def test_the_page_takes_a_packages_model_only_from_the_command_line(added):
    code = """
from core.errors import UserError
from dashboard.classifiers import Classifiers
print(len(Classifiers("nets:five").get("nets:five").classifier.labels))
try:
    Classifiers("demo:biased").get("nets:five")
except UserError as error:
    print(error)
"""
    assert added(code=code).stdout.splitlines() == [
        "5",
        "A model of another package can be given on the command line only.",
    ]


def test_everything_defective_is_told_in_a_sentence_and_left_out(tmp_path, installed):
    site = tmp_path / "site"
    write(site, "satchel-added", {"explainers": {"tilt": "added_by:Tilt"}}, added_by=PLUG_IN)
    entries = {name.replace(" ", "-"): value for name, (value, _) in DEFECTS.items()}
    modules = {"broken": "raise OSError('it\\nbroke.')", "ending": "raise SystemExit(3)", "odd": ODD, "half": HALF}
    write(site, "defects", {"explainers": entries, "models": {"demo": "odd:Taken"}}, **modules)
    done = installed("list", "explainers", "--json")
    assert done.returncode == 0, done.stderr
    names = [entry["name"] for entry in json.loads(done.stdout)]
    assert {"tilt", "gradient", "lrp"} < set(names)
    assert {"odd", "idle", "half"}.isdisjoint(names)
    told = done.stderr.splitlines()
    assert len(told) == len(DEFECTS)
    for name, (_, why) in DEFECTS.items():
        (line,) = [line for line in told if f" {name.replace(' ', '-')} " in line]
        assert line.startswith(f"satchel: The plug-in {name.replace(' ', '-')} of the package defects is left out (")
        assert why in line
        assert line.endswith(").")
    done = installed("list", "models")
    assert done.returncode == 0
    assert "plug-in demo of the package defects is left out (there is a source of models called demo" in done.stderr
    assert done.stderr.count("\n") == 1


def test_from_python_a_defect_is_a_warning(tmp_path, installed):
    write(tmp_path / "site", "defects", {"metrics": {"bad": "nowhere_at_all"}})
    done = installed(code="import satchel; print('sparseness' in satchel.metrics())")
    assert done.stdout == "True\n"
    assert "PluginWarning: The plug-in bad of the package defects is left out (ModuleNotFoundError: " in done.stderr
