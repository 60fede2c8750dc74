"""Files that are written whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.runtime.folders import begin, write_table
from core.runtime.whole_files import write_json, writing
from core.segments import Segments
from core.segments.files import WRITERS
from core.storage.pack import packing


def test_file_names_that_are_not_unicode(tmp_path):
    value = {"picture": "b\udcff.png", "name": "\N{BIRD} é"}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


def packed(path: Path) -> None:
    with packing(path) as pack:
        for number in range(9):
            pack.add(f"{number}.bin", bytes([number]) * 9999)


WRITE: dict[str, Callable[[Path], object]] = {
    "a.json": lambda path: write_json(path, ["x" * 99] * 99),
    "a.parquet": lambda path: write_table(path, [{"x": str(number) * 9} for number in range(999)]),
    "a.zip": packed,
}


@pytest.mark.parametrize("name", WRITE)
def test_a_full_disk_is_told_and_what_was_there_stays(name, tmp_path, full_disk):
    path = tmp_path / "new" / name
    WRITE[name](path)
    before = path.read_bytes()
    full_disk(100)
    with pytest.raises(UserError, match=rf"{name} cannot be written .*nothing that was there is lost.*free some room"):
        WRITE[name](path)
    full_disk(-1)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == {name: before}


@pytest.mark.parametrize("form", WRITERS)
def test_no_form_of_segments_ends_in_a_traceback_on_a_full_disk(form, tmp_path, full_disk):
    noise = np.random.default_rng(0).random((1, 60, 60)) < 0.5
    segments = Segments.from_masks(noise, ("a",), ("unset",))
    full_disk(10)
    with pytest.raises(UserError, match="free some room"):
        WRITERS[form](tmp_path / "out", [("1.png", segments)])


def test_a_place_that_may_not_be_written_to(closed, tmp_path):
    closed.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot be written .Permission denied.; change its permissions"):
        write_json(closed / "new" / "a.json", 1)
    with pytest.raises(UserError, match=r"Permission denied"):
        begin(closed / "report", {}, lambda path: None)
    with pytest.raises(UserError, match="disk failed"), writing(tmp_path):
        raise OSError("disk failed")
