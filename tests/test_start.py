"""What needs no model answers before torch is imported, and a list imports nothing but torch that is heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torchvision.models
from torchvision.models import segmentation

from core.loading.torchvision_names import classifiers, semantic_models

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    *("torch", "torchvision", "captum", "timm", "zennit", "transformers", "huggingface_hub", "segment_anything"),
    *("scipy", "skimage", "sklearn", "cv2", "pandas", "pyarrow", "duckdb", "matplotlib", "gradio", "plotly"),
)
RUN = """
import json, sys
from dashboard.cli.main import main
sys.argv = ["satchel", *{words!r}]
try:
    main()
except SystemExit as end:
    code = end.code or 0
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]))
"""


def run(words: str, folder: Path) -> tuple[int, set[str], str]:
    """The exit code, what of HEAVY was imported, and what was said of mistakes."""
    script = RUN.format(words=words.split(), heavy=HEAVY)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    code, imported = json.loads(done.stdout.splitlines()[-1])
    return code, set(imported), done.stderr


@pytest.mark.parametrize("words", ["--help", "--version", "explain --help", "report --help", "serve --help"])
def test_help_imports_nothing_heavy(tmp_path, words):
    assert run(words, tmp_path)[:2] == (0, set())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("explain --what", "No such option"),
        ("report demo:birds --limit 0", "--limit"),
        ("explain missing.png", "There is no file missing.png"),
        ("explain here.png --model torchvison:resnet50", "did you mean 'torchvision'?"),
        ("explain here.png --model torchvision:resnet5", "did you mean 'resnet50'?"),
        ("explain here.png --model torchvision:", "lacks a name after the colon"),
        ("explain here.png --model torchvision:resnet18@missing.pth", "no weights file missing.pth"),
        ("explain here.png --model demo:based", "did you mean 'biased'?"),
        ("explain here.png --model hf:missing", "no folder missing"),
        ("explain here.png --labels missing.txt", "no labels file missing.txt"),
        ("explain here.png --explainer suppression:samples", "has no value"),
        ("explain here.png --size large", "--size takes"),
        ("report missing", "There is no folder missing"),
        ("report demo:birdz", "did you mean 'birds'?"),
        ("report demo:birds --segments missing.json", "no folder of masks or annotation file missing.json"),
        ("evaluate missing", "There is no folder missing"),
        ("evaluate demo:birds --scorer timm:", "lacks a name"),
        ("segment missing --superpixels", "There is no folder missing"),
        ("segment demo:birds", "How to cut is one of"),
        ("segment demo:birds --sam vit_b@missing.pth", "no weights file missing.pth"),
        ("name missing", "There is no folder missing"),
        ("name demo:birds --examples missing.json", "missing.json"),
        ("export missing", "missing"),
        ("serve --report missing", "There is no report folder missing"),
        ("serve --model nothing:at-all", "names no model"),
    ],
)
def test_mistakes_are_told_before_anything_heavy_is_imported(tmp_path, words, told):
    (tmp_path / "here.png").touch()
    code, imported, said = run(words, tmp_path)
    assert (code, imported) == (2, set())
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("what", ["explainers", "metrics", "segmenters", "models"])
@pytest.mark.parametrize("form", ["", " --json"])
def test_a_list_imports_nothing_heavy_but_torch(tmp_path, what, form):
    assert run(f"list {what}{form}", tmp_path)[:2] == (0, {"torch"})


def test_of_pictures_that_are_all_missing_each_is_told(tmp_path):
    code, imported, said = run("explain a.png b.png a.png", tmp_path)
    assert (code, imported) == (2, set())
    assert [line.partition(";")[0] for line in said.splitlines()] == [
        f"satchel: There is no file {name}" for name in ("a.png", "b.png")
    ]


def test_the_names_read_off_torchvisions_source_are_its_own():
    assert list(classifiers()) == torchvision.models.list_models(module=torchvision.models)
    assert list(semantic_models()) == torchvision.models.list_models(module=segmentation)
