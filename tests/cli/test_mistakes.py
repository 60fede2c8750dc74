"""What a user can get wrong ends with exit code 2 and one line that says what to do, never with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_real_process_tells_it_the_same_way(tmp_path):
    """The console entry point, without a test runner around it."""
    command = [sys.executable, "-c", "from dashboard.cli.main import main; main()"]
    (tmp_path / "there.png").touch()
    words = ["explain", str(tmp_path / "there.png"), "--explainer", "nothing"]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "There is no explainer 'nothing'" in done.stderr


BAD = {
    "without permission": None,
    "of 5,000 characters": "x" * 5000,
    "of a user who is none": "~nosuchuser/x",
    "with a NUL": "a\0b",
    "of a device": "/dev/zero",
    "of a pipe": "pipe",
}
ENTRIES = {
    "explain PICTURE": "explain {}",
    "--model": "explain {picture} --model torchvision:squeezenet1_1@{}",
    "--model hf": "explain {picture} --model hf:{}",
    "--labels": "explain {picture} {model} --labels {}",
    "explain --out": "explain {picture} {model} --explainer gradient --out {}",
    "report DATA": "report {}",
    "report --segments": "report {data} --segments {}",
    "report --out": "report {data} {model} --out {}",
    "evaluate DATA": "evaluate {}",
    "evaluate --out": "evaluate {data} {model} --explainers gradient --metrics sparseness --out {}",
    "segment DATA": "segment {} --superpixels",
    "segment --out": "segment {data} --superpixels --out {}",
    "--sam": "segment {data} --sam vit_b@{} --out {new}",
    "--sam compact": "segment {data} --sam compact@{} --out {new}",
    "--semantic": "segment {data} --semantic deeplabv3_resnet50@{} --out {new}",
    "--semantic --labels": "segment {data} --semantic deeplabv3_resnet50 --labels {} --out {new}",
    "--model-of-concepts": "segment {data} --concepts beak --model-of-concepts {} --out {new}",
    "name DATA": "name {} --out {new}",
    "name --examples": "name {data} --examples {} --out {new}",
    "export SEGMENTS": "export {} --out {new}",
    "export --out": "export {data} --format folders --out {}",
    "serve --report": "serve --report {}",
    "serve --evaluation": "serve --evaluation {}",
    "serve --data": "serve --data {}",
    "serve --segments": "serve --segments {}",
    "serve --allow": "serve --allow {}",
}


@pytest.fixture
def places(model, picture, tmp_path) -> dict[str, list[str]]:
    """What stands for the names in ENTRIES."""
    data = tmp_path / "data"
    (data / "masks").mkdir(parents=True)
    picture.rename(data / "1.png")
    Image.new("L", (90, 60), 1).save(data / "masks" / "1.png")
    (data / "masks" / "segments.json").write_text('{"1": "all"}')
    (data / "segments.json").write_text('{"1": "all"}')
    (data / "manifest.csv").write_text("image,mask\n1.png,masks/1.png\n")
    named = {"picture": data / "1.png", "data": data, "new": tmp_path / "new"}
    return {"model": list(model), **{name: [str(place)] for name, place in named.items()}}


@pytest.mark.slow
@pytest.mark.parametrize("bad", BAD)
def test_paths_that_are_none_at_every_entry(satchel, places, closed, tmp_path, monkeypatch, bad):
    """One line at each of the entry points; none of them waits for a device."""
    monkeypatch.setattr("dashboard.app.build", lambda *_: pytest.fail("the page was opened"))
    os.mkfifo(tmp_path / "pipe")
    given = BAD[bad] or str(closed / "inside")
    given = str(tmp_path / "pipe") if given == "pipe" else given
    failed = []
    for entry, line in ENTRIES.items():
        words: list[str] = []
        for word in line.split():
            name = word.strip("{}")
            words += places[name] if name in places and word != name else [word.replace("{}", given)]
        try:
            done = satchel(*words)
            assert_told(done)
            if entry != "--model-of-concepts":
                assert any(said in done.err for said in SAID[bad]), done.err
        except Exception as error:  # noqa: BLE001 - all of them are to be seen
            failed.append(f"{entry}: {type(error).__name__}: {str(error)[:300]}")
    assert not failed, "\n".join(failed)
    assert not (tmp_path / "new").exists()


SAID = {
    "without permission": ("Permission denied",),
    "of 5,000 characters": ("longer than paths can be",),
    "of a user who is none": ("no user ~nosuchuser",),
    "with a NUL": ("NUL", "null byte"),  # the parser of the command line says it its own way
    "of a device": ("a device, a pipe or a socket",),
    "of a pipe": ("a device, a pipe or a socket",),
}
