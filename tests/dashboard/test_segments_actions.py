"""The handlers of the Segments tab without a browser: what the page is told."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.data import Dataset, Item
from core.errors import UserError
from core.segments import edits
from core.segments.saved.records import mask_key
from core.segments.saved.store import Store
from core.segments.segments import Segments
from dashboard import temporary
from dashboard.segment_colours import SegmentColours
from dashboard.segments import actions as segments_actions
from dashboard.segments.actions import Actions
from dashboard.segments.work import Bench, Work
from tests.dashboard.test_segments_work import CUT, LEFT, RIGHT, SMALL, bench, dataset

HOLDERS = ("progress", "strip", "questions", "picture", "masks", "state")


@dataclass(frozen=True)
class Component:
    """Stands for one of the page."""

    elem_id: str


class Told:
    """Visitors of one page by their keys, and what each was told last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **benches: Bench) -> None:
        monkeypatch.setattr(segments_actions, "bench_of", lambda page, key, on: benches[key])
        self.benches = benches
        parts: dict[str, Any] = {name: Component(name) for name in (*HOLDERS, "file", "export_status")}
        line = SimpleNamespace(stop="stop", status="status")
        page: Any = SimpleNamespace(segment_colours=SegmentColours())
        self.w: Any = SimpleNamespace(**parts, cutting=line, naming=line)
        self.actions = Actions(page, self.w)

    def open(self, key: str) -> dict[str, Any]:
        return self.read(self.actions.open(key, ""))

    def do(self, key: str, what: str, **given: Any) -> dict[str, Any]:
        event: Any = SimpleNamespace(_data={"do": what, **given})
        return self.read(self.actions.act(event, key, "", "compact"))

    def read(self, updates: dict[Any, Any]) -> dict[str, Any]:
        """The data of each holder that was sent."""
        found = {}
        for component, text in updates.items():
            name = getattr(component, "elem_id", "")
            data = re.fullmatch(rf'<i data-{name}="(.*)"></i>', text, re.DOTALL) if isinstance(text, str) else None
            if data:
                found[name] = json.loads(unescape(data[1]))
        return found


def test_whoever_changes_a_mask_that_somebody_else_changed_first_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = bench(tmp_path / "store", "browser 1"), bench(tmp_path / "store", "browser 2")
    one.apply(edits.recut(CUT))
    told = Told(monkeypatch, one=one, two=two)
    told.open("one")
    told.open("two")
    told.do("one", "name", keys=[mask_key(LEFT)], name="beak")
    refused = told.do("two", "name", keys=[mask_key(LEFT)], name="wing")
    assert refused["state"]["problem"]
    assert re.search(r"is named beak by now.*browser 1 changed this picture", refused["state"]["say"])
    assert [segment["name"] for segment in refused["masks"]["segments"]] == ["beak", "", ""]
    # what was seen may be changed
    assert told.do("two", "name", keys=[mask_key(LEFT)], name="wing")["state"]["say"] == "named 1 mask wing"
    assert "is named wing by now" in told.do("one", "delete", keys=[mask_key(LEFT)])["state"]["say"]
    told.do("one", "delete", keys=[mask_key(SMALL)])
    both = told.do("two", "name", keys=[mask_key(RIGHT)], name="tail")["state"]
    assert both["say"].startswith("named 1 mask tail. browser 1 changed this picture (deleted 1 mask)")
    assert not both["problem"]
    assert two.segments is not None
    assert two.segments.names == ("wing", "tail")


def broken(what: str) -> Any:
    def read() -> Any:
        raise UserError(f"{what} is damaged; replace it.")

    return read


def test_one_damaged_picture_or_mask_leaves_the_others_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = dataset().items
    items = (
        replace(good[0], picture=broken("0.png"), segments=lambda: CUT),
        replace(good[1], segments=broken("its mask")),
        replace(good[2], segments=lambda: Segments((8, 9), ())),
        Item("3.png", None, good[0].picture, lambda: CUT),
    )
    one = Bench(Work(Dataset("four", str(tmp_path), items), Store(tmp_path / "store", "one")))
    told = Told(monkeypatch, one=one)
    first = told.open("one")
    assert first["state"]["say"] == "0.png is damaged; replace it."
    assert first["state"]["problem"]
    assert first["picture"]["id"] == "0.png"
    assert told.do("one", "click", x=0.5, y=0.5, label=1)["state"]["problem"]
    said = [told.do("one", "step", by=1)["state"]["say"] for _ in range(2)]
    assert said[0] == "its mask is damaged; replace it."
    assert re.search("mask of 2.png is 8x9 .* its picture 60x90", said[1])
    last = told.do("one", "step", by=1)
    assert len(last["masks"]["segments"]) == 3
    # from a picture with masks back to the damaged one: the state speaks of masks that were sent
    back = told.do("one", "open", id="0.png")
    assert back["state"]["masks"] == str(back["masks"]["turn"])
    assert back["masks"]["id"] == "0.png"
    there = told.do("one", "open", id="3.png")
    assert (there["state"]["say"], there["picture"]["id"]) == ("", "3.png")
    told.do("one", "open", id="1.png")
    one.apply(edits.add(LEFT))  # a new start where the old masks are lost
    assert told.do("one", "name", keys=[mask_key(LEFT)], name="wing")["state"]["say"] == "named 1 mask wing"


@pytest.mark.parametrize("form", segments_actions.FORMS)
def test_an_export_ends_in_an_archive_or_a_sentence(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "process_folder", lambda: tmp_path)
    one = bench(tmp_path / "store", "one")
    told = Told(monkeypatch, one=one)
    assert "Nothing to export yet" in told.actions.export("one", "", form)[told.w.export_status]
    one.apply(edits.add(LEFT))
    one.apply(edits.rename([mask_key(LEFT)], "wing"))
    for _ in range(2):
        assert told.actions.export("one", "", form)[told.w.export_status] == ""
    folders = list(tmp_path.glob("segments-*"))
    assert [path.name for folder in folders for path in folder.iterdir()] == ["segments.zip"]
    readable = segments_actions.current

    def current(item: Item, store: Store) -> Any:
        if item.id == one.work.data.items[1].id:
            raise UserError("It is damaged.")
        return readable(item, store)

    monkeypatch.setattr(segments_actions, "current", current)
    status = told.actions.export("one", "", form)
    assert "Left out: 1.png: It is damaged." in status[told.w.export_status]
    assert status[told.w.file]["visible"]

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.make_archive", full)
    assert "No space left on device" in told.actions.export("one", "", form)[told.w.export_status]
    assert not [path for folder in tmp_path.glob("segments-*") for path in folder.iterdir()]
