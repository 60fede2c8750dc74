"""Galleries of what nobody named, on the Report tab."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from toy import SEGMENTS, toy_classifier, toy_options, write_toy

from core.data import open_dataset
from core.sat.report import build_report
from dashboard.allowed import Allowed
from dashboard.project.data_sets import DataSets
from dashboard.report.document import document
from dashboard.report.finished import Finished, open_finished
from dashboard.report.unnamed import name_one, naming_shows, unnamed_html


@pytest.fixture(scope="module")
def nameless(tmp_path_factory) -> Finished:
    """A report without tests on toy pictures, of whose mark and sky nobody has the names."""
    folder = write_toy(tmp_path_factory.mktemp("nameless") / "data", count=24)
    known = {value: told for value, told in SEGMENTS.items() if told["name"] not in ("mark", "sky")}
    (folder / "segments.json").write_text(json.dumps(known))
    out = folder.with_name("report")
    for _ in build_report(open_dataset(folder), toy_classifier(), out, toy_options(check=False)):
        pass
    return open_finished(out)


class Names:
    """Components that are only their names."""

    def __getattr__(self, name: str) -> str:
        return name


def said(finished: Finished, number: object, name: str, *places: Path) -> str:
    """What stands there in the end."""
    *_, last = name_one(finished.report, number, name, DataSets(Allowed(places)))
    return last


@pytest.mark.slow
def test_a_gallery_is_shown_and_named_and_the_command_for_a_new_report_stands_there(nameless, tmp_path, monkeypatch):
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "own"))
    shown = unnamed_html(nameless)
    entry = nameless.manifest["unnamed"][0]
    assert entry["target"] == "stamped"
    assert shown.count("<img") == sum(len(one["areas"]) for one in nameless.manifest["unnamed"])
    assert shown in document(nameless)
    assert naming_shows(Names(), nameless)["naming"]["visible"]
    told = said(nameless, entry["number"], "mark", nameless.report.path.parent)
    assert "mark is named in 12 pictures" in told
    command = shlex.split(told.split("<code>")[1].split("</code>")[0])
    store = command[command.index("--segments") + 1]
    names = {name for item in open_dataset(command[2], segments=store).items for name in item.segments().names}
    assert names == {"object", "corner", "mark"}


@pytest.mark.slow
def test_what_cannot_be_named_is_told_and_nothing_outside_is_opened(nameless, tmp_path, monkeypatch):
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "own"))
    assert "opens only what was named" in said(nameless, 1, "mark")
    assert "The name is empty" in said(nameless, 1, " ", nameless.report.path.parent)
    assert "no gallery" in said(nameless, None, "mark", nameless.report.path.parent)


def test_a_report_that_did_not_look_shows_nothing_and_one_that_found_nothing_says_so(finished):
    old = {key: value for key, value in finished.manifest.items() if key != "unnamed"}
    bare = Finished(type(finished.report)(finished.report.path, old, []), finished.cells)
    assert unnamed_html(bare) == ""
    assert "No recurring thing" in unnamed_html(finished)
