"""`import satchel`: what it names, what it costs, and what its calls give back."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy import SIDE, toy_classifier, toy_picture

import satchel
from core.export import MapFolder
from core.segments import segments_from_label_map

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "core" / "satchel.py"


@pytest.fixture(scope="module")
def explained(tmp_path_factory) -> satchel.Explanation:
    path = tmp_path_factory.mktemp("pictures") / "stamped.png"
    Image.fromarray(toy_picture(1, 3, mark=True)[0]).resize((3 * SIDE, 2 * SIDE)).save(path)
    return satchel.explain(toy_classifier(), path, "integrated-gradients", parameters={"samples": 6})


def test_the_installed_face_is_the_sources():
    installed = Path(satchel.__file__)
    assert installed.name == "__init__.py"
    assert installed.read_text() == SOURCE.read_text(), "run `uv sync` again"
    assert (installed.parent / "py.typed").is_file()
    assert (ROOT / "core" / "py.typed").is_file()


def test_every_name_is_there_is_listed_and_is_typed():
    listed = set(satchel.__all__)
    assert listed <= set(dir(satchel))
    assert all(getattr(satchel, name) is not None for name in listed)
    branches = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If)]
    (typed,) = [node.body for node in branches if ast.unparse(node.test) == "TYPE_CHECKING"]
    names = {alias.asname or alias.name for node in typed if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names | {"__version__"} == listed == set(satchel._PLACES) | {"__version__"}
    assert len(satchel.__all__) == len(listed)


def test_names_are_the_cores_own():
    from core.classifier import Classifier
    from core.explainer import register

    assert satchel.Classifier is Classifier
    assert satchel.register_explainer is register
    assert satchel.__version__ == version("satchel")
    with pytest.raises(AttributeError, match="nothing"):
        satchel.nothing


def test_importing_it_costs_no_torch(tmp_path):
    script = "import sys, satchel; dir(satchel); satchel.__version__, satchel.UserError, satchel.load_classifier; "
    script += "print([name for name in ('torch', 'numpy', 'PIL', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_explanation_knows_its_picture_and_its_class(explained):
    assert (explained.label, explained.contrast_label) == ("stamped", None)
    attribution, prepared = explained
    assert attribution is explained.attribution
    assert prepared is explained.prepared
    with torch.no_grad():
        logits = explained.classifier.logits(prepared.tensor[None])
    probability = explained.classifier.probabilities(logits)[0, attribution.target]
    assert explained.probability == pytest.approx(float(probability))
    assert explained.on_picture().shape == explained.picture.size == (2 * SIDE, 3 * SIDE)
    assert torch.equal(explained.on_picture(), prepared.geometry.map_to_picture(attribution.values))
    against = satchel.explain(explained.classifier, explained.picture.image, "gradient", "plain", "stamped")
    assert (against.label, against.contrast_label) == ("plain", "stamped")


def test_its_overlay_is_what_a_notebook_shows(explained):
    drawn = explained.overlay()
    assert drawn.size == (3 * SIDE, 2 * SIDE)
    assert explained.overlay(longest=SIDE).size == (SIDE, 2 * SIDE // 3)
    shown = Image.open(io.BytesIO(explained._repr_png_()))
    assert np.array_equal(np.asarray(shown), np.asarray(drawn))
    assert "picture=" not in repr(explained)


def test_its_rows_say_what_lies_where(explained):
    labels = Image.fromarray(toy_picture(1, 3, mark=True)[1])
    mask = np.asarray(labels.resize((3 * SIDE, 2 * SIDE), Image.Resampling.NEAREST))
    names = {1: ("object", "object"), 2: ("mark", "context"), 4: ("sky", "context")}
    rows = {row["segment"]: row for row in explained.rows(segments_from_label_map(mask, names))}
    assert max(rows, key=lambda name: rows[name]["density"]) == "mark"
    with pytest.raises(satchel.UserError, match="make them equal"):
        explained.rows(segments_from_label_map(mask[:-1], names))


def test_it_is_kept_with_what_it_is(explained, tmp_path):
    listed = explained.save(tmp_path / "one")
    (entry,) = json.loads(listed.read_text())
    assert (entry["picture"], entry["target_label"]) == ("stamped.png", "stamped")
    assert entry["probability"] == pytest.approx(explained.probability)
    np.testing.assert_array_equal(np.load(listed.parent / entry["values_file"]), explained.attribution.values)
    assert Image.open(listed.parent / entry["overlay_file"]).size == (3 * SIDE, 2 * SIDE)
    folder = MapFolder(tmp_path / "several")
    for _ in range(2):
        explained.save(folder)
        assert len(json.loads((tmp_path / "several" / "attribution.json").read_text())) == len(folder.records)
    assert len({entry["values_file"] for entry in folder.records}) == 2


@pytest.mark.slow
def test_a_report_is_one_call(toy_data, toy_report, tmp_path):
    steps = []
    found = satchel.report(
        str(toy_data),
        toy_classifier(),
        tmp_path / "report",
        explainers=["integrated-gradients:samples=4"],
        check=False,
        limit=12,
        progress=steps.append,
    )
    assert found.path == tmp_path / "report"
    assert found.manifest["pictures"] == 12
    assert {step.stage for step in steps} >= {"explaining", "controls"}
    assert satchel.open_report(found.path).manifest == found.manifest
    with pytest.raises(satchel.UserError, match="opened already"):
        satchel.report(satchel.open_dataset(toy_data), toy_classifier(), tmp_path / "other", limit=3)
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_report_takes_the_usual_explainers_that_can(toy_data, tmp_path):
    data = satchel.open_dataset(toy_data, limit=4)
    found = satchel.report(data, toy_classifier(), tmp_path / "report", check=False)
    assert set(found.table["explainer"]) == {"suppression", "grad-cam"}


def test_an_evaluation_is_one_call(toy_data, tmp_path):
    found = satchel.evaluate(
        toy_data, toy_classifier(), tmp_path / "evaluation", explainers=["gradient"], metrics=["sparseness"], limit=4
    )
    assert found.path == tmp_path / "evaluation"
    names = [entry["name"] for entry in found.manifest["explainers"]]
    assert names[0] == "gradient"
    assert {"random", "edges", "centre"} < set(names)
    assert satchel.open_evaluation(found.path).leaderboard == found.leaderboard
