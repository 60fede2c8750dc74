"""Satchel's own store of segments, with lines and files of it damaged: what is whole comes back as it was saved."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from core.segments import KINDS, Mask, Segment, Segments
from core.segments.files import open_segments
from core.segments.saved.store import Store

from .damage import ODD_VALUES, damaged, damaged_document
from .harness import Case, Family

NAMES = ("beak", "wing", "", "Käse", "a/b", "background")


def _segments(case: Case) -> Segments:
    size = (case.number(1, 20), case.number(1, 20))
    items = []
    for _ in range(case.number(0, 3)):
        name = case.pick(NAMES)
        mask = Mask.from_dense(case.rng.random(size) < 0.5)
        naming = case.pick(("typed", "proposed", "file")) if name else ""
        items.append(Segment(mask, name, score=0.5, naming=naming, confidence=0.4 if naming == "proposed" else None))
    return Segments(size, tuple(items))


def _same(one: Segments, other: Segments) -> bool:
    plain = [replace(both, items=tuple(replace(s, kind=KINDS[0]) for s in both)) for both in (one, other)]
    return plain[0] == plain[1]


def attempt(case: Case) -> None:
    folder = case.folder / "store"
    store = Store(folder)
    saved: dict[str, Segments] = {}
    for place in range(case.number(1, 4)):
        picture = case.pick(("{}.jpg", "a/{}.png", "é {}.jpg", "{}")).format(place)
        record = None
        for _ in range(case.number(1, 2)):
            saved[picture] = _segments(case)
            record = store.save(picture, saved[picture], record, "named 3 masks")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    part = case.pick(("sound", "journal", "journal", "journal lines", "journal lines", "version", "names"))
    case.kind = f"store, {part} damaged" if part != "sound" else "store"
    whole = set(saved)
    journal = folder / "journal.jsonl"
    if part == "journal":
        journal.write_bytes(damaged(case, journal.read_bytes()))
    elif part == "journal lines":
        lines = [json.loads(line) for line in journal.read_bytes().splitlines() if line]
        text = damaged_document(case, lines)
        try:
            kept = json.loads(text) if text.count("[") < 1000 else lines
        except json.JSONDecodeError:  # damaged as a text, not as a document
            kept = lines
        extra = json.dumps(case.pick(ODD_VALUES))
        listed = kept if isinstance(kept, list) else [kept]
        journal.write_text("\n".join([*(json.dumps(line) for line in listed), extra, ""]))
    elif part in ("version", "names"):
        own = [path for path in files if (path.parent.name == "names") == (part == "names") and path != journal]
        victim = case.pick(own)
        data = victim.read_bytes()
        changed = damaged_document(case, json.loads(data)).encode() if case.chance(0.7) else damaged(case, data)
        victim.write_bytes(changed)
        whole = set()
    if part.startswith("journal"):
        # it is an index only, but a line that names another picture or version is believed
        case.sound(lambda: _visit(case, Store(folder), saved, whole))
        return
    if part == "sound":
        case.sound(lambda: _visit(case, Store(folder), saved, whole))
        opened = case.sound(lambda: open_segments(folder))
        case.expect(set(opened) == set(saved), "other pictures than were saved")
        return
    _visit(case, Store(folder), saved, whole)
    for segments in open_segments(folder).values():
        np.asarray(segments.masks)


def _visit(case: Case, store: Store, saved: dict[str, Segments], whole: set[str]) -> None:
    """What the page and the command line ask a store for."""
    store.tally(len(saved))
    store.journal.pictures()
    store.journal.problems()
    store.files()
    assert isinstance(store.kinds, dict)
    for picture, segments in saved.items():
        record = store.load(picture)
        if picture in whole:
            case.expect(record is not None and _same(record.segments, segments), "other segments than were saved")
        if record is not None:
            again = store.save(picture, segments, record, "once more")
            store.undo(again)


FAMILY = Family("stores", 0.06, attempt)
