"""What the Report tab says of a finished report."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from core.sat.saved_report import PACK, Report
from core.sat.statistics import Interval
from core.sat.tables import by_picture
from core.storage.pack import Pack, packing
from dashboard.report import words
from dashboard.report.beyond import IN_SIGHT, beyond_html, whole_html
from dashboard.report.difference import difference_html
from dashboard.report.finished import Finished, accuracy_interval, open_finished
from dashboard.report.grid import grid_html, heat_map
from dashboard.report.pictures import behind, exhibits, exhibits_html, pasted_html, pictures_html
from dashboard.report.plots import density_figure, effect_rows, effects_figure, values_figure
from dashboard.report.table import COLUMNS, Filters, Sort, listed, table_html
from dashboard.report.views import answer_html, cell_html, counts_html, facts_html, notes_html
from dashboard.words import number, signed

HOSTILE = "<img src=x onerror=alert(1)>\"'${alert(2)}{{x}}"


def with_cells(finished: Finished, **changes) -> Finished:
    """The same report with every cell changed."""
    cells = {key: replace(cell, **changes) for key, cell in finished.cells.items()}
    return Finished(finished.report, cells)


def explainer(finished: Finished) -> str:
    return next(iter(finished.explainers))


class Parsed(HTMLParser):
    """Tags that stand in a text, so that a name that became a tag is found."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def having(self, attribute: str) -> list[str]:
        return [found[attribute] for _, found in self.tags if attribute in found]


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


# -- heat map


def test_heat_map_is_the_findings_by_class_and_segment(finished):
    grid = heat_map(finished, "sufficiency", explainer(finished))
    assert [label for _, label in grid.rows] == ["stamped", "plain"]  # the strongest finding first
    names = [name for name, _ in grid.columns]
    assert {"mark", "sky", "corner"} == set(names[:3])  # context before the object
    assert names[3:] == ["object"]
    stamped, plain = (dict(zip(names, line)) for line in grid.fields)
    assert plain["mark"] is None  # no picture of this class shows it
    mark = stamped["mark"]
    assert mark.text == number(finished.cells[1, "mark"].sufficiency.estimate)
    assert mark.shade == max(f.shade for line in grid.fields for f in line if f)
    assert abs(stamped["sky"].shade) < 0.01


def test_density_is_coloured_by_doublings_around_one(finished):
    name = explainer(finished)
    changed = with_cells(finished, density={name: Interval(4.0, 3.0, 5.0, 9)})
    halved = with_cells(finished, density={name: Interval(0.25, 0.2, 0.3, 9)})
    up = heat_map(changed, "density", name).fields[0][0].shade
    down = heat_map(halved, "density", name).fields[0][0].shade
    assert up == pytest.approx(2 / 3)
    assert down == pytest.approx(-2 / 3)
    neither = with_cells(finished, density={})
    assert heat_map(neither, "density", name).fields[0][0].shade is None


def test_cells_with_too_few_pictures_are_hatched_and_do_not_set_the_scale(finished):
    loud = replace(finished.cells[0, "corner"], pictures=8, verdict="too few", sufficiency=Interval(90.0, 1.0, 99.0, 8))
    changed = Finished(finished.report, {**finished.cells, (0, "corner"): loud})
    grid = heat_map(changed, "sufficiency", explainer(finished))
    assert grid.top < 2
    text = grid_html(grid, "sufficiency", explainer(finished), None)
    assert text.count('class="field few"') == 1


def test_every_cell_of_the_heat_map_is_a_button_and_one_is_in_the_tab_order(finished):
    grid = heat_map(finished, "necessity", explainer(finished))
    chosen = finished.cells[0, "sky"]
    parsed = Parsed(grid_html(grid, "necessity", explainer(finished), chosen))
    buttons = [found for tag, found in parsed.tags if tag == "button"]
    assert {b["data-cell"] for b in buttons} == {cell.id for cell in finished.cells.values()}
    assert [b["data-cell"] for b in buttons if b["tabindex"] == "0"] == [chosen.id]
    assert [b["data-cell"] for b in buttons if b.get("aria-current") == "true"] == [chosen.id]
    assert all(finished.find(b["data-cell"]) is not None for b in buttons)


# -- table


def test_filters(finished):
    def keys(**given):
        return [cell.key for cell in listed(finished, Filters(**given), Sort(), explainer(finished))]

    assert keys() == list(finished.cells)
    assert set(keys(verdict="confirmed")) == {(1, "mark"), (0, "object")}
    assert set(keys(kind="object")) == {(0, "object"), (1, "object")}
    assert all(target == 0 for target, _ in keys(target=0))
    assert keys(text="STAMP mar") == [(1, "mark")]
    assert keys(verdict="suspected", text="nothing") == []
    assert "Nothing fits" in table_html(finished, [], Sort(), explainer(finished), None, filtered=True)


@pytest.mark.parametrize("column", list(COLUMNS))
def test_sorting_orders_a_column_and_puts_what_was_not_measured_last(finished, column):
    name = explainer(finished)
    bare = replace(finished.cells[0, "corner"], sufficiency=None, necessity=None, share={name: None}, density={})
    changed = Finished(finished.report, {**finished.cells, (0, "corner"): bare})
    sort = Sort().toggled(column)
    for turned in (sort, sort.toggled(column)):
        values = [COLUMNS[column].value(cell, name) for cell in listed(changed, Filters(), turned, name)]
        known = [v for v in values if v is not None]
        assert known == sorted(known, reverse=turned.descending)
        assert values[: len(known)] == known
    assert sort.toggled(column).toggled(column) == Sort()


def test_rows_name_their_cell_and_unknown_columns_change_nothing(finished):
    cells = listed(finished, Filters(), Sort("pictures", True), explainer(finished))
    parsed = Parsed(table_html(finished, cells, Sort(), explainer(finished), cells[2], False))
    rows = [found for tag, found in parsed.tags if tag == "tr" and "data-cell" in found]
    assert [row["data-cell"] for row in rows] == [cell.id for cell in cells]
    assert [row["data-cell"] for row in rows if "aria-current" in row] == [cells[2].id]
    assert Sort().toggled("__class__") == Sort()
    assert finished.find("1/no such thing") is finished.find("x/mark") is finished.find(None) is None


# -- pictures


def test_pictures_behind_the_mark_lose_the_class_without_it_and_gain_it_where_it_is_pasted(finished):
    cell, removal, paste = exhibits(finished)
    assert cell.key == (1, "mark")
    assert removal["before_probability"] - removal["after_probability"] > 0.15
    assert paste["after_probability"] - paste["before_probability"] > 0.15
    found = behind(finished, cell)
    assert found.fills == ["inpaint", "mean"]
    assert {r["test"] for r in found.pastes} == {"sufficiency"}
    labels = finished.report.pictures.set_index("image")["label"]
    assert set(labels[found.images]) == {"stamped"}
    assert exhibits_html(finished).count("<img") == 4
    text = pictures_html(finished, cell, explainer(finished))
    assert text.count("<img") == len(found.images) * (1 + 1 + 2)
    assert "missing" not in text
    assert pasted_html(finished, cell).count("<img") == 2 * len(found.pastes)


def test_a_large_segment_is_swapped_and_said_so(finished):
    sky = finished.cells[1, "sky"]
    assert sky.swapped
    assert {r["test"] for r in behind(finished, sky).pastes} == {"sufficiency", "necessity"}
    assert "contexts are swapped" in pictures_html(finished, sky, explainer(finished))
    assert "given its sky" in pasted_html(finished, sky)


def test_missing_pictures_leave_a_box_and_the_rest(finished, copied):
    whole = Pack(copied / PACK)
    with packing(copied / PACK) as pack:
        for name in whole.names:
            if "-without-" not in name:
                pack.add(name, whole.read(name))
    report = open_finished(copied)
    report.manifest["created"] = "another time"
    text = pictures_html(report, report.cells[1, "mark"], explainer(report))
    assert "picture missing" in text
    assert "<img" in text


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/secret.png", "..", "a\\b.png"])
def test_files_outside_the_report_are_refused_when_it_is_opened(copied, name):
    index = json.loads((copied / "examples.json").read_text())
    next(iter(index["pictures"].values()))["file"] = name
    (copied / "examples.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="no name of a file in the folder"):
        open_finished(copied)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_links_out_of_the_report_and_pipes_in_it_are_never_read(copied, kind):
    report = open_finished(copied)
    report.manifest["created"] = "yet another time"
    (copied / PACK).rename(copied.parent / "elsewhere.zip")
    if kind == "link":
        (copied / PACK).symlink_to(copied.parent / "elsewhere.zip")
    else:
        os.mkfifo(copied / PACK)
    text = pictures_html(report, report.cells[1, "mark"], explainer(report))
    assert "picture missing" in text
    assert "map missing" in text
    assert "<img" not in text


# -- charts


@pytest.mark.slow
def test_charts_draw_every_test_with_its_interval_and_its_pictures(finished):
    cell = finished.cells[1, "mark"]
    rows = effect_rows(finished, cell)
    told = ["pasted elsewhere", "removed, inpaint", "removed, mean", "removed, other context gone"]
    assert [name for name, _, _ in rows] == told
    for _, found, dots in rows:
        assert found.low - 1e-6 <= found.estimate <= found.high + 1e-6
        assert dots.min() - 1e-6 <= found.estimate <= dots.max() + 1e-6
    figure = effects_figure(finished, cell, dark=False)
    assert {shape.x0 for shape in figure.layout.shapes} == {0, finished.manifest["delta"]}
    drawn = density_figure(finished, cell, dark=True)
    told = [line.split("<br>") for line in drawn.layout.yaxis.ticktext]
    assert [name for name, _ in told] == list(finished.explainers.values())
    assert [words.interval(found, 2) in numbers for found, (_, numbers) in zip(cell.density.values(), told)] == [True]
    untested = replace(cell, sufficiency=None, fills={}, joint=None, density={})
    assert effects_figure(finished, untested, False) is None
    assert density_figure(finished, untested, False) is None


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


# -- wrong answers


def test_a_wrong_answer_is_called_wrong(copied):
    pictures = sorted((copied / "pictures").glob("*.parquet"))
    report = open_finished(copied)
    cell = report.cells[1, "mark"]
    image = behind(report, cell).images[0]
    for file in pictures:
        table = pd.read_parquet(file)
        own = table["image"] == image
        table.loc[own, "label"], table.loc[own, "correct"] = "plain", False
        table.to_parquet(file)
    report = open_finished(copied)
    assert report.mistaken == {image}
    assert pictures_html(report, cell, explainer(report)).count("wrong: it is a plain") == 1
    pasted = [r for r in behind(report, cell).pastes if r["after_probability"] > 0.5]
    assert pasted_html(report, cell).count("wrong: it is a plain") == len(pasted) > 0


def test_every_segment_of_the_class_has_a_box_of_its_pictures_values(finished):
    cell = finished.find("1/mark")
    figure = values_figure(finished, cell, explainer(finished), False)
    rows = finished.report.rows(1)
    known = by_picture(rows[rows["explainer"] == explainer(finished)])
    names = [text.partition(" (")[0] for text in figure.layout.yaxis.ticktext]
    assert set(names) == set(known["segment"])
    for name, box in zip(names, figure.data):
        assert sorted(box.x) == pytest.approx(sorted(known.loc[known["segment"] == name, "scaled_mean"]))
    medians = [np.median(box.x) for box in figure.data]
    assert medians == sorted(medians, reverse=True)
    assert values_figure(finished, cell, "none of them", True) is None


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
