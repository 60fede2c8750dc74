"""The reports that visitors of a page wait for: how many each may have there, and what the log says of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from core.errors import UserError
from dashboard.log import served, told
from dashboard.report.making import FAILED, LiveReport, Maker
from dashboard.runs import FairLock

REPORTS_EACH = 2  # of one visitor on a shared page, with the one in hand


class Waiting(Maker):
    """A `Maker` for several people."""

    def __init__(self, lock: FairLock, each: int | None = None) -> None:
        """
        Args:
            each: how many whose folders lie in the same folder (a visitor's own, on a shared page) may wait or be made
                at a time; None for any number.
        """
        super().__init__(lock)
        self._each, self._closed = each, False

    def add(self, live: LiveReport) -> LiveReport:
        """As of `Maker`.

        Raises:
            UserError: the visitor has enough of them here, too many wait, or the page is about to end.
        """
        with self._guard:
            if self._closed:
                raise UserError("This page is about to end; ask for the report again when it is back.")
            before = list(self._queue)
            others = [one for one in before if one.out.parent == live.out.parent and one.out != live.out]
            if self._each is not None and sum(not one.stopping for one in others) >= self._each:
                raise UserError(
                    f"You have {self._each} reports waiting or in the making here; ask for another one when one of "
                    "them is finished."
                )
            found = super().add(live)
        if found is live:
            follow = threading.Thread(target=_follow, args=(live, before, served()), name="satchel-told", daemon=True)
            follow.start()
        return found

    def counts(self) -> tuple[int, int]:
        """(how many wait, how many are made: 0 or 1)."""
        with self._guard:
            return max(0, len(self._queue) - 1), min(1, len(self._queue))

    def of(self, folder: Path) -> list[LiveReport]:
        """Those that wait or are made into a folder, a visitor's own on a shared page."""
        with self._guard:
            return [one for one in self._queue if one.out.parent == folder]

    def close(self) -> None:
        """Take no more, and end all after the step in hand; `stop` waits for that."""
        with self._guard:
            self._closed = True
        self.stop()


def _follow(live: LiveReport, before: Sequence[LiveReport], visitor: str) -> None:
    """Tell when it begins, which is after all before it, and when it ends."""
    told("report asked", visitor=visitor, pictures=live.asked.limit, ahead=len(before))
    for one in before:
        one.over.wait()
    began = monotonic()
    told("report begun", visitor=visitor)
    live.over.wait()
    seen = live.seen
    told(
        "report ended", visitor=visitor, failed=seen.phase == FAILED, phase=seen.phase, pictures=seen.pictures,
        seconds=round(monotonic() - began, 3), **({"why": seen.problem} if seen.problem else {}),
    )  # fmt: skip
