"""Two reports side by side: what the second says otherwise."""

from __future__ import annotations

from html import escape

from core.sat.comparison import compare
from core.sat.saved_report import Report
from dashboard.report.words import verdict_mark
from dashboard.subject import short
from dashboard.words import signed

IN_SIGHT = 8  # differences; the others are folded away


def difference_html(first: Report, second: Report) -> str:
    """The differences that matter, then other verdicts.

    Raises:
        UserError: they have nothing in common, or a table is damaged.
    """
    found = compare(first, second)
    names = [f"{short(report.manifest['model'])} ({report.path.name})" for report in (first, second)]
    others = [entry for entry in found.entries if not entry["changed"] and len(set(entry["verdicts"])) > 1]
    lines = [_line(entry) for entry in found.changed]
    rest = [*lines[IN_SIGHT:], *(_line(entry) for entry in others)]
    summary = " ".join(found.summary())
    more = f"<ul class='told'>{''.join(rest)}</ul>"
    folded = f"<details class='fold'><summary>All others ({len(rest):,})</summary>{more}</details>"
    return (
        f'<div data-testid="difference"><h2>From {escape(names[0])} to {escape(names[1])}</h2>'
        f'<p class="note">{escape(signed(summary))}</p>'
        f'<ul class="told">{"".join(lines[:IN_SIGHT])}</ul>{folded if rest else ""}</div>'
    )


def _line(entry: dict) -> str:
    """Marked by what it is now."""
    verdict = next(filter(None, reversed(entry["verdicts"])))
    return f"<li>{verdict_mark(verdict)}<div>{escape(signed(entry['sentence']))}</div></li>"
