"""The log: one line an event, nobody's key or picture in it, tracebacks of defects."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from core.errors import UserError
from dashboard.log import now_serving, shortened, timed, told, written
from dashboard.network import Guard, Names
from dashboard.page import Page
from tests.dashboard.conftest import photo, run_apart

KEY = "0123456789abcdef0123456789abcdef"


def test_json_is_one_object_a_line_with_the_traceback_in_it(capsys):
    with written("json"):
        told("model loaded", visitor="ab12", model="a\nb", megabytes=1.5)
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger("satchel").exception("the report failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {"level": "info", "event": "model loaded", "visitor": "ab12", "model": "a\nb", "megabytes": 1.5}
    assert (second["level"], second["event"]) == ("error", "the report failed")
    assert "ZeroDivisionError" in second["traceback"]


def test_no_value_makes_a_line_of_its_own_in_text(capsys):
    with written("text"):
        told("upload refused", visitor="", failed=True, why="no\nspace", path="/a", status=413)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('warning upload refused why="no\\nspace" path=/a status=413')


def test_at_a_desk_only_defects_are_shown(capsys):
    with written(None):
        told("page started")
        told("picture refused", failed=True)
        logging.getLogger("satchel").error("broken")
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines()] == ["broken"]
    told("page ended")
    assert capsys.readouterr().err == ""


def test_visitors_are_told_apart_without_their_keys(small_page: Page, caplog, tmp_path: Path):
    photo().save(tmp_path / "somebody.png")
    with caplog.at_level(logging.INFO, "satchel"):
        small_page.sessions.get(KEY)
        small_page.pictures.read(tmp_path / "somebody.png")
        (tmp_path / "nobody.png").write_bytes(b"no picture")
        with pytest.raises(UserError):
            small_page.pictures.read(tmp_path / "nobody.png")
    taken, refused = caplog.records
    assert (taken.getMessage(), refused.getMessage()) == ("picture taken", "picture refused")
    assert taken.visitor == refused.visitor == shortened(KEY)
    assert taken.visitor not in KEY
    told_of = str([vars(record) for record in caplog.records])
    assert not any(name in told_of for name in ("somebody", "nobody", KEY))
    assert shortened("") == ""
    now_serving("")


def test_what_is_timed_is_told_with_its_end(caplog):
    with caplog.at_level(logging.INFO, "satchel"), timed("model", "loaded", model="m") as about:
        about["megabytes"] = 3
    (record,) = caplog.records
    assert record.about.pop("seconds") >= 0
    assert (record.getMessage(), record.about) == ("model loaded", {"model": "m", "megabytes": 3})


def test_refused_requests_are_told_of_with_a_path_of_bounded_length(caplog):
    async def send(message):
        pass

    scope = {
        "type": "http", "method": "GET", "path": "/" + "a" * 999, "headers": [(b"host", b"evil.example")],
        "query_string": b"", "http_version": "1.1",
    }  # fmt: skip
    run_apart(Guard(None, Names("127.0.0.1"))(scope, None, send))
    (record,) = caplog.records
    assert (record.getMessage(), record.about["status"], len(record.about["path"])) == ("request refused", 403, 200)
