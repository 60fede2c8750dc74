"""What one visitor may take of a page that others use too, and what is left of one who is forgotten."""

from __future__ import annotations

import threading
import time
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from core.data import open_dataset
from core.errors import UserError
from core.sat.saved_report import open_report
from dashboard.classifiers import Classifiers
from dashboard.page import Page
from dashboard.project.choosing import bring_pictures
from dashboard.project.uploads import Share, unpacked
from dashboard.report.making import FINISHED, STOPPED, Asked, LiveReport
from dashboard.runs import FairLock, Run
from dashboard.sessions import KEPT_SESSIONS, RUNS_EACH, Session, Sessions
from dashboard.waiting import REPORTS_EACH, Waiting
from tests.dashboard.conftest import photo, tiny_classifier
from tests.toy import toy_classifier

ASKED = Asked("toy", "toys", 24, ("integrated-gradients:samples=6",), ("mark",))


@pytest.fixture
def shared_page(monkeypatch, tmp_path: Path) -> Page:
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "own"))
    monkeypatch.setattr("dashboard.page.process_folder", lambda: tmp_path / "process")
    page = Page(Classifiers("tiny"), Sessions("tiny"), shared=True, autorun=False)
    page.classifiers.add("tiny", tiny_classifier())
    return page


def zipped(path: Path, seed: int = 0) -> Path:
    photo(seed=seed).save(path.with_suffix(".png"))
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("ant", "bee"):
            archive.write(path.with_suffix(".png"), f"{name}/1.png")
    return path


class Gated(LiveReport):
    """One that takes until a gate opens."""

    gate: threading.Event

    def work(self) -> None:
        self.gate.wait(20)
        super().work()


def gated(out: Path, gate: threading.Event) -> Gated:
    live = Gated(ASKED, out, "t", lambda: 1 / 0, FairLock())
    live.gate = gate
    return live


def test_one_visitor_waits_for_no_more_than_two_reports_and_others_are_not_held_up(tmp_path: Path):
    gate, queue = threading.Event(), Waiting(FairLock(), REPORTS_EACH)
    first, second = queue.add(gated(tmp_path / "a" / "1", gate)), queue.add(gated(tmp_path / "a" / "2", gate))
    assert queue.add(gated(tmp_path / "a" / "2", gate)) is second  # the same again is no further one
    with pytest.raises(UserError, match="You have 2 reports waiting"):
        queue.add(gated(tmp_path / "a" / "3", gate))
    other = queue.add(gated(tmp_path / "b" / "1", gate))
    assert queue.counts() == (2, 1)
    assert queue.of(tmp_path / "a") == [first, second]
    second.stop()  # one that ends makes room
    third = queue.add(gated(tmp_path / "a" / "3", gate))
    queue.close()
    with pytest.raises(UserError, match="about to end"):
        queue.add(gated(tmp_path / "c" / "1", gate))
    gate.set()
    assert all(live.over.wait(20) for live in (first, second, other, third))
    alone = Waiting(FairLock())  # nobody else uses the page
    for number in range(REPORTS_EACH + 1):
        alone.add(gated(tmp_path / "a" / str(number), gate))


def test_reports_are_told_of_when_they_begin_and_end(tmp_path: Path, caplog):
    import logging

    with caplog.at_level(logging.INFO, "satchel"):
        gate = threading.Event()
        gate.set()
        for thread in threading.enumerate():  # what reports of the tests before have to tell is told first
            if thread.name == "satchel-told":
                thread.join(20)
        caplog.clear()
        live = Waiting(FairLock()).add(gated(tmp_path / "1", gate))
        assert live.over.wait(20)
        until = time.monotonic() + 20
        while "report ended" not in caplog.messages and time.monotonic() < until:
            time.sleep(0.01)
    told = [record for record in caplog.records if record.getMessage().startswith("report ")]
    assert [record.getMessage() for record in told] == ["report asked", "report begun", "report ended"]
    assert told[-1].about["phase"] == "failed"
    assert "ZeroDivisionError" in caplog.text


def test_data_sets_have_a_share_of_the_disk(tmp_path: Path):
    folder, file = tmp_path / "data", zipped(tmp_path / "birds.zip")
    size = sum(entry.file_size for entry in zipfile.ZipFile(file).infolist())
    place = unpacked([file], folder, share=Share(1, 10 * size))
    assert unpacked([file], folder, share=Share(1, 10 * size)) == place  # to the one that is there
    with pytest.raises(UserError, match="You have brought 1 data sets"):
        unpacked([file], folder, "more", share=Share(1, 10 * size))
    for files in ([file], [file.with_suffix(".png")] * 3):
        with pytest.raises(UserError, match="left of what one visitor may keep"):
            unpacked(files, folder, "more", share=Share(2, size + 1))
    assert [path.name for path in folder.iterdir()] == [place.name]
    unpacked([file], folder, "more")  # without one there is no bound


def test_of_too_many_maps_the_oldest_stop_and_say_why(small_page: Page):
    session = Session("tiny")
    session.start(Run({"a": None}), retouch=False)
    runs = [Run({f"slider {number}": None}) for number in range(RUNS_EACH)]
    for run in runs:
        session.start(run, retouch=True)
    assert [run.stopped for run in (session.run, *runs)] == [True] + [False] * RUNS_EACH
    assert "stopped for newer ones" in session.failed["a"]


def test_what_a_forgotten_visitor_brought_to_a_shared_page_goes(shared_page: Page, tmp_path: Path):
    session, other = shared_page.sessions.get("one"), shared_page.sessions.get("other")
    for one in (session, other):
        bring_pictures(shared_page, one, [zipped(tmp_path / "birds.zip")], "", "")
    mine, theirs = shared_page.data_folder(session), shared_page.data_folder(other)
    segments = shared_page.data_sets.segments_folder(session.data)
    (tmp_path / "process" / "uploads").mkdir()
    segments.mkdir(parents=True)
    for number, holders in enumerate(((session,), (session, other))):
        photo(seed=number).save(tmp_path / "process" / "uploads" / f"{number}.png")
        for holder in holders:
            holder.add(shared_page.pictures.read(tmp_path / "process" / "uploads" / f"{number}.png"))
    assert mine.is_dir()
    shared_page.sessions.get("other")  # seen last
    for number in range(KEPT_SESSIONS - 1):
        shared_page.sessions.get(str(number))
    until = time.monotonic() + 20
    while mine.is_dir() and time.monotonic() < until:
        time.sleep(0.01)
    assert not mine.exists()
    assert not segments.exists()
    assert theirs.is_dir()
    assert [path.name for path in (tmp_path / "process" / "uploads").iterdir()] == ["1.png"]  # the other's too


def test_a_page_of_ones_own_keeps_what_was_brought(small_page: Page, tmp_path: Path):
    session = small_page.sessions.get("one")
    source = bring_pictures(small_page, session, [zipped(tmp_path / "birds.zip")], "", "")
    small_page.forget(session)
    small_page.end(0.0)
    assert Path(source).is_dir()


def test_models_are_kept_as_far_as_the_memory_goes_and_one_in_use_is_never_lost():
    size = sum(p.numel() * 4 for p in tiny_classifier().module.parameters())
    kept = Classifiers("none", memory=int(2.5 * size))
    held = kept.add("a", tiny_classifier(1))
    assert held.bytes == size
    kept.add("b", tiny_classifier(2))
    assert kept.get("a") is held  # used again, so b is the oldest
    kept.add("c", tiny_classifier(3))
    assert len(kept) == 2
    with pytest.raises(UserError):
        kept.get("b")
    kept.add("d", tiny_classifier(4))
    kept.add("e", tiny_classifier(5))
    assert torch.isfinite(held.classifier.logits(torch.rand(1, 3, 32, 32))).all()  # gone there, and still usable
    small = Classifiers("none", memory=0)
    small.add("a", tiny_classifier())
    assert small.add("b", tiny_classifier()) is small.get("b")
    assert len(small) == 1


def test_shared_weights_are_counted_once():
    held = Classifiers("none").add("a", tiny_classifier())
    before = held.bytes
    held.classifier.module.twin = held.classifier.module.head
    held.classifier.module.extra = nn.Parameter(torch.zeros(10))
    del held.bytes
    assert held.bytes == before + 40


@pytest.mark.slow
def test_a_report_that_the_end_of_the_page_stops_goes_on_afterwards(shared_page: Page, toy_data: Path, tmp_path: Path):
    out = tmp_path / "reports" / "one"

    def opens():
        return open_dataset(toy_data, limit=24).with_context(["mark"]), toy_classifier()

    live, reached = LiveReport(ASKED, out, "toys", opens, shared_page.runner.lock), threading.Event()
    tell = live._tell

    def telling(**changed):
        tell(**changed)
        step = changed.get("progress")
        if step is not None and step.done >= 12:
            reached.set()

    live._tell = telling
    shared_page.maker.add(live)
    assert reached.wait(60)
    shared_page.end(patience=60.0)
    assert live.over.is_set()
    assert live.seen.phase == STOPPED
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "pictures").glob("*.parquet")}
    assert kept
    again = LiveReport(ASKED, out, "toys", opens, FairLock())
    again.work()
    assert again.seen.phase == FINISHED
    assert open_report(out).manifest["pictures"] == 24
    assert {name: (out / "pictures" / name).stat().st_mtime_ns for name in kept} == kept
