"""Two reports side by side."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import pytest
from toy import ColourMeter, toy_classifier, toy_options, write_toy

from core.data import open_dataset
from core.errors import UserError
from core.sat.comparison import compare
from core.sat.report import build_report
from core.sat.saved_report import Report, open_report


@pytest.fixture(scope="module")
def leaning(toy_data, tmp_path_factory) -> Report:
    """Of a model that makes twice as much of blue, which the mark is."""
    meter = ColourMeter()
    meter.meter.weight.data[1] *= 2
    out = tmp_path_factory.mktemp("leaning") / "report"
    for _ in build_report(open_dataset(toy_data), toy_classifier(module=meter), out, toy_options()):
        pass
    return open_report(out)


def test_a_report_does_not_differ_from_itself(toy_report):
    found = compare(toy_report, toy_report)
    assert found.pictures == 72
    assert found.accuracy is not None
    assert (found.accuracy.estimate, found.accuracy.low, found.accuracy.high) == (0, 0, 0)
    assert not any(entry["changed"] for entry in found.entries)
    assert all(entry["verdicts"][0] == entry["verdicts"][1] for entry in found.entries)
    sizes = [size for e in found.entries for fills in e["differences"].values() for size in fills.values()]
    assert sizes
    assert all(size == [0, 0, 0] for size in sizes)


@pytest.mark.slow
def test_what_a_model_leans_on_more_is_told_on_the_same_pictures(toy_report, leaning):
    found = compare(toy_report, leaning)
    first = found.entries[0]
    assert (first["target"], first["segment"], first["changed"]) == ("stamped", "mark", True)
    known = 60 * (250 - 60) / 255 * 48 / 2304  # what the mark added before, and adds on top now
    assert first["differences"]["necessity"]["mean"][0] == pytest.approx(known, rel=0.05)
    assert first["paired"]
    assert first["sentence"].startswith("mark for stamped: confirmed as before; pasting it adds 0.")
    assert "more (inpaint) and 0." in first["sentence"]
    back = compare(leaning, toy_report).entries[0]
    assert back["differences"]["necessity"]["mean"][0] == pytest.approx(-known, rel=0.05)
    assert "less (inpaint) and 0." in back["sentence"]


@pytest.mark.slow
def test_other_pictures_are_two_samples(toy_report, tmp_path):
    """Later pictures of the same world: nothing in common but the model."""
    folder = write_toy(tmp_path / "data", count=160)
    data = open_dataset(folder)
    later = replace(data, items=data.items[88:])
    for _ in build_report(later, toy_classifier(), tmp_path / "report", toy_options()):
        pass
    found = compare(toy_report, open_report(tmp_path / "report"))
    assert found.pictures == 0
    assert found.accuracy is None
    assert not any(entry["paired"] or entry["changed"] for entry in found.entries)
    mark = next(entry for entry in found.entries if (entry["target"], entry["segment"]) == ("stamped", "mark"))
    estimate, low, high = mark["differences"]["necessity"]["mean"]
    assert low <= 0 <= high
    assert not isnan(estimate)
    assert "two samples" in mark["sentence"]


def test_reports_of_other_classes_do_not_compare(toy_report):
    other = [{**entry, "target": "another"} for entry in toy_report.findings]
    with pytest.raises(UserError, match="no class with a segment in common"):
        compare(toy_report, replace(toy_report, findings=other))


def test_what_only_one_has_is_told(toy_report):
    fewer = [entry for entry in toy_report.findings if entry["segment"] != "corner"]
    found = compare(toy_report, replace(toy_report, findings=fewer))
    assert found.only == {"first": ["corner"], "second": []}
    corner = [entry for entry in found.entries if entry["segment"] == "corner"]
    assert corner
    assert all(entry["verdicts"][1] is None and entry["differences"] == {} for entry in corner)
    assert all("then not in it" in entry["sentence"] for entry in corner)


def test_two_classes_of_one_name_are_two_classes(toy_report):
    def renamed(report: Report) -> Report:
        findings = [{**entry, "target": "toy"} for entry in report.findings]
        return replace(report, manifest={**report.manifest, "labels": ["toy", "toy"]}, findings=findings)

    apart, named = compare(toy_report, toy_report), compare(renamed(toy_report), renamed(toy_report))
    assert len(named.entries) == len(apart.entries)
    told = {(entry["target"], entry["segment"]): entry["verdicts"] for entry in named.entries}
    assert told["toy (2)", "mark"] == ["confirmed", "confirmed"]
    for entry in apart.entries:
        name = "toy (2)" if entry["target"] == "stamped" else "toy"
        assert told[name, entry["segment"]] == entry["verdicts"]
    older = replace(
        renamed(toy_report),
        findings=[{k: v for k, v in e.items() if k != "target_index"} for e in renamed(toy_report).findings],
    )
    assert set(older.by_cell) == set(toy_report.by_cell)
    same = {key: [e["sentence"] for e in several] for key, several in older.by_cell.items()}
    assert same == {key: [e["sentence"] for e in several] for key, several in toy_report.by_cell.items()}
