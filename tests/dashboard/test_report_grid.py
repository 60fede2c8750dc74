"""The heat map and the table of the Report tab."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_parts import Parsed, explainer, with_cells

from core.sat.statistics import Interval
from dashboard.report.finished import Finished
from dashboard.report.grid import grid_html, heat_map
from dashboard.report.table import COLUMNS, Filters, Sort, listed, table_html
from dashboard.words import number

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
