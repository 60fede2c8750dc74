"""What several tests of the Report tab ask of a report and of its HTML."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

from dashboard.report.finished import Finished

HOSTILE = "<img src=x onerror=alert(1)>\"'${alert(2)}{{x}}"


def with_cells(finished: Finished, **changes) -> Finished:
    """The same report with every cell changed."""
    cells = {key: replace(cell, **changes) for key, cell in finished.cells.items()}
    return Finished(finished.report, cells)


def explainer(finished: Finished) -> str:
    return next(iter(finished.explainers))


class Parsed(HTMLParser):
    """Tags that stand in a text, so that a name that became a tag is found."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def having(self, attribute: str) -> list[str]:
        return [found[attribute] for _, found in self.tags if attribute in found]
