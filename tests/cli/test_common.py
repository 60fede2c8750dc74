"""What the commands share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.errors import UserError
from core.runtime.progress import Progress
from dashboard.cli.common import show_stages


def test_into_a_file_long_work_tells_a_line_a_minute(capsys):
    now = 0.0

    def work() -> Iterator[Progress]:
        nonlocal now
        for done in range(0, 4000, 80):  # 13 seconds each
            yield Progress("explaining", done, 4000)
            now += 13.0

    show_stages(work(), clock=lambda: now)
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == ["satchel: explaining 400 of 4,000", "satchel: explaining 800 of 4,000"]
    assert len(told) == 9


def test_quick_work_tells_nothing(capsys):
    show_stages(iter([Progress("explaining", 1, 2), Progress("explaining", 2, 2)]), clock=lambda: 59.0)
    assert capsys.readouterr().err == ""


def test_notes_follow_the_first_step_once_and_a_mistake_before_it_stays_alone(capsys):
    def refused() -> Iterator[Progress]:
        raise UserError("It has no masks.")
        yield

    with pytest.raises(UserError):
        show_stages(refused(), ["Three entries were left out."])
    assert capsys.readouterr().err == ""
    show_stages(iter([Progress("explaining", 0, 2), Progress("explaining", 2, 2)]), ["Three entries were left out."])
    assert capsys.readouterr().err == "satchel: Three entries were left out.\n"
