"""Which report the Report tab opens, and what it says of a folder that is none."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from core.errors import UserError
from core.repair.faults import fault_numbers, faults
from core.runtime.json_files import Entries
from dashboard.allowed import Allowed
from dashboard.app import make_page
from dashboard.report import actions as report_actions
from dashboard.report import at_hand
from dashboard.report.finished import Reports, open_finished
from dashboard.subject import short


@pytest.mark.slow
def test_unfinished_and_foreign_folders_give_one_sentence(copied, tmp_path):
    reports = Reports(Allowed([tmp_path]))
    with pytest.raises(UserError, match="no report folder"):
        reports.get(tmp_path / "nowhere")
    with pytest.raises(UserError, match="No folder was named"):
        reports.get("  ")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no report"):
        reports.get(tmp_path / "empty")
    assert reports.get(copied).cells
    (copied / "manifest.json").unlink()
    with pytest.raises(UserError, match="half written"):
        reports.get(copied)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["manifest.json", "findings.json", "examples.json", "table.parquet"])
@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"{}", b'[{"target": 1}]', b"\xff\xfe"])
def test_damaged_files_give_one_sentence(copied, file, content):
    (copied / file).write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        open_finished(copied)


def test_a_report_made_again_is_read_again(copied):
    reports = Reports(Allowed([copied]))
    first = reports.get(copied)
    assert reports.get(f" {copied} ") is first
    os.utime(copied / "manifest.json", (1, 1))
    assert reports.get(copied) is not first


def test_findings_and_examples_stay_on_the_disk_and_are_what_they_are(toy_report, copied):
    finished = open_finished(copied)
    assert isinstance(finished.report.findings, Entries)
    assert list(finished.report.findings) == toy_report.findings
    for what in ("removals", "pastes"):
        assert list(finished.report.examples[what]) == toy_report.examples[what]
        for target, segment in finished.cells:
            assert finished.report.tried(what, target, segment) == toy_report.tried(what, target, segment)
    assert finished.report.by_cell == toy_report.by_cell
    assert list(finished.cells) == list(toy_report.by_cell)
    assert finished.report.places == toy_report.places
    assert len(finished.report.answers) == len(toy_report.pictures)


def test_faults_have_the_numbers_that_repair_takes(toy_report):
    finished = open_finished(toy_report.path)
    known = faults(toy_report)
    assert known == faults(finished.report)
    assert finished.repairs == fault_numbers(toy_report)
    assert [known[number - 1].key for number in finished.repairs.values()] == list(finished.repairs)


def test_a_report_whose_findings_do_not_number_their_classes_opens_all_the_same(copied):
    now = open_finished(copied)
    entries = json.loads((copied / "findings.json").read_text())
    bare = [{name: value for name, value in entry.items() if name != "target_index"} for entry in entries]
    (copied / "findings.json").write_text(json.dumps(bare))
    assert open_finished(copied).cells == now.cells


def test_findings_that_were_changed_are_read_again(copied):
    reports = Reports(Allowed([copied]))
    first = reports.get(copied)
    entries = json.loads((copied / "findings.json").read_text())
    (copied / "findings.json").write_text(json.dumps([{**entry, "sentence": "Another."} for entry in entries]))
    with pytest.raises(UserError, match="open it again"):
        list(first.report.findings)
    assert {cell.sentence for cell in reports.get(copied).cells.values()} == {"Another."}


def test_what_a_report_is_about_is_known_without_opening_it(toy_report, copied):
    reports = Reports(Allowed([copied]))
    (copied / "findings.json").write_text("no JSON")
    assert reports.fingerprint(copied) == toy_report.manifest["fingerprint"]
    (copied / "manifest.json").write_text("[1, 2]")
    assert reports.fingerprint(copied) is None
    assert reports.fingerprint(copied / "nowhere") is None


class Names:
    """Stands for the components: each is only its own name."""

    def __getattr__(self, name: str) -> str:
        return name


def page_of(report, fingerprint: str = "", spec: str = "demo:biased", shipped=None):
    """A page on which a model with that fingerprint is chosen."""
    loaded = SimpleNamespace(classifier=SimpleNamespace(fingerprint=fingerprint))
    session = SimpleNamespace(spec=spec, link=None)
    return SimpleNamespace(
        report=report,
        reports=Reports(Allowed(filter(None, (report, *(shipped or {}).values())))),
        sessions=SimpleNamespace(get=lambda key: session),
        classifiers=SimpleNamespace(get=lambda spec: loaded, title=short),
        reports_folder=lambda session: Path("/nowhere"),
    )


def values(place=None) -> tuple:
    """What the controls say when nobody has touched them."""
    return "key", False, place, "sufficiency", None, None, None, None, None, None


def opened(report, monkeypatch, shipped=None, **chosen) -> dict:
    """All that a page shows once it is open."""
    monkeypatch.setattr(at_hand, "shipped_reports", lambda: shipped or {})
    return report_actions.Actions(page_of(report, **chosen, shipped=shipped), Names()).open_first(*values())


def all_of(updates) -> dict:
    shown: dict = {}
    for update in updates:
        shown |= update
    return shown


@pytest.mark.slow
def test_the_page_opens_on_the_report_it_is_given_else_on_the_demo(toy_report, monkeypatch):
    for shown in (
        opened(toy_report.path, monkeypatch),
        opened(None, monkeypatch, {"demo-repaired": "nowhere", "demo-biased": toy_report.path}),
    ):
        assert shown["place"].path == str(toy_report.path)
        assert "leans on the mark" in shown["answer"]
        assert shown["place"].cell == "1/mark"
        assert "pictures" not in shown  # sent once the cell is in view


@pytest.mark.slow
def test_a_count_of_verdicts_shows_those_in_the_table(toy_report, monkeypatch):
    monkeypatch.setattr(at_hand, "shipped_reports", dict)
    actions = report_actions.Actions(page_of(toy_report.path), Names())
    shown = actions.open_first(*values())
    counted = re.findall(r'data-verdict="([^"]+)"', shown["answer"])
    assert "confirmed" in counted
    only = actions.only(SimpleNamespace(verdict="confirmed"), *values(shown["place"]))
    assert only["verdict"] == "confirmed"
    assert 1 < only["table"].count("<tr") < shown["table"].count("<tr")


@pytest.mark.slow
def test_what_stands_behind_a_cell_is_sent_once_it_is_in_view(toy_report, monkeypatch):
    monkeypatch.setattr(at_hand, "shipped_reports", dict)
    actions = report_actions.Actions(page_of(toy_report.path), Names())
    place = actions.open_first(*values())["place"]
    chosen = actions.choose(SimpleNamespace(cell="1/mark"), *values(place))
    assert "effects" not in chosen
    shown = actions.look(*values(place))
    assert shown["effects"]["visible"] is True
    assert "<img" in shown["pictures"]
    again = actions.choose(SimpleNamespace(cell="1/mark"), *values(shown["place"]))
    assert again["effects"]["visible"] is True
    assert "pictures" in all_of(actions.open(str(toy_report.path) + "/", *values(shown["place"])))


@pytest.mark.slow
def test_a_report_says_when_it_is_not_about_the_chosen_model(toy_report, monkeypatch):
    own = toy_report.manifest["fingerprint"]
    assert opened(toy_report.path, monkeypatch, fingerprint=own)["subject"] == ""
    said = opened(toy_report.path, monkeypatch, fingerprint="f", spec="torchvision:resnet18@/secret/a.pth")["subject"]
    assert "This report is about toy; you have chosen torchvision:resnet18@a.pth, for which there is no report" in said
    assert "make one, above" in said
    # the same name is not the same model
    said = opened(toy_report.path, monkeypatch, fingerprint="f", spec="toy")["subject"]
    assert "about another toy than the one you have chosen" in said
    assert "secret" not in said


@pytest.mark.slow
def test_the_chosen_models_own_report_is_shown_where_there_is_one(toy_report, copied, monkeypatch):
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "other", "model": "other"}))
    shipped = {"demo-biased": toy_report.path, "second": copied}
    shown = opened(None, monkeypatch, shipped, fingerprint="other")
    assert (shown["place"].path, shown["subject"]) == (str(copied), "")
    # what was given on the command line stands first, and says where the other is
    given = opened(toy_report.path, monkeypatch, {"second": copied}, fingerprint="other")
    assert given["place"].path == str(toy_report.path)
    assert "whose report is report, in the list above" in given["subject"]
    actions = report_actions.Actions(page_of(toy_report.path, "other", shipped={"second": copied}), Names())
    assert all_of(actions.model_changed(*values(given["place"])))["place"].path == str(copied)
    assert set(all_of(actions.model_changed(*values(shown["place"])))) == {"subject"}
    # one that was only opened here counts as well
    monkeypatch.setattr(at_hand, "shipped_reports", dict)
    there = replace(given["place"], opened=(str(copied), str(toy_report.path)))
    assert all_of(actions.model_changed(*values(there)))["place"].path == str(copied)
    gone = report_actions.Actions(page_of(toy_report.path, "third", "c", {"second": copied}), Names())
    assert "for which there is no report yet" in all_of(gone.model_changed(*values(there)))["subject"]


def test_without_a_report_the_page_says_how_to_make_one_and_a_bad_one_what_is_wrong(copied, monkeypatch):
    shown = opened(None, monkeypatch)
    assert "Make one above" in shown["answer"]
    assert shown["rest"]["visible"] is False
    (copied / "manifest.json").unlink()
    shown = opened(copied, monkeypatch)
    assert "half written" in shown["answer"]
    assert "half written" not in shown["message"]  # said once, in the place of the report
    assert "place" not in shown


def test_downloads_hold_the_findings_and_the_table(finished):
    found, table = finished.findings_file(), finished.table_file()
    assert finished.table_file() == table  # the same content is the same file
    assert json.loads(found.read_text()) == list(finished.report.findings)
    read = pd.read_csv(table)
    assert len(read) == len(finished.report.table)
    assert set(read["target"]) == {"plain", "stamped"}


@pytest.mark.parametrize("given", ["report", "evaluation"])
def test_a_page_does_not_start_with_a_report_or_evaluation_that_is_none(given, tmp_path):
    with pytest.raises(UserError, match=f"no {given} folder"):
        make_page(**{given: tmp_path / "nowhere"})
