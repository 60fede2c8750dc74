"""What a user can get wrong ends with exit code 2 and one line that says what to do, never with a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dashboard.cli.explain
from core.images import Picture

ROOT = Path(__file__).resolve().parents[2]


def assert_told(done, *words: str):
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("satchel: ")
    assert "Traceback" not in done.err + done.out
    for word in words:
        assert word in done.err


@pytest.mark.parametrize(
    ("content", "word"),
    [(None, "no file"), (b"", "empty"), (b"hello", "not a picture"), (b"<svg xmlns=''/>", "SVG")],
    ids=["missing", "0 bytes", "text", "svg"],
)
def test_picture_that_is_none(satchel, model, tmp_path, content, word):
    path = tmp_path / "odd.png"
    if content is not None:
        path.write_bytes(content)
    done = satchel("explain", path, *model, "--explainer", "gradient", "--out", tmp_path / "out")
    assert_told(done, "odd.png", word)
    assert not (tmp_path / "out" / "attribution.json").exists()


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--explainer", "grandient"), "did you mean 'gradient'?"),
        (("--explainer", "gradient:samples=3"), "samples"),
        (("--explainer", "suppression:samples=0"), "between 1 and 1024"),
        (("--explainer", "suppression:samples=many"), "must be a number"),
        (("--explainer", "suppression:samples"), "has no value"),
        (("--explainer", "suppression:samples=4, samples=8"), "samples is given twice; give it once."),
        (("--explainer", "suppression:fill=pink"), "must be one of"),
        (("--target", "finsh"), "did you mean 'finch'?"),
        (("--target", "3"), "no class"),
        (("--target", "finch", "--contrast", "finch"), "same class"),
        (("--device", "abacus"), "device"),
        (("--precision", "int8"), "Precision"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_unknown_names_and_bad_values(satchel, model, picture, tmp_path, option, word):
    assert_told(satchel("explain", picture, *model, *option, "--out", tmp_path / "out"), word)


@pytest.mark.parametrize(
    "spec", ["torchvison:resnet18", "torchvision:resnet1812@x.pth", "torchvision:squeezenet1_1@missing.pth", "birds"]
)
def test_unknown_models(satchel, picture, tmp_path, spec):
    out = tmp_path / "out"
    assert_told(satchel("explain", picture, "--model", spec, "--out", out))
    assert not out.exists()


def test_labels_that_do_not_fit(satchel, model, picture, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\n")
    assert_told(satchel("explain", picture, *model[:2], "--labels", labels, "--out", tmp_path / "out"), "labels")


@pytest.mark.parametrize("inside", [False, True])
def test_out_that_is_a_file(satchel, model, picture, tmp_path, inside):
    out = tmp_path / "notes.txt"
    out.write_text("keep me")
    target = out / "maps" if inside else out
    done = satchel("explain", picture, *model, "--explainer", "gradient", "--out", target)
    assert_told(done, "notes.txt")
    assert out.read_text() == "keep me"


def test_an_older_result_outlives_a_mistake(satchel, model, picture, tmp_path):
    out = tmp_path / "out"
    satchel("explain", picture, *model, "--explainer", "gradient", "--out", out)
    before = (out / "attribution.json").read_bytes()
    assert_told(satchel("explain", tmp_path / "missing.png", *model, "--explainer", "gradient", "--out", out))
    assert (out / "attribution.json").read_bytes() == before


def test_ctrl_c_says_how_to_go_on(satchel, model, picture, tmp_path, monkeypatch):
    def interrupted(*_: object) -> Picture:
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboard.cli.explain, "_explain_one", interrupted)
    done = satchel("explain", picture, *model, "--explainer", "gradient", "--out", tmp_path / "out")
    assert done.code == 130
    assert done.err.count("\n") == 1
    assert "Run the same command again" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("explain",), "Missing argument 'PICTURE...'. See `satchel explain --help`."),
        (("explain", "--what"), "No such option: --what. See `satchel explain --help`."),
        (("list", "pictures"), "'pictures' is not one of 'explainers', 'metrics'"),
        (("bake",), "No such command 'bake'. See `satchel --help`."),
        (("segmnt",), "Did you mean 'segment'? See `satchel --help`."),
        (("report", "demo:birds", "--limit", "0"), "'--limit'"),
        (("explain", "a.png", "--seed", "-1"), "'--seed'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage(satchel, words, told):
    assert_told(satchel(*words), told)


def test_a_real_process_tells_it_the_same_way(tmp_path):
    """The console entry point, without a test runner around it."""
    command = [sys.executable, "-c", "from dashboard.cli.main import main; main()"]
    words = ["explain", str(tmp_path / "missing.png"), "--explainer", "nothing"]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "There is no explainer 'nothing'" in done.stderr
