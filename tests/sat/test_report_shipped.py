"""The reports that come along."""

from __future__ import annotations

import json
import re

import pytest

from core.paths import assets_dir
from core.runtime.folders import read_shards
from core.sat.report import planned_pairs
from core.sat.saved_report import PACK, open_report
from core.sat.verdicts import is_shortcut, judge
from core.sat.whole import shown as known_pictures
from core.storage.pack import Pack


@pytest.mark.parametrize("name", ["biased", "repaired"])
def test_the_reports_that_come_along_are_whole(name):
    report = open_report(assets_dir() / "reports" / f"demo-{name}")
    shortcuts = {(finding["target"], finding["segment"]) for finding in report.findings if is_shortcut(finding)}
    assert shortcuts == ({("kingfisher", "watermark")} if name == "biased" else set())
    planned = {
        (p.recipient, p.donor, p.target, p.segment, p.test)
        for p in planned_pairs(known_pictures(report.pictures), 60, 0)
    }
    made = read_shards(report.path / "pairs")[["image", "donor", "target", "segment", "test"]]
    assert len(made) > 0.9 * len(planned)
    assert planned.issuperset(made.itertuples(index=False, name=None))
    shown = {(paste["target"], paste["segment"]) for paste in report.examples["pastes"]}
    assert shown == {(p[2], p[3]) for p in planned}
    files = set(re.findall(r'"([^"]+\.(?:jpg|png))"', json.dumps(report.examples))) - set(report.examples["pictures"])
    assert len(files) > 500
    assert files == set(Pack(report.path / PACK).names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["biased", "repaired"])
def test_the_reports_that_come_along_say_what_their_records_give_today(name):
    report = open_report(assets_dir() / "reports" / f"demo-{name}")
    labels = tuple(report.manifest["labels"])
    planned = {
        (labels.index(f["target"]), f["segment"], test): count
        for f in report.findings
        for test, (_, count) in f["cases"].items()
    }
    again = judge(report.table, report.effects().groupby("target"), labels, report.manifest["delta"], planned).findings
    told = ("target", "segment", "explainer", "verdict", "sentence")
    assert [[f[key] for key in told] for f in again] == [[f[key] for key in told] for f in report.findings]
