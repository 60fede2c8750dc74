"""Colours mean one thing: a segment's name has one colour on every tab, and no explainer has it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.explainer import explainers
from core.segments import Mask, Segment, Segments
from core.segments.colours import COUNT
from core.segments.saved.store import Store
from dashboard.cli.export import _colours
from dashboard.page import Page
from dashboard.palette import COLOURS, GREYS, SEGMENT_COLOURS, colour_rules, look
from dashboard.plots import Mark, Row, evidence_plot
from dashboard.report.grid import grid_html, heat_map
from dashboard.report.table import Sort, table_html
from dashboard.report.views import cell_html
from dashboard.segment_colours import SegmentColours, chip
from dashboard.segments.drawing import state_data
from dashboard.sessions import Session


def test_no_segment_has_an_explainers_colour_and_no_explainer_a_controls() -> None:
    assert len(SEGMENT_COLOURS) == COUNT
    for mode in (0, 1):
        assert not {pair[mode] for pair in SEGMENT_COLOURS} & {pair[mode] for pair in COLOURS}
        assert len({pair[mode] for pair in SEGMENT_COLOURS}) == COUNT
    assert f".dark .g-{COUNT - 1}{{" in colour_rules()
    looks = {name: look(name) for name in explainers()}
    assert len(set(looks.values())) == len(looks)
    for name, explainer in explainers().items():
        assert (looks[name][0] >= len(COLOURS) - GREYS) == (explainer.family == "control"), name
    assert look("of another version")[0] >= len(COLOURS) - GREYS


def test_one_colour_on_every_tab(small_page: Page, session: Session, view: Any, finished: Any) -> None:
    names = sorted({cell.segment for cell in finished.cells.values()})
    colours = small_page.colours("demo:birds", names)
    # the pictures on the page belong to the demo: the Explain tab
    assert small_page.colours(None, ["beak", *names]).items() >= colours.items()
    mask = Mask.from_dense(np.eye(4, dtype=bool))
    named = Segments((4, 4), tuple(Segment(mask, name) for name in ("mark", "", "beak")))
    rows = [Row(title, "unset", 0.1, (Mark("gradient", 0.2, None),), at) for at, title in enumerate(named.titles)]
    drawn = evidence_plot(rows, named, small_page.colours(None, ["mark", "beak"]))
    assert f'<i class="chip g-{colours["mark"]}"></i>mark' in drawn
    assert drawn.count("chip") == 2  # what has no name has no colour
    # the Segments tab, after somebody has named more
    store = Store(small_page.segments_folder(None))
    store.save("p", Segments((4, 4), (Segment(mask, "quill", naming="typed"),)), None, "named")
    bench: Any = SimpleNamespace(
        picture=None, record=None, segments=named, cut=SimpleNamespace(points=[], box=None),
        work=SimpleNamespace(store=store),
    )  # fmt: skip
    told = state_data(bench, lambda every: small_page.segment_colours.of(store.folder, every))
    shown = {entry["name"]: entry["colour"] for entry in told["names"]}
    assert set(shown) == {"quill", "mark", "beak"}
    assert shown["mark"] == colours["mark"]
    # the report, opened by a page that was started anew
    # as a command says them, which gives none for good
    assert _colours("demo:birds", ["new", "mark"])["mark"] == colours["mark"]
    assert "new" not in store.colours
    again = Page(small_page.classifiers, small_page.sessions, autorun=False)
    assert again.colours("demo:birds", ["quill", *names]).items() >= {**colours, "quill": shown["quill"]}.items()


def test_reports_show_the_colours_of_their_data(finished: Any) -> None:
    explainer = next(iter(finished.explainers))
    cells = list(finished.cells.values())
    grid = grid_html(heat_map(finished, "necessity", explainer), "necessity", explainer, None)
    table = table_html(finished, cells, Sort(), explainer, None, False)
    for cell in cells:
        mark = chip(finished.colours, cell.segment)
        assert mark.startswith("<i")
        assert f"{cell.segment}</span>{mark}" in grid
        assert f"{mark}{cell.segment}" in table
        assert f"{mark}{cell.segment}" in cell_html(finished, cell)


def test_where_nothing_can_be_kept_colours_hold_as_long_as_the_page(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.png").write_bytes(b"masks of another form")
    for place in (tmp_path / "masks", "elsewhere"):
        colours = SegmentColours()
        first = dict(colours.of(place, ["wing", "", "beak"]))
        assert set(first) == {"wing", "beak"}
        assert colours.of(place, ["eye", "tail", "beak"]).items() >= first.items()
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["a.png"]


@pytest.mark.parametrize("source", ["/etc", "nowhere"])
def test_a_reports_data_that_may_not_be_opened_is_not_written_to(small_page: Page, source: str) -> None:
    assert set(small_page.colours(source, ["wing"])) == {"wing"}
    assert not list(Path(small_page.segments_folder(None).parent).glob("*nowhere*"))
