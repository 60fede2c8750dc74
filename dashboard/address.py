"""The page's address: it says what is in view, so that a link, Back and Forward bring it again.

What an address does not name is what the page begins with, so that it stays short. Its parts are told in two places:
`written` by the Report tab, and what is explained by the Explain tab, as the one or the other changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from core.errors import UserError
from dashboard.explain import asked as explain
from dashboard.project.choosing import move_to

if TYPE_CHECKING:
    from dashboard.page import Page
    from dashboard.report.place import Place
    from dashboard.sessions import Session

FIELDS = ("model", "data", "picture", "report", "cell", *explain.FIELDS)
TAB = "tab"  # which the browser alone knows
LONGEST = 2000  # characters of an address
DIGITS = 12  # of a picture's digest
PLAIN = ":,=@/"  # that stand in an address as they are


def follow(page: Page, session: Session, search: str, again: bool = False) -> list[str]:
    """Bring into view what an address names, and else what the page begins with; an address that names nothing leaves
    all as it is.

    Args:
        search: what stands after the question mark.
        again: the page was loaded again as it was: what the session holds is newer than its address, except for the
            report, of which it holds nothing.

    Returns:
        One sentence for each part that cannot be followed.
    """
    every = {name: value for name, value in parse_qsl(search.lstrip("?")[:LONGEST]) if name in (*FIELDS, TAB)}
    problems: list[str] = []
    if "report" in every or "cell" in every:
        session.link = (every.get("report", ""), every.get("cell", ""))
    if not every or (again and session.entered):
        return problems
    try:
        wanted = every.get("model", page.classifiers.start)
        if wanted != session.spec:
            page.classifiers.get(wanted)
            session.spec = session.wanted = wanted
    except UserError as error:
        problems.append(str(error))
    try:
        wanted = every.get("data", page.data_sets.start)
        if wanted != session.data:
            move_to(page, session, wanted)
    except UserError as error:
        problems.append(str(error))
    problems += _bring_picture(page, session, every.get("picture"))
    try:
        classifier = page.classifiers.get(session.spec).classifier
        session.followed, more = explain.read(every, classifier)
        problems += more
    except UserError:  # the header says so
        pass
    return problems


def _bring_picture(page: Page, session: Session, digest: str | None) -> list[str]:
    """The picture whose digest begins so; without any the first one that the visitor did not bring."""
    if digest is None:
        session.current = next(iter(page.examples_of(session)), None) if session.uploads else None
        return []
    found = [picture for picture in page.sources(session) if len(digest) >= DIGITS and picture.startswith(digest)]
    if len(found) == 1:
        session.current = found[0]
        return []
    return ["Its picture is not here: it was somebody's own, or is one of other data; choose or drop one."]


def written(page: Page, session: Session, place: Place, shipped: Collection[Path]) -> str:
    """What is in view besides what is explained, for the address.

    Args:
        shipped: reports that come along, which have names, as those made on the page have.
    """
    folder, started = Path(place.path), session.spec == page.classifiers.start
    known = folder in shipped or folder.parent == page.reports_folder(session)
    named = {
        "model": "" if started else session.spec,
        "data": session.data if session.data != page.data_sets.start else "",
        "picture": _named_picture(page, session),
        "report": "" if started and place.path == place.first else folder.name if known else place.path,
        "cell": place.cell if place.cell != place.usual_cell else "",
    }
    return mark({name: value for name, value in named.items() if value})


def _named_picture(page: Page, session: Session) -> str:
    first = next(iter(page.examples_of(session)), None)
    return "" if session.current in (None, first) else str(session.current)[:DIGITS]


def mark(fields: Mapping[str, str]) -> str:
    """A part of the address: a hidden mark that the browser's part reads."""
    return f'<i data-address="{escape(urlencode(fields, safe=PLAIN))}"></i>'
