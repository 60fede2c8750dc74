"""What a report measured on the pictures of the Explain tab: how much its strongest finding's segment does on each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from html import escape

from core.errors import UserError
from core.sat.sentences import in_words
from core.sat.statistics import Interval
from dashboard.page import Page
from dashboard.pictures import Source
from dashboard.report.at_hand import about
from dashboard.report.finished import Cell, Finished, counted_effects
from dashboard.report.words import strongest_shortcut
from dashboard.sessions import Session
from dashboard.words import number

FOUND = ("confirmed", "suspected")
DONE = {
    ("necessity", False): ("removed", "takes", "adds"), ("sufficiency", False): ("pasted", "adds", "takes"),
    ("necessity", True): ("swapped", "takes", "adds"), ("sufficiency", True): ("given", "adds", "takes"),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """The strongest finding of a report about the visitor's model and data.

    Attributes:
        title: of the report.
    """

    title: str
    finished: Finished
    cell: Cell

    @property
    def name(self) -> str:
        """ "watermark for kingfisher"."""
        return f"{self.cell.segment} for {self.cell.label}"

    @cached_property
    def effects(self) -> Mapping[str, tuple[str, float]]:
        """(test, effect in log-odds beyond its placebo) by the picture's name: the larger one where both tests were
        made, each the mean over its fills or donors.

        Raises:
            UserError: the report is damaged.
        """
        records = counted_effects(self.finished, self.cell)
        found: dict[str, tuple[str, float]] = {}
        if records.empty:
            return found
        alone = records[records["test"].isin([test for test, _ in DONE])]
        means = alone.dropna(subset=["effect"]).groupby(["image", "test"])["effect"].mean()
        for (image, test), effect in means.items():
            if image not in found or effect > found[image][1]:
                found[image] = (str(test), float(effect))
        return found

    def on(self, source: Source) -> tuple[str, float] | None:
        """What was measured on a picture of the page, as in `effects`."""
        return None if source.upload else self.effects.get(source.name)

    def told(self, source: Source) -> str:
        """The same as HTML; "" where nothing was."""
        measured = self.on(source)
        if measured is None:
            return ""
        test, effect = measured
        done, up, down = DONE[test, self.cell.swapped]
        verb, size, link = in_words(Interval(effect, effect, effect, 1), up, down)
        about = f"{link} the log-odds of {self.cell.label}, beyond its placebo"
        return (
            f'<span class="measured" title="{escape(about)}">{escape(self.cell.segment)} {done}: {verb} '
            f"{number(size.estimate)}</span>"
        )

    def said(self, sources: Collection[Source]) -> str:
        """Which finding pictures are sorted by."""
        measured = sum(self.on(source) is not None for source in sources)
        return (
            f"First those on which the {self.cell.segment} does most for {self.cell.label}, by the report "
            f"{self.title}, which measured it on {measured} of them."
        )


def finding(page: Page, session: Session) -> Finding | None:
    """The strongest one of a report about the visitor's model and data: the strongest shortcut, else what is confirmed
    or suspected first; None where there is no such report, it finds nothing, or it measured that on other pictures than
    those that stand on the page.
    """
    with suppress(UserError):  # the header, or the Report tab, says what is wrong
        reported = about(page, session)
        if reported is not None:
            title, finished = reported
            cells = finished.cells.values()
            cell = strongest_shortcut(finished) or next((c for v in FOUND for c in cells if c.verdict == v), None)
            found = None if cell is None else Finding(title, finished, cell)
            if found is not None and names_of(page.sources(session).values()) & set(found.effects):
                return found
    return None


def names_of(sources: Iterable[Source]) -> set[str]:
    """What a report calls those of them that are the data set's."""
    return {source.name for source in sources if not source.upload}
