"""Where a visitor of the Report tab is, and what its controls say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dashboard.report.table import Filters, Sort


@dataclass(frozen=True)
class Place:
    """Where a visitor is: which report, which cell, how the table is sorted, and which reports were opened.

    Attributes:
        seen: what stands behind a cell was in view; nothing of it is sent before.
        first, usual_cell: the report that the page opens with, and the cell that this one does.
    """

    path: str = ""
    cell: str | None = None
    sort: Sort = field(default_factory=Sort)
    opened: tuple[str, ...] = ()
    seen: bool = False
    first: str = ""
    usual_cell: str | None = None


@dataclass(frozen=True)
class Settings:
    """What the controls say."""

    key: str
    dark: bool
    place: Place
    measure: Any
    explainer: str
    maps_of: str
    filters: Filters
