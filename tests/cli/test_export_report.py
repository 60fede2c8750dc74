"""`satchel export REPORT --html FILE`."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_the_command_writes_it(satchel, tmp_path, toy_report):
    done = satchel("export", toy_report.path, "--html", tmp_path / "report.html")
    assert done.code == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert satchel("export", tmp_path, "--html", tmp_path / "two.html").code == 2
    assert satchel("export", toy_report.path, "--html", tmp_path).code == 2
