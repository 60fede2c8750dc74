"""A name's colour is its own."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.segments import Mask, Segment, Segments
from core.segments.colours import COUNT, coloured
from core.segments.saved.store import Store

NAMES = ("beak", "body", "eye", "ground", "head", "legs", "perch", "sky", "tail", "watermark", "wing")
MASK = Mask.from_dense(np.eye(4, dtype=bool))


def segments(*names: str) -> Segments:
    return Segments((4, 4), tuple(Segment(MASK, name, naming="typed") for name in names))


def test_as_many_names_as_there_are_colours_have_all_of_them_and_more_share_evenly() -> None:
    names = [f"name {number}" for number in range(3 * COUNT)]
    assert sorted(coloured(names[:COUNT]).values()) == list(range(COUNT))
    counts = np.bincount(list(coloured(names).values()), minlength=COUNT)
    assert counts.tolist() == [3] * COUNT


def test_what_is_known_keeps_its_colour_whatever_comes_goes_or_is_put_in_another_order() -> None:
    known = coloured(NAMES)
    assert coloured(["new", *reversed(NAMES), "newer"], known).items() >= known.items()
    fewer = {name: known[name] for name in NAMES[4:]}
    assert coloured(NAMES[4:], fewer) == fewer
    # names that do not meet have the colour of their letters, in any order
    apart = [name for name in NAMES if list(coloured([name]).values()) == [known[name]]][:3]
    for order in permutations(apart):
        assert coloured(order) == {name: known[name] for name in order}


def test_a_store_keeps_the_colours_of_its_names(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = store.save("p", segments("wing", "beak"), None, "named")
    colours = store.colours
    assert set(colours) == {"wing", "beak"}
    store.save("p", segments("eye", "tail", *NAMES, "beak"), first, "named")
    assert store.colours.items() >= colours.items()
    now = store.colours
    learned = Store(tmp_path / "store").learn_colours(["seen only", "beak"])  # in a file, of the data set itself
    assert learned.items() >= now.items()
    assert store.colours == learned
    assert "seen only" not in store.kinds
    before = store.folder.glob("names/*")
    assert store.learn_colours(["beak"]) == learned
    assert sorted(before) == sorted(store.folder.glob("names/*"))  # nothing new, nothing written


def test_a_store_from_before_colours_has_some_and_a_damaged_file_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.save("p", segments("wing", "beak"), None, "named")
    for file in store.folder.glob("names/*.json"):
        about = json.loads(file.read_text())
        about.pop("colours", None)
        file.write_text(json.dumps(about))
    assert store.colours == coloured(["wing", "beak"])
    for file in store.folder.glob("names/*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"colours": {"wing": COUNT}}))
    with pytest.raises(UserError, match="no numbers of colours"):
        Store(tmp_path / "store")
