"""Files that are written whole."""

from __future__ import annotations

import json

from core.runtime.folders import write_json


def test_file_names_that_are_not_unicode(tmp_path):
    value = {"picture": "b\udcff.png", "name": "\N{BIRD} é"}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value
