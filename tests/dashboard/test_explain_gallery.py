"""The order of rows, and how long maps are said to take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.choice import Choice
from core.classifier import Prediction
from core.data import open_dataset
from core.sat.saved_report import Report
from dashboard.classifiers import Classifiers
from dashboard.explain.by_finding import finding
from dashboard.explain.costs import BACK, Costs, about
from dashboard.explain.gallery import BY_FINDING, ORDERS, Entry, Gallery, Rows, gallery_html, said
from dashboard.page import Page
from dashboard.runs import ResultKey
from dashboard.sessions import Sessions
from tests.dashboard.conftest import attribution
from tests.toy import ColourMeter, toy_classifier


def entry(name: str, chance: float, instead: str | None = None) -> Entry:
    source: Any = SimpleNamespace(name=name)
    return Entry(source, Prediction(0, "ant", chance), instead)


def test_rows_are_sorted_by_wrong_or_unsure_and_stay_as_given_otherwise() -> None:
    entries = [entry("a", 0.9), entry("b", 0.6, "bee"), entry("c", 0.4), entry("d", 0.8, "bee")]
    broken = Entry(entries[0].source, failed="gone")
    rows = Rows("tiny", (), "as given", [*entries, broken])

    def order(by: str) -> list[str]:
        return [e.source.name for e in replace(rows, order=by).sorted() if e is not broken]

    assert order("as given") == ["a", "b", "c", "d"]
    assert order("wrong first") == ["d", "b", "a", "c"]  # the surest of the wrong ones first
    assert order("unsure first") == ["c", "b", "d", "a"]
    assert said(rows) == "4 pictures, 2 known to be answered wrong."


def key(explainer: str, model: str = "m") -> ResultKey:
    return ResultKey("p", model, Choice.parse(explainer), 0, None, 0)


def test_what_was_measured_is_what_is_expected() -> None:
    costs, made = Costs(), attribution(torch.rand(4, 4))
    assert costs.seconds([key("smoothgrad:samples=10")], 0.1) == pytest.approx((1 + BACK) * 10 * 0.1)  # as alone
    costs.learn(key("smoothgrad:samples=10"), replace(made, seconds=0.6), 0.1)
    assert costs.seconds([key("smoothgrad:samples=10")], 0.1) == 0.6
    alone = (made.forward_passes + BACK * made.backward_passes) * 0.1
    assert costs.seconds([key("smoothgrad:samples=20")], 0.1) == pytest.approx((1 + BACK) * 20 * 0.1 * 0.6 / alone)
    costs.learn(key("grad-cam"), replace(made, partial=True, seconds=99), 0.1)
    costs.learn(key("occlusion"), replace(made, forward_passes=50, backward_passes=0, seconds=5), 0.1)
    assert costs.seconds([key("occlusion", "another")], 0.2) == pytest.approx(10)  # as many passes, twice as slow
    assert costs.seconds([key("occlusion", "another")], 0.9) == pytest.approx(10)  # a first pass is no measure
    assert costs.seconds([], 0.1) == 0
    assert costs.seconds([key("grad-cam")], 0.1) != 99


def test_estimates_are_told_roughly() -> None:
    assert [about(s) for s in (0.2, 12.4, 89, 200)] == ["under 1 s", "about 12 s", "about 89 s", "about 3 min"]


# -- by a finding


@pytest.fixture
def toy_page(toy_data: Path, toy_report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """On the toy's model and data, started with the report on them."""
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "own"))
    page = Page(Classifiers("toy"), Sessions("toy"), toy_report.path, given=open_dataset(toy_data), autorun=False)
    page.classifiers.add("toy", toy_classifier())
    page.classifiers.add("other", toy_classifier(module=ColourMeter(50)))
    return page


@pytest.mark.slow
def test_pictures_are_sorted_by_what_the_strongest_finding_does_on_them(toy_page: Page, toy_report: Report) -> None:
    session = toy_page.sessions.get("visitor")
    found = finding(toy_page, session)
    assert found is not None
    assert found.name == "mark for stamped"
    sources = list(toy_page.sources(session).values())
    upload = replace(sources[0], upload=True)  # may be called as one of the data set's, and is none
    rows = Rows("toy", (), BY_FINDING, [Entry(source) for source in (upload, *sources)], finding=found)
    first, *_, last = rows.sorted()
    assert last.source is upload or found.on(last.source) is None
    records = toy_report.effects(1, "mark")
    means = (
        records[records["image"] == first.source.name].groupby("test")["effect"].mean().drop("joint", errors="ignore")
    )
    assert found.on(first.source) == (means.idxmax(), means.max())
    sizes = [measured[1] for entry in rows.sorted() if (measured := found.on(entry.source))]
    assert len(sizes) > 3
    assert sizes == sorted(sizes, reverse=True)
    html = gallery_html(rows)
    assert html.index(f'title="{first.source.name}"') < html.index(f'title="{last.source.name}"')
    assert "log-odds of stamped" in html
    assert f"the mark does most for stamped, by the report report, which measured it on {len(sizes)} of them" in said(
        rows
    )


@pytest.mark.slow
def test_a_finding_is_offered_only_where_a_report_is_about_this_model_and_these_pictures(
    toy_page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = toy_page.sessions.get("visitor")
    gallery = Gallery.__new__(Gallery)
    gallery.page, gallery.w = toy_page, SimpleNamespace(order="order")
    gallery.read = lambda values, remember: (session, None)
    offered = gallery.offer(ORDERS[1])["order"]
    assert offered["choices"][-1] == ("by a finding: mark for stamped", BY_FINDING)
    assert offered["value"] == ORDERS[1]
    session.spec = "other"
    session.gallery = Rows("toy", (), BY_FINDING)
    gone = gallery.offer(BY_FINDING)["order"]
    assert [value for _, value in gone["choices"]] == list(ORDERS)
    assert (gone["value"], session.gallery.order) == (ORDERS[0], ORDERS[0])
    session.spec, session.data = "toy", "demo:birds"
    assert finding(toy_page, session) is None
    session.data = toy_page.data_sets.start
    assert finding(toy_page, session) is not None
    monkeypatch.setattr(toy_page.data_sets, "shown", lambda *_: {})  # none of the report's pictures stands there
    assert finding(toy_page, session) is None
