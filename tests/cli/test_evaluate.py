"""`satchel evaluate`: a folder that goes on where it stopped, a table, and mistakes told in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dashboard.cli.evaluate
from core.errors import UserError
from core.evaluation.saved_evaluation import open_evaluation
from core.metrics.metric import metrics, usual_metrics
from core.parameters import separated

QUICK = ("--explainers", "gradient,smoothgrad:samples=2", "--metrics", "insertion:steps=3,patch=8,sparseness")


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small pictures with masks and a manifest."""
    folder = tmp_path_factory.mktemp("birds")
    random = np.random.default_rng(0)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 10:30] = 1
    Image.fromarray(mask).save(folder / "mask.png")
    lines = []
    for i in range(3):
        Image.fromarray(random.integers(0, 255, (40, 50, 3), np.uint8)).save(folder / f"{i}.png")
        lines.append({"image": f"{i}.png", "mask": "mask.png"})
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    (folder / "segments.json").write_text(json.dumps({"0": "background", "1": "bird"}))
    return folder


@pytest.fixture
def bare(birds: Path, tmp_path: Path) -> Path:
    """The same pictures without masks."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes((birds / f"{i}.png").read_bytes())
    return folder


def assert_told(done, *words: str) -> None:
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err + done.out
    for word in words:
        assert word in done.err


@pytest.mark.slow
def test_evaluation_and_table(satchel, model, birds, tmp_path):
    done = satchel("evaluate", birds, *model, *QUICK, "--limit", 2, "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    found = open_evaluation(tmp_path / "out")
    assert found.manifest["pictures"] == 2
    assert [m["label"] for m in found.manifest["metrics"]] == ["insertion:steps=3,patch=8", "sparseness"]
    names = ["gradient", "smoothgrad:samples=2", "random", "edges", "centre"]
    assert [e["label"] for e in found.manifest["explainers"]] == names
    rows = [line.split()[0] for line in done.out.splitlines() if line.split()[:1] and line.split()[0] in names]
    assert sorted(rows) == sorted(names)
    assert set(rows[-3:]) == {"random", "edges", "centre"}
    assert "insertion:steps=3,patch=8 ↑" in done.out
    assert sum(line.count("*") for line in done.out.splitlines() if line.split()[:1] and line.split()[0] in names) == 2
    assert all(warning in done.out for warning in found.manifest["warnings"])
    assert "Only 2 pictures" in done.out
    assert f"Scored by {found.manifest['model']} on 2 pictures" in done.out
    again = satchel("evaluate", birds, *model, *QUICK, "--limit", 2, "--out", tmp_path / "out")
    assert (again.code, again.out) == (0, done.out)
    other = satchel("evaluate", birds, *model, *QUICK, "--limit", 2, "--seed", 1, "--out", tmp_path / "out")
    assert_told(other, "other settings")


@pytest.mark.slow
def test_stopped_evaluation_goes_on(satchel, model, birds, tmp_path, monkeypatch):
    def stopped(work, notes):
        next(work)
        raise KeyboardInterrupt

    words = ("evaluate", birds, *model, *QUICK, "--limit", 1, "--out", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(dashboard.cli.evaluate, "show_stages", stopped)
        done = satchel(*words)
    assert done.code == 130
    assert "Run the same command again" in done.err
    assert satchel(*words).code == 0


@pytest.mark.slow
def test_a_scorer_of_the_same_classes_is_named(satchel, model, birds, tmp_path):
    words = ("evaluate", birds, *model, *QUICK, "--limit", 1, "--out", tmp_path / "out")
    done = satchel(*words, "--scorer", model[1])
    assert done.code == 0
    assert "Scored by" in done.out
    assert_told(satchel(*words[:-1], tmp_path / "b", "--scorer", "demo:biased"), "labels")


def test_without_masks_no_metric_asks_for_them(birds, bare):
    from core.data import open_dataset

    def usual(data):
        return {metric.name for metric in usual_metrics(data.first_without_masks is None)}

    masked = {name for name, metric in metrics().items() if metric.needs_mask}
    assert masked.isdisjoint(usual(open_dataset(bare)))
    assert masked < usual(open_dataset(birds))
    assert masked.isdisjoint(usual(open_dataset(bare).with_context(["bird"])))


def test_the_usual_explainers_leave_out_whoever_refuses(small_vit, capsys):
    from core.explainer import explainers

    default = {name for name, explainer in explainers().items() if explainer.default}
    refused = {name for name in default if explainers()[name].supports(small_vit) is not None}
    assert set(dashboard.cli.evaluate._usual_explainers(small_vit)) == default - refused
    told = capsys.readouterr().err.splitlines()
    assert len(told) == len(refused)
    assert all(any(f"{name} is left out" in line for line in told) for name in refused)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--explainers", "nothing"), "no explainer"),
        (("--metrics", "insretion"), "insertion"),
        (("--metrics", "insertion:steps=0"), "between 1 and 1000"),
        (("--metrics", "insertion:speed=2"), "no parameter"),
        (("--explainers", "gradient", "--explainers", "gradient"), "twice"),
        (("--explainers", "attention-rollout"), "transformer"),
        (("--explainers", "gradient", "--metrics", "relevance-mass"), "has no masks"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_that_do_not_fit(satchel, model, bare, tmp_path, option, word):
    assert_told(satchel("evaluate", bare, *model, *option, "--out", tmp_path / "out"), word)
    assert not (tmp_path / "out").exists()


def test_folders_that_do_not_fit(satchel, model, birds, tmp_path):
    assert_told(satchel("evaluate", tmp_path / "nowhere", *model, *QUICK, "--out", tmp_path / "out"), "no folder")
    assert_told(satchel("evaluate", birds, *model, *QUICK, "--out", birds), "not empty")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], []),
        (["a"], ["a"]),
        (["a,b", " c , "], ["a", "b", "c"]),
        (["a:x=1,y=2,b", "c:z=3"], ["a:x=1,y=2", "b", "c:z=3"]),
        (["a,x=1,y=2"], ["a:x=1,y=2"]),
        (["a", "x=1"], ["a", "x=1"]),  # nothing before it in its own option
    ],
)
def test_a_comma_separates_names_and_parameters(given, found):
    assert separated(given) == found


def test_list_metrics(satchel):
    listed = json.loads(satchel("list", "metrics", "--json").out)
    known = metrics()
    assert [entry["name"] for entry in listed] == list(known)
    for entry in listed:
        metric = known[entry["name"]]
        assert (entry["summary"], entry["family"]) == (metric.summary, metric.family)
        assert (entry["higher_is_better"], entry["needs_mask"]) == (metric.higher_is_better, metric.needs_mask)
        defaults = {parameter["name"]: parameter["default"] for parameter in entry["parameters"]}
        assert metric.parameters.parse(defaults) == metric.parameters()
    shown = satchel("list", "metrics").out
    assert all(name in shown for name in known)


@pytest.mark.slow
def test_a_damaged_picture_is_told(satchel, model, bare, tmp_path):
    (bare / "0.png").write_bytes(b"no picture")
    done = satchel("evaluate", bare, *model, *QUICK, "--out", tmp_path / "out")
    assert done.code == 0
    assert "1 picture left out: 0.png" in done.err
    with pytest.raises(UserError):
        open_evaluation(bare)
