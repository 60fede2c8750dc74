"""`satchel export REPORT --html FILE --png FILE`."""

from __future__ import annotations

import pytest
from PIL import Image


@pytest.mark.slow
def test_the_command_writes_it(satchel, tmp_path, toy_report):
    done = satchel("export", toy_report.path, "--html", tmp_path / "report.html", "--png", tmp_path / "report.png")
    assert done.code == 0
    assert Image.open(tmp_path / "report.png").format == "PNG"
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert satchel("export", tmp_path, "--html", tmp_path / "two.html").code == 2
    assert satchel("export", toy_report.path, "--png", tmp_path).code == 2
