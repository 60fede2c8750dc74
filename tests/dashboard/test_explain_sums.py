"""The trained explainer as a classifier on the Explain tab: when it is shown, and what clicking a part off does."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.explainers.learned.parts import Part, Total
from dashboard.explain.sums import Sums, switched, waterfall
from dashboard.page import Page
from dashboard.pictures import View
from dashboard.sessions import Session
from tests.dashboard.conftest import tiny_classifier
from tests.trained import write_explainer


@pytest.fixture
def sums(small_page: Page) -> Sums:
    return Sums(small_page, SimpleNamespace(sum_area="area", sum="sum"))


def trained(tmp_path: Path, players: str, seed: int = 0) -> Path:
    folder = tmp_path / "own" / "explainers"
    return write_explainer(tiny_classifier(), folder / f"{players}.safetensors", players, seed=seed)


def names(drawn: str) -> list[str]:
    return re.findall(r'<i class="box"></i>([^<]+)</button>', drawn)


def figures(drawn: str) -> list[str]:
    return re.findall(r"<b>([<>.\d&;lgt]+)</b><i class", drawn)


def test_it_is_hidden_where_no_explainer_is_trained(sums: Sums, session: Session, view: View) -> None:
    shown: Any = sums.shown(session, view, 0)
    assert shown == {"area": {"visible": False, "__type__": "update"}}


def test_segments_are_parts_by_name_and_one_is_clicked_off(
    sums: Sums, session: Session, view: View, tmp_path: Path
) -> None:
    trained(tmp_path, "segments")
    target = view.predictions[0].index
    whole = sums.shown(session, view, target)["sum"]
    assert sorted(names(whole)) == sorted(name or "the rest of the picture" for name in view.regions.names[0])
    assert "The whole picture" in whole
    assert "parts:" not in whole
    first = re.search(r'data-act="part" data-id="([\d,]+)"', whole)
    assert first is not None
    session.absent = switched(session.absent, map(int, first[1].split(",")))
    without = sums.shown(session, view, target)["sum"]
    assert without.count('aria-pressed="false"') == 1
    assert figures(without) != figures(whole)
    assert "that very picture" in without
    session.absent = switched(session.absent, map(int, first[1].split(",")))
    assert sums.shown(session, view, target)["sum"] == whole


def test_one_may_choose_between_both_and_what_is_off_belongs_to_one_of_them(
    sums: Sums, session: Session, view: View, tmp_path: Path
) -> None:
    trained(tmp_path, "segments")
    trained(tmp_path, "patches")
    sums.shown(session, view, 0)
    session.absent = switched(session.absent, [0])
    session.players = "patches"
    patches = sums.shown(session, view, 0)["sum"]
    assert 'data-id="patches" aria-pressed="true"' in patches
    assert names(patches)[-1] == "all other patches"
    assert 'class="off"' not in patches
    session.players = "segments"
    assert 'class="off"' not in sums.shown(session, view, 0)["sum"]


def test_an_explainer_that_was_trained_anew_is_taken_at_once(
    sums: Sums, session: Session, view: View, tmp_path: Path
) -> None:
    trained(tmp_path, "patches")
    before = sums.shown(session, view, 0)["sum"]
    trained(tmp_path, "patches", seed=1)
    assert sums.shown(session, view, 0)["sum"] != before


def test_what_fails_is_told_in_its_place(
    sums: Sums, session: Session, view: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path, "patches")

    def broken(*given: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr("dashboard.explain.sums.salvage_model", broken)
    assert "the program's log says why" in sums.shown(session, view, 0)["sum"]


def test_each_bar_begins_where_the_one_before_ends() -> None:
    parts = (Part("beak <b>", (0,), 3.0), Part("sky", (1, 2), -1.0))
    drawn = waterfall(Total(-1.0, parts, 1.0, 0.1, 0.7), "owl", frozenset({1, 2}))
    places = [(float(a), float(b)) for a, b in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", drawn)]
    assert places == [(0.0, 33.33), (0.0, 100.0), (66.67, 33.33), (33.33, 33.33)]  # from -1 to 2
    assert "beak &lt;b&gt;" in drawn
    assert drawn.count('class="off"') == 1
    assert "+3.00" in drawn
    assert "−1.00" in drawn
