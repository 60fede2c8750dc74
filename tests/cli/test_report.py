"""`satchel report`: a folder that goes on where it stopped, a summary, and exit codes for pipelines."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dashboard.cli.report
from core.sat import DELTA, saved_report
from core.sat.verdicts import VERDICTS

QUICK = ("--explainer", "gradient", "--no-check")


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small pictures of two classes, with masks and a manifest."""
    folder = tmp_path_factory.mktemp("birds")
    random = np.random.default_rng(0)
    lines = []
    for i in range(6):
        mask = np.zeros((40, 50), np.uint8)
        mask[10:30, 10:30] = 1
        mask[:8, :8] = 2
        Image.fromarray(random.integers(0, 255, (40, 50, 3), np.uint8)).save(folder / f"{i}.png")
        Image.fromarray(mask).save(folder / f"{i}-mask.png")
        lines.append({"image": f"{i}.png", "label": ("finch", "kingfisher")[i % 2], "mask": f"{i}-mask.png"})
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    (folder / "segments.json").write_text(json.dumps({"0": "background", "1": "bird", "2": "stamp"}))
    return folder


def assert_told(done, *words: str):
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err + done.out
    for word in words:
        assert word in done.err


@pytest.mark.slow
def test_report_and_summary(satchel, model, birds, tmp_path):
    out = tmp_path / "out"
    done = satchel("report", birds, *model, *QUICK, "--context", "stamp", "--out", out)
    assert (done.code, done.err) == (0, "")
    report = saved_report.open_report(out)
    assert report.manifest["pictures"] == 6
    assert {entry["segment"]: entry["kind"] for entry in report.findings} == {
        "background": "context",
        "bird": "unset",
        "stamp": "context",
    }
    assert json.loads((out / "findings.json").read_text()) == report.findings
    told = report.manifest["warnings"]
    assert any("All 6 pictures are taken for" in warning for warning in told)
    assert all(warning in done.out for warning in told)
    for verdict, count in report.manifest["verdicts"].items():
        assert f"{verdict:<15}{count:>5}" in done.out


@pytest.mark.slow
def test_what_was_noticed_is_told_and_kept(satchel, model, birds, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(birds, data)
    for i in (1, 4):
        mask = np.asarray(Image.open(data / f"{i}-mask.png")).copy()
        mask[-1, :10] = 9
        Image.fromarray(mask).save(data / f"{i}-mask.png")
    words = ("report", data, *model, *QUICK, "--out", tmp_path / "out")
    told = "20 pixels in 2 pictures, first in 1.png (10 pixels of 9; named are 0, 1 and 2)."
    for _ in range(2):  # the second time it is finished already
        done = satchel(*words)
        assert done.err == f"satchel: Values without a name belong to no segment: {told}\n"
    assert saved_report.open_report(tmp_path / "out").manifest["noticed"] == [
        done.err.removeprefix("satchel: ").strip()
    ]


@pytest.mark.slow
def test_every_segment_is_tested_unless_told_not_to(satchel, model, birds, tmp_path):
    assert satchel("report", birds, *model, "--explainer", "gradient", "--limit", 2, "--out", tmp_path / "a").code == 0
    assert satchel("report", birds, *model, *QUICK, "--limit", 2, "--out", tmp_path / "b").code == 0
    checked, unchecked = (saved_report.open_report(tmp_path / name) for name in "ab")
    assert (checked.manifest["checked"], unchecked.manifest["checked"]) == (True, False)
    assert checked.manifest["pictures"] == 2
    assert len(checked.effects()) > 0
    assert len(unchecked.effects()) == 0


@pytest.mark.slow
def test_stopped_report_goes_on(satchel, model, birds, tmp_path, monkeypatch):
    out = tmp_path / "out"
    show = dashboard.cli.report.show_stages

    def stop_after_one(work, notes):
        next(work)
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboard.cli.report, "show_stages", stop_after_one)
    done = satchel("report", birds, *model, *QUICK, "--out", out)
    assert done.code == 130
    assert "same command again" in done.err
    assert not (out / "manifest.json").exists()
    monkeypatch.setattr(dashboard.cli.report, "show_stages", show)
    assert satchel("report", birds, *model, *QUICK, "--out", out).code == 0
    assert (out / "manifest.json").exists()
    assert_told(satchel("report", birds, *model, *QUICK, "--seed", 1, "--out", out), "other settings")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verdict", "kind", "redundant", "code"),
    [
        ("confirmed", "context", [], 3),
        ("confirmed", "object", [], 0),
        ("suspected", "context", [], 0),
        ("suspected", "object", ["context", "object"], 3),
        ("suspected", "object", ["unset", "object"], 0),
    ],
)
def test_fail_on_confirmed_shortcut(satchel, model, birds, tmp_path, monkeypatch, verdict, kind, redundant, code):
    """Leaning on a beak is fine; only confirmed context is a shortcut, and context that is enough by itself."""
    assert verdict in VERDICTS
    opened = saved_report.open_report

    def with_one_finding(path: Path) -> saved_report.Report:
        report = opened(path)
        entry = {**report.findings[0], "verdict": verdict, "kind": kind, "sentence": "It leans on the stamp."}
        groups = [{"kinds": redundant, "sentence": "Either is enough."}] if redundant else []
        return saved_report.Report(report.path, {**report.manifest, "redundant": groups}, [entry])

    monkeypatch.setattr(saved_report, "open_report", with_one_finding)
    words = ("report", birds, *model, *QUICK, "--out", tmp_path / "out")
    done = satchel(*words, "--fail-on", "confirmed")
    assert done.code == code
    assert ("It leans on the stamp." in done.out) == (verdict == "confirmed")
    assert ("Either is enough." in done.out) == bool(redundant)
    assert satchel(*words).code == 0


@pytest.mark.slow
def test_unreadable_picture_is_named_and_left_out(satchel, model, birds, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for path in birds.iterdir():
        (folder / path.name).write_bytes(b"broken" if path.name == "3.png" else path.read_bytes())
    done = satchel("report", folder, *model, *QUICK, "--out", tmp_path / "out")
    assert done.code == 0
    assert "3.png" in done.err
    assert saved_report.open_report(tmp_path / "out").manifest["pictures"] == 5


@pytest.mark.slow
def test_labels_that_the_model_does_not_know_are_told_and_kept(satchel, model, birds, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(birds, folder)
    listed = (folder / "manifest.csv").read_text().replace("kingfisher", "kingfischer")
    (folder / "manifest.csv").write_text(listed)
    done = satchel("report", folder, *model, *QUICK, "--out", tmp_path / "out")
    assert done.code == 0
    assert done.err.count("\n") == 1
    warning, *_ = saved_report.open_report(tmp_path / "out").manifest["warnings"]
    assert warning in done.err
    for words in ("1 of the 2 labels of data is no class", "did you mean 'kingfisher'?", "3 of 6 pictures"):
        assert words in warning


@pytest.mark.slow
def test_a_refusal_is_one_line_whatever_else_would_be_told(satchel, model, birds, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(birds, folder)
    (folder / "manifest.csv").write_text((folder / "manifest.csv").read_text().replace("kingfisher", "kingfischer"))
    words = ("report", folder, *model, *QUICK, "--out", tmp_path / "out")
    assert_told(satchel(*words, "--context", "stmap"), "did you mean 'stamp'?")
    (folder / "manifest.csv").write_text("image,label\n0.png,kingfischer\n")
    assert_told(satchel(*words), "has no masks")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_summary_says_what_too_few_means_and_how_many_have_no_masks(satchel, model, birds, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(birds, folder)
    (folder / "manifest.csv").write_text((folder / "manifest.csv").read_text().replace("4-mask.png", ""))
    done = satchel("report", folder, *model, *QUICK, "--out", tmp_path / "out")
    assert done.code == 0
    assert "No class has 20 independent pictures taken for it that show one segment; take more" in done.out
    assert done.err == "satchel: 1 of 6 pictures came without named masks; nothing is said of them.\n"


def test_the_help_states_the_smallest_effect_that_matters(satchel):
    told = " ".join(satchel("report", "--help").out.replace("│", " ").split())
    assert f"[default: ({DELTA}, or a tenth of the model's median margin where that is less)]" in told


def test_folders_that_are_none(satchel, model, birds, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_told(satchel("report", tmp_path / "empty", *model, "--out", tmp_path / "out"), "no pictures")
    assert_told(satchel("report", tmp_path / "missing", *model, "--out", tmp_path / "out"), "no folder")
    (tmp_path / "file").write_text("keep me")
    assert_told(satchel("report", birds, *model, *QUICK, "--out", tmp_path / "file"), "is a file")
    assert (tmp_path / "file").read_text() == "keep me"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--explainer", "nothing"), "no explainer"),
        (("--explainer", "gradient", "--context", "stmap"), "did you mean 'stamp'?"),
        (("--explainer", "gradient", "--segments", "nowhere"), "nowhere"),
        (("--explainer", "gradient", "--explainer", "gradient"), "twice"),
        (("--delta", "0"), "delta"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_that_do_not_fit(satchel, model, birds, tmp_path, option, word):
    assert_told(satchel("report", birds, *model, "--no-check", *option, "--out", tmp_path / "out"), word)


@pytest.mark.slow
def test_mask_of_another_size_is_named_and_left_out(satchel, model, birds, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for path in birds.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    Image.new("L", (10, 10), 1).save(folder / "2-mask.png")
    done = satchel("report", folder, *model, *QUICK, "--out", tmp_path / "out")
    assert done.code == 0
    assert "10x10" in done.err
    assert saved_report.open_report(tmp_path / "out").manifest["pictures"] == 5


@pytest.mark.slow
@pytest.mark.data
def test_real_cells_with_their_masks(satchel, data, tmp_path):
    """White blood cells: a manifest with masks, five classes, and a classifier with their labels (untrained)."""
    import torch
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    cells = data / "wbc"
    with (cells / "manifest.csv").open(newline="") as handle:
        labels = sorted({row["label"] for row in csv.DictReader(handle)})
    torch.manual_seed(0)
    small = {"preprocessing": json.dumps({"resize": 64, "crop": [64, 64]})}
    save_file(squeezenet1_1(num_classes=len(labels)).state_dict(), tmp_path / "cells.safetensors", small)
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    spec = f"torchvision:squeezenet1_1@{tmp_path / 'cells.safetensors'}"
    words = ("--model", spec, "--labels", tmp_path / "labels.txt", *QUICK, "--limit", 6, "--out", tmp_path / "out")
    done = satchel("report", cells, *words)
    assert (done.code, done.err) == (0, "")
    report = saved_report.open_report(tmp_path / "out")
    assert report.manifest["pictures"] == 6
    assert {(e["segment"], e["kind"]) for e in report.findings} == {
        ("background", "context"),
        ("cytoplasm", "unset"),
        ("nucleus", "unset"),
    }


@pytest.mark.slow
def test_groups_stamps_columns_and_one_class_are_asked_for_by_options(satchel, model, birds, tmp_path):
    Image.new("RGBA", (20, 10), (255, 0, 0, 128)).save(tmp_path / "logo.png")
    words = ("report", birds, *model, *QUICK)
    done = satchel(*words, "--group", "bird=finch,bee-eater", "--stamp", tmp_path / "logo.png", "--out", tmp_path / "a")
    assert done.code == 0, done.err
    assert "logo.png" in done.out
    manifest = saved_report.open_report(tmp_path / "a").manifest
    assert manifest["labels"] == ["bird", "kingfisher"]
    assert manifest["made_from"]["groups"] == {"bird": ["finch", "bee-eater"]}
    done = satchel(*words, "--target", "finch", "--out", tmp_path / "b")
    assert done.code == 0, done.err
    assert saved_report.open_report(tmp_path / "b").manifest["targets"] == [0]
    assert_told(satchel(*words, "--target", "finsh", "--out", tmp_path / "c"), "did you mean 'finch'?")
    assert_told(satchel(*words, "--group", "bird=finsh", "--out", tmp_path / "c"), "did you mean 'finch'?")
    assert_told(satchel(*words, "--stamp", tmp_path / "none.png", "--out", tmp_path / "c"), "none.png")
    assert_told(satchel(*words, "--by", "hospital", "--out", tmp_path / "c"), "no column 'hospital'")
    assert not (tmp_path / "c").exists()
