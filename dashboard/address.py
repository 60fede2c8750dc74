"""The page's address: it says what is in view, so that a link, Back and Forward bring it again."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from core.errors import UserError
from dashboard.project.choosing import move_to

if TYPE_CHECKING:
    from dashboard.page import Page
    from dashboard.sessions import Session

FIELDS = ("model", "data", "picture", "report", "cell")
LONGEST = 2000  # characters of an address


def follow(page: Page, session: Session, search: str) -> list[str]:
    """Bring into view what an address names; what it does not name stays as it is.

    Args:
        search: what stands after the question mark.

    Returns:
        One sentence for each part that cannot be followed.
    """
    asked = {name: value for name, value in parse_qsl(search.lstrip("?")[:LONGEST]) if name in FIELDS}
    problems = []
    try:
        if asked.get("model", session.spec) != session.spec:
            page.classifiers.get(asked["model"])
            session.spec = session.wanted = asked["model"]
    except UserError as error:
        problems.append(str(error))
    try:
        if asked.get("data", session.data) != session.data:
            move_to(page, session, asked["data"])
    except UserError as error:
        problems.append(str(error))
    if asked.get("picture") in page.sources(session):
        session.current = asked["picture"]
    if "report" in asked:
        session.link = (asked["report"], asked.get("cell", ""))
    return problems


def written(session: Session, report: str, cell: str | None) -> str:
    """What is in view, for the address: a hidden mark that the browser's part reads.

    Args:
        report: by its name, or its folder; cell: of it.
    """
    named = {"model": session.spec, "data": session.data, "picture": session.current, "report": report, "cell": cell}
    told = urlencode({name: value for name, value in named.items() if value})
    return f'<i data-address="{escape(told)}"></i>'
