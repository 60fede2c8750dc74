"""The reports that a visitor can choose, and the one among them that is about their model and their data."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from core.errors import UserError
from dashboard.page import Page
from dashboard.project.data_sets import is_demo
from dashboard.report.finished import Finished, shipped_reports
from dashboard.report.make_panel import choices_of
from dashboard.sessions import Session


def shipped() -> dict[str, Path]:
    """The reports that come along; none where their folder cannot be found."""
    with suppress(UserError):
        return shipped_reports()
    return {}


def at_hand(page: Page, session: Session) -> list[tuple[str, str]]:
    """(title, folder): the one given on the command line, those made on the page, those that come along."""
    first = [] if page.report is None else [(page.report.name or str(page.report), str(page.report))]
    along = [(name, str(path)) for name, path in shipped().items()]
    every = [*first, *choices_of(page, session), *along]
    return list({path: (title, path) for title, path in reversed(every)}.values())[::-1]


def about(page: Page, session: Session) -> tuple[str, Finished] | None:
    """(title, report) of the first one that is about the visitor's very model and their data; None where none is.

    Raises:
        UserError: the model cannot be had.
    """
    fingerprint = page.classifiers.get(session.spec).classifier.fingerprint
    titles = {path: title for title, path in at_hand(page, session)}
    for path, found in page.reports.of_model(titles, fingerprint):
        if _same(str(found.report.made_from["data"]), session.data):
            return titles[path], found
    return None


def _same(one: str, other: str) -> bool:
    """Whether two sources name one data set."""
    if one == other or is_demo(one) or is_demo(other) or not one:
        return one == other
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
