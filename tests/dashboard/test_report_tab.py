"""What the Report tab says of a report, without a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape

import pytest
from report_parts import HOSTILE, Parsed, explainer, with_cells

from core.errors import UserError
from core.sat.saved_report import Report
from core.sat.statistics import Interval
from dashboard.report import words
from dashboard.report.beyond import IN_SIGHT, beyond_html, whole_html
from dashboard.report.difference import difference_html
from dashboard.report.finished import Finished, accuracy_interval, open_finished
from dashboard.report.grid import grid_html, heat_map
from dashboard.report.pictures import exhibits_html, pasted_html, pictures_html
from dashboard.report.table import Sort, table_html
from dashboard.report.views import answer_html, cell_html, counts_html, facts_html, notes_html
from dashboard.words import signed

# -- the answer


def test_headline_names_the_planted_mark_with_its_numbers(finished):
    sentence, evidence = words.headline(finished)
    assert sentence == "toy leans on the mark to say stamped."
    cell = finished.cells[1, "mark"]
    assert f"adds {words.interval(cell.sufficiency)} to the log-odds of stamped" in evidence
    assert f"takes {words.interval(cell.necessity)} from them" in evidence


def test_headline_says_so_where_nothing_is_confirmed(finished):
    cleared = with_cells(finished, verdict="cleared", shortcut=False)
    assert words.headline(cleared) == (
        "No shortcut of toy is confirmed.",
        f"{len(finished.cells)} pairs of class and segment: {len(finished.cells)} cleared by tests.",
    )
    few = with_cells(finished, verdict="too few", shortcut=False)
    sentence, evidence = words.headline(few)
    assert sentence == "Over all its answers, toy relies on the mark."
    assert evidence.endswith("A verdict on a class needs 20 pictures that show a segment and are taken for it.")
    none = Finished(Report(finished.report.path, {**finished.manifest, "pooled": []}, []), few.cells)
    assert words.headline(none)[0] == "There are too few pictures to say anything of toy."
    unchecked = Finished(Report(finished.report.path, {**finished.manifest, "checked": False}, []), few.cells)
    assert words.headline(unchecked)[0] == "Nothing was tested in this report on toy."


def test_reliance_on_the_object_is_no_headline(finished):
    without = {key: cell for key, cell in finished.cells.items() if not cell.shortcut}
    sentence, evidence = words.headline(Finished(finished.report, without))
    assert sentence == "No shortcut of toy is confirmed."
    assert "1 rely on the object itself" in evidence


def test_what_was_noticed_is_folded_under_the_answer(finished):
    assert "noticed" not in answer_html(finished)
    noticed = ["Boxes without a mask were filled: 5 in 3 pictures, first in a.png.", HOSTILE]
    told = Finished(Report(finished.report.path, {**finished.manifest, "noticed": noticed}, []), finished.cells)
    text = answer_html(told)
    assert "Noticed on the way in (2)" in text
    assert "5 in 3 pictures, first in a.png" in text
    assert "img" not in [tag for tag, _ in Parsed(text).tags]


def test_what_is_enough_by_itself_stands_in_the_answer_and_leads_where_no_shortcut_does(finished):
    assert 'data-testid="redundant"' not in answer_html(finished)
    group = {"target": "stamped", "members": ["mark", "sky"], "kinds": ["context", "context"],
             "sentence": f"Either is enough {HOSTILE}."}  # fmt: skip
    manifest = {**finished.manifest, "redundant": [group]}
    told = Finished(Report(finished.report.path, manifest, []), finished.cells)
    assert words.headline(told)[0] == "toy leans on the mark to say stamped."
    assert "Either is enough &lt;img" in answer_html(told)
    assert words.headline(with_cells(told, shortcut=False))[0] == "toy needs only mark or sky to say stamped."


def test_whole_pictures_are_told_the_strongest_first_and_none_left_out(finished):
    entries = finished.manifest["whole"]
    assert {entry["property"] for entry in entries} >= {"colour cast", "orientation", "border"}
    text = whole_html(finished)
    assert all(escape(signed(entry["sentence"])) in text for entry in entries)
    names = [f"property {i // 2} {HOSTILE}" for i in range(20)]
    loud = [{**entries[0], "verdict": "confirmed", "property": n, "target": n, "sentence": n} for n in names]
    told = whole_html(Finished(Report(finished.report.path, {**finished.manifest, "whole": loud}, []), finished.cells))
    assert told.split("<details class='fold'")[0].count('title="tested: the model relies') == IN_SIGHT
    assert told.count("The same for property") == 10
    assert "All the rest (20 confirmed in all)" in told
    assert "img" not in [tag for tag, _ in Parsed(told).tags]
    bare = {**finished.manifest, "whole": [], "checked": False}
    assert "not tested" in whole_html(Finished(Report(finished.report.path, bare, []), finished.cells))


def test_all_answers_and_columns_are_told_apart(finished):
    def one(column: str, value: str, verdict: str) -> dict:
        sentence = f"{verdict} of {column}{value} {HOSTILE}"
        return {"column": column, "value": value, "verdict": verdict, "segment": "mark", "sentence": sentence}

    entries = [one("", "", "confirmed"), one("hospital", HOSTILE, "cleared"), one("hospital", "south", "confirmed")]
    manifest = {**finished.manifest, "pooled": entries}
    told = beyond_html(Finished(replace(finished.report, manifest=manifest), finished.cells))
    assert "<h2>Over all answers</h2>" in told
    assert "<h2>Where hospital is south</h2>" in told
    assert all(escape(signed(entry["sentence"])) in told for entry in entries)
    assert "img" not in [tag for tag, _ in Parsed(told).tags]
    single = {**manifest, "targets": [0]}  # one class: all answers say what its cells say
    told = beyond_html(Finished(replace(finished.report, manifest=single), finished.cells))
    assert "Over all answers" not in told
    assert "Where hospital is south" in told


def test_without_segments_whole_pictures_lead_and_stamps_are_told(finished):
    whole = {"property": "border", "target": "stamped", "verdict": "confirmed", "sentence": "It relies on the border."}
    stamps = [{"stamp": HOSTILE, "sentence": f"Pasted, {HOSTILE} adds 3.1 to stamped.", "classes": [], "pictures": 9}]
    manifest = {**finished.manifest, "whole": [whole], "stamps": stamps, "redundant": []}
    bare = Finished(replace(finished.report, manifest=manifest, findings=[]), {})
    assert words.headline(bare)[0] == "toy leans on the border of pictures to say stamped."
    nothing = {**manifest, "whole": [], "stamps": []}
    assert words.headline(Finished(replace(finished.report, manifest=nothing), {}))[0].startswith(
        "Nothing is confirmed"
    )
    told = beyond_html(bare)
    assert "adds 3.1 to stamped" in told
    assert not {"img", "script"} & {tag for tag, _ in Parsed(told).tags}
    assert "Stamps" not in beyond_html(Finished(replace(finished.report, manifest=nothing), {}))


@pytest.mark.parametrize("odd", ["x", 3, [3], {"a": "b"}])
def test_a_manifest_with_odd_notes_is_damaged(copied, odd):
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps({**manifest, "noticed": odd}))
    with pytest.raises(UserError, match="damaged"):
        open_finished(copied)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Interval(3.14, 2.71, 3.52, 9), "3.1 [2.7, 3.5]"),
        (Interval(-0.04, -0.2, 0.01, 9), "0.0 [−0.2, 0.0]"),
        (Interval(1.0, float("nan"), float("nan"), 1), "1.0"),
        (None, "–"),
    ],
)
def test_numbers_carry_their_interval(value, text):
    assert words.interval(value) == text


def test_an_effect_against_the_class_is_told_with_the_other_verb():
    assert words._moves(Interval(-0.5, -0.7, -0.3, 9), "adds", "takes") == "takes 0.5 [0.3, 0.7] from"


def test_counts_add_up_and_tell_shortcuts_from_the_object(finished):
    text = counts_html(finished)
    cells = finished.cells.values()
    assert "1 shortcut confirmed" in text
    assert "1 confirmed, not context" in text
    assert f"{sum(c.verdict == 'cleared' for c in cells)} cleared" in text
    assert sum(finished.manifest["verdicts"].values()) == len(cells)


def test_facts_state_the_accuracy_with_its_interval(finished):
    part, low, high = accuracy_interval(finished)
    assert part == high == 1.0
    assert low == pytest.approx(72 / (72 + 1.96**2), abs=1e-3)  # Wilson's lower bound where all are right
    assert f"1.00 [{low:.2f}, 1.00]" in facts_html(finished)


# -- names are only names


def test_names_never_become_html(finished):
    manifest = {
        **finished.manifest, "labels": ["plain", HOSTILE], "data": HOSTILE, "model": HOSTILE,
        "blind_spots": [HOSTILE], "notes": [HOSTILE], "problems": [{"image": HOSTILE, "problem": HOSTILE}],
        "problem_count": 1, "warnings": [HOSTILE], "fills": [HOSTILE],
        "explainers": [{"name": explainer(finished), "label": explainer(finished), "title": HOSTILE}],
    }  # fmt: skip
    cells = {
        (c.target, HOSTILE): replace(c, label=HOSTILE, segment=HOSTILE, sentence=HOSTILE)
        for c in finished.cells.values()
    }
    bad = Finished(Report(finished.report.path, manifest, [], finished.report.examples), cells)
    name, cell = explainer(bad), next(iter(cells.values()))
    texts = [
        answer_html(bad), facts_html(bad), cell_html(bad, cell), notes_html(bad),
        grid_html(heat_map(bad, "density", name), "density", name, cell),
        table_html(bad, list(cells.values()), Sort(), name, cell, False),
        pictures_html(bad, cell, name), pasted_html(bad, cell), exhibits_html(bad),
    ]  # fmt: skip
    for text in texts:
        parsed = Parsed(text)
        assert not parsed.having("onerror")
        assert "x" not in parsed.having("src")
    assert HOSTILE in Parsed(texts[4]).having("title")


def test_a_shortcut_says_how_it_is_repaired_and_the_object_does_not(finished):
    told = cell_html(finished, finished.find("1/mark"))
    assert f"satchel repair {finished.report.path.name} --finding 1" in told
    assert "satchel repair" not in cell_html(finished, finished.find("0/object"))


# -- two reports


def test_a_report_does_not_differ_from_itself(finished):
    told = difference_html(finished.report, finished.report)
    assert "<h2>From toy (" in told
    assert "0 changed by an effect that matters" in told
    assert "All others" not in told
