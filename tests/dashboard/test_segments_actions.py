"""The handlers of the Segments tab without a browser: what the page is told."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.segments import edits
from core.segments.saved.records import mask_key
from dashboard import segments_actions
from dashboard.segments_actions import Actions
from dashboard.segments_work import Bench
from tests.dashboard.test_segments_work import CUT, LEFT, RIGHT, SMALL, bench

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
        page: Any = SimpleNamespace()
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
