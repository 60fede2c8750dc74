"""Reports made on the page: they finish, stop, go on, wait for one another, and say what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.data import open_dataset
from core.errors import UserError
from core.sat.saved_report import open_report
from core.sat.so_far import so_far
from dashboard.report import make_panel
from dashboard.report.making import (
    FAILED,
    FINISHED,
    MAKING,
    STOPPED,
    WAITING,
    Asked,
    LiveReport,
    Maker,
    Seen,
    place_of,
    remember,
    remembered,
    seconds_for,
)
from dashboard.runs import FairLock
from dashboard.turns import Turn
from tests.toy import toy_classifier

ASKED = Asked("toy", "toys", 24, ("integrated-gradients:samples=6",), ("mark",))


@pytest.fixture
def opens(toy_data: Path) -> Callable[[], Any]:
    return lambda: (open_dataset(toy_data, limit=24).with_context(["mark"]), toy_classifier())


def live(out: Path, opens: Callable[[], Any], asked: Asked = ASKED) -> LiveReport:
    return LiveReport(asked, out, "toys, toy", opens, FairLock())


def test_one_finishes_and_tells_what_stands_out_on_the_way(tmp_path: Path, opens: Callable[[], Any]) -> None:
    told = live(tmp_path / "report", opens)
    seen: list[Seen] = []
    tell = told._tell
    told._tell = lambda **changed: (tell(**changed), seen.append(told.seen))
    told.work()
    assert told.seen.phase == FINISHED
    assert not told.running
    report = open_report(told.out)
    assert report.manifest["pictures"] == 24
    assert next(entry["name"] for entry in report.manifest["segments"] if entry["kind"] == "context") == "corner"
    assert {one.progress.stage for one in seen if one.progress} >= {"explaining", "transplanting", "examples"}
    count, estimates = so_far(told.out, ["plain", "stamped"])
    assert count == 24
    first = estimates[0]
    assert (first.target, first.segment) == ("stamped", "mark")
    assert first.sufficiency is not None
    assert first.sufficiency.low > 0
    assert "so-far" in make_panel.live_html(SimpleNamespace(**{
        **vars(told), "running": True,
        "seen": replace(told.seen, phase=MAKING, pictures=count, estimates=estimates),
    }))  # fmt: skip


def test_stopped_it_goes_on_where_it_was(tmp_path: Path, opens: Callable[[], Any]) -> None:
    first = live(tmp_path / "report", opens)
    tell = first._tell

    def stopping(**changed: Any) -> None:
        tell(**changed)
        step = changed.get("progress")
        if step is not None and step.done >= 16:
            first.stop()

    first._tell = stopping
    first.work()
    assert first.seen.phase == STOPPED
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "report" / "pictures").glob("*.parquet")}
    assert kept
    assert not (tmp_path / "report" / "manifest.json").exists()
    second = live(tmp_path / "report", opens)
    second.work()
    assert second.seen.phase == FINISHED
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "report" / "pictures").glob("*.parquet")}
    assert {name: after[name] for name in kept} == kept


def test_what_cannot_be_reported_is_a_sentence(tmp_path: Path, opens: Callable[[], Any]) -> None:
    def broken() -> Any:
        raise UserError("No <such> data.")

    told = live(tmp_path / "report", broken)
    told.work()
    assert (told.seen.phase, told.seen.problem) == (FAILED, "No <such> data.")
    told = live(tmp_path / "other", opens, replace(ASKED, explainers=("nonsense",)))
    told.work()
    assert "nonsense" in told.seen.problem
    told = live(tmp_path / "third", lambda: 1 / 0)
    told.work()
    assert "log says why" in told.seen.problem


def test_they_wait_for_one_another_and_the_same_is_made_once(tmp_path: Path) -> None:
    gate, order = threading.Event(), []

    class Slow(LiveReport):
        def work(self) -> None:
            gate.wait(20)
            order.append(self.title)
            super().work()

    def made(title: str, out: str) -> LiveReport:
        return Slow(ASKED, tmp_path / out, title, lambda: 1 / 0, FairLock())

    maker = Maker(FairLock())
    first, second = maker.add(made("first", "a")), maker.add(made("second", "b"))
    assert maker.add(made("again", "b")) is second
    assert maker.current is first
    assert maker.ahead(second) == 1
    assert second.seen.phase == WAITING
    second.stop()  # before its turn came: nothing of it is made
    gate.set()
    assert first.over.wait(20)
    assert second.over.wait(20)
    assert order == ["first", "second"]
    assert second.seen.phase == STOPPED
    assert maker.add(made("third", "c")).over.wait(20)  # after all were done
    assert order[-1] == "third"


def test_what_was_asked_for_is_known_after_a_restart(tmp_path: Path) -> None:
    out = place_of(tmp_path, ASKED, "toys, toy", "f" * 8)
    assert out == place_of(tmp_path, ASKED, "toys, toy", "f" * 8)
    assert out != place_of(tmp_path, replace(ASKED, limit=25), "toys, toy", "f" * 8)
    assert out != place_of(tmp_path, ASKED, "toys, toy", "g" * 8)
    remember(out, ASKED, "toys, toy")
    (tmp_path / "broken.json").write_text("{")
    assert remembered(tmp_path) == {out: ("toys, toy", ASKED)}
    assert remembered(tmp_path / "nowhere") == {}


def test_the_time_is_estimated_from_a_picture(opens: Callable[[], Any]) -> None:
    data, classifier = opens()
    seconds = seconds_for(data, classifier, ASKED.options(), Turn(FairLock(), lambda: False))
    assert 0 < seconds < 600
