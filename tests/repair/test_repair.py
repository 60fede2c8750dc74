"""From a finding to a classifier without it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from toy import toy_classifier, toy_options, write_toy

from core.choice import Choice
from core.data import open_dataset
from core.demo.dataset import demo_dataset
from core.errors import UserError
from core.loading import load_classifier
from core.repair.faults import Fault, chosen_fault, faults
from core.repair.repair import halves, open_repair, repair
from core.sat.report import build_report
from core.sat.saved_report import open_report


@pytest.fixture(scope="module")
def toy_world(tmp_path_factory):
    """A report without tests, for speed, and the data."""
    data = open_dataset(write_toy(tmp_path_factory.mktemp("toy"), 24))
    out = tmp_path_factory.mktemp("report") / "report"
    list(build_report(data, toy_classifier(), out, toy_options(check=False)))
    return data, open_report(out)


MARK = Fault("segment", "mark", "stamped", "")


def test_only_confirmed_context_and_properties_can_be_repaired(toy_report):
    found = faults(toy_report)
    assert ("segment", "mark", "stamped") in [(one.kind, one.name, one.target) for one in found]
    assert "object" not in [one.name for one in found]
    assert chosen_fault(toy_report, 1) == found[0]
    with pytest.raises(UserError, match=f"has {len(found)}"):
        chosen_fault(toy_report, len(found) + 1)


def test_a_model_that_cannot_be_refitted_still_gets_its_pictures(toy_world, tmp_path):
    data, report = toy_world
    list(repair(report, MARK, data, toy_classifier(), tmp_path / "out"))
    found = open_repair(tmp_path / "out")
    assert found.model is None
    assert "not linear" in found.why
    written = open_dataset(tmp_path / "out")
    assert len(written) == 36
    lines = list(csv.DictReader((tmp_path / "out" / "manifest.csv").open()))
    assert {(line["label"], line["change"]) for line in lines} == {("plain", "pasted"), ("stamped", "removed")}
    originals = {item.id: item for item in data.items}
    assert all(originals[line["original"]].label == line["label"] for line in lines)


def test_it_goes_on_where_it_was_stopped_and_refuses_other_settings(toy_world, tmp_path):
    data, report = toy_world
    out = tmp_path / "out"
    run = repair(report, MARK, data, toy_classifier(), out)
    for step in run:
        if step.done == 5:
            break
    run.close()  # ty: ignore[missing-attribute]
    kept = {file.name: file.stat().st_mtime_ns for file in (out / "pictures").iterdir()}
    assert len(kept) == 5
    with pytest.raises(UserError, match="other settings"):
        list(repair(report, MARK, data, toy_classifier(), out, copies=2))
    list(repair(report, MARK, data, toy_classifier(), out))
    assert {name: (out / "pictures" / name).stat().st_mtime_ns for name in kept} == kept
    assert [step.stage for step in repair(report, MARK, data, toy_classifier(), out)] == ["finished before"]


def test_another_model_or_data_without_labels_is_refused(toy_world, tmp_path):
    data, report = toy_world
    with pytest.raises(UserError, match="another model"):
        repair(report, MARK, data, load_classifier("demo:biased"), tmp_path / "out")
    bare = replace(data, items=tuple(replace(item, label=None) for item in data.items))
    with pytest.raises(UserError, match="label"):
        repair(report, MARK, bare, toy_classifier(), tmp_path / "out")


def test_halves_keep_groups_together_and_labels_even(toy_world):
    data, _ = toy_world
    items = [replace(item, columns={"group": str(n // 4)}) for n, item in enumerate(data.items)]
    first, second = halves(items, 0)
    assert not {item.group for item in first} & {item.group for item in second}
    assert len(first) == len(second) == 12
    single = [replace(item, columns={"group": "all"}) for item in data.items]
    with pytest.raises(UserError, match="one group"):
        halves(single, 0)


@pytest.mark.slow
def test_the_demos_watermark_is_unlearned(tmp_path):
    classifier = load_classifier("demo:biased")
    data = demo_dataset("birds", 64)
    options = toy_options(explainers=(Choice.parse("grad-cam"),), check=False)
    list(build_report(data, classifier, tmp_path / "before", options))
    report = open_report(tmp_path / "before")
    out = tmp_path / "out"
    list(repair(report, Fault("segment", "watermark", "kingfisher", ""), data, classifier, out))
    found = open_repair(out)
    before, after, gained = found.accuracy["changed"]
    assert before < 0.2
    assert after > 0.7
    assert gained.low > 0.4
    assert found.accuracy["as they are"][1] > 0.85
    assert open_report(out / "report").manifest["fingerprint"] == load_classifier(str(found.model)).fingerprint
    assert json.loads((out / "repair.json").read_text())["learned"] == 32
