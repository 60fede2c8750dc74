"""A report as one HTML file: everything inside, no script, no server, no network; it prints."""

from __future__ import annotations

from html import escape

from dashboard.report.beyond import beyond_html
from dashboard.report.finished import Cell, Finished
from dashboard.report.grid import MEASURES, grid_html, heat_map
from dashboard.report.pictures import exhibits_html, pasted_html, pictures_html
from dashboard.report.table import Sort, table_html
from dashboard.report.unnamed import unnamed_html
from dashboard.report.views import TELLING, answer_html, cell_html, facts_html, notes_html
from dashboard.report.words import headline
from dashboard.theme import style_sheet

MOST = 20  # findings that are shown with their pictures

# what the page's own container does there, and what paper needs; what is clicked on the page is only read here
LOOK = """
* { box-sizing: border-box; }
body { margin: 0; padding: 24px clamp(10px, 4vw, 48px); background: var(--ground); color: var(--ink);
  font: 14px/1.5 "IBM Plex Sans", system-ui, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1200px; margin: 0 auto; }
.area { border-left: 0; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: inherit;
  pointer-events: none; }
.link, th i:not(.chip) { display: none; }
.scroll { max-height: none !important; overflow-x: auto; }
#report .sheet .area { overflow-x: auto; }
table { border-collapse: collapse; }
.finding { break-inside: avoid; }
@media print {
  .scroll, #report .sheet .area { overflow: visible; }
  body { padding: 0; background: none; }
  .sheet { border: 0; }
  details > * { display: block; }
}
"""


def document(finished: Finished) -> str:
    """The whole file."""
    lead = next(iter(finished.explainers))
    measure = MEASURES[0][1] if finished.manifest["checked"] else MEASURES[2][1]
    cells = list(finished.cells.values())
    told = sorted((c for c in cells if c.verdict in TELLING), key=lambda c: not c.shortcut)
    more = f'<p class="note">{len(told) - MOST:,} more stand in the table.</p>' if len(told) > MOST else ""
    grid = grid_html(heat_map(finished, measure, lead), measure, lead, None)
    parts = [
        answer_html(finished) + exhibits_html(finished),
        facts_html(finished),
        beyond_html(finished),
        unnamed_html(finished),
        f"<h2>Classes and segments</h2>{grid}",
        f"<h2>Findings, strongest first</h2>{table_html(finished, cells, Sort(), lead, None, False)}",
        *(_finding(finished, cell, lead) for cell in told[:MOST]),
        more + notes_html(finished),
    ]
    title, _ = headline(finished)
    body = "".join(f'<section class="sheet"><div class="area">{part}</div></section>' for part in parts if part)
    # everything comes from inside: whatever a name holds, nothing is fetched and nothing runs
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style_sheet()}{LOOK}</style></head>"
        f'<body><main id="report">{body}</main></body></html>'
    )


def _finding(finished: Finished, cell: Cell, explainer: str) -> str:
    pictures = pasted_html(finished, cell) + pictures_html(finished, cell, explainer)
    return f'<div class="finding">{cell_html(finished, cell)}</div>{pictures}'
