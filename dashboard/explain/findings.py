"""The sentence above the maps: what the model says, and what the evidence is densest on."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dashboard.pictures import View
from dashboard.plots import Row, percent, probability
from dashboard.words import wrong_mark

LEAST_SHARE = 0.05  # a speck may be dense by chance
NOTEWORTHY = 1.5  # times its size


def densest(rows: Sequence[Row]) -> Row | None:
    """The segment with the most evidence for its size; None where every one has about what its size gives."""
    worth = [row for row in rows if row.median >= LEAST_SHARE and row.density >= NOTEWORTHY]
    return max(worth, key=lambda row: row.density, default=None)


def finding_html(view: View, target: int, contrast: int | None, rows: Sequence[Row], found: Row | None) -> str:
    """One sentence in front, its numbers behind it.

    Args:
        target, contrast: the class explained, and the one it is explained against.
        rows: the evidence, most first. found: `densest(rows)`.
    """
    likeliest = view.predictions[0]
    says = f"The model says <b>{escape(likeliest.label)}</b> ({probability(likeliest.probability)})"
    if view.instead is not None:
        says += f", {wrong_mark(view.instead)}"
    if contrast is not None:
        says += (
            f"; explained is why <b>{escape(view.labels[target])}</b> and not <b>{escape(view.labels[contrast])}</b>"
        )
    elif target != likeliest.index:
        says += f"; explained is <b>{escape(view.labels[target])}</b>"
    if not rows:
        return _sentence(f"{says}.", "Press Explain to see what it looks at.")
    so_far = "so far, " if any(mark.partial for row in rows for mark in row.marks) else ""
    if found is None:
        what = "segment" if view.segments.named else "part of the picture"
        return _sentence(f"{says}; {so_far}no {what} draws much more evidence than its size.", "")
    shares = sorted(mark.share for mark in found.marks)
    spread = f" ({percent(shares[0])} to {percent(shares[-1])} by explainer)" if len(shares) > 1 else ""
    whole = "what the model sees" if view.boxed else "the picture"
    numbers = f"{percent(found.median)} of it{spread} lies on {percent(found.coverage)} of {whole}"
    if not view.segments.named:  # a region's number tells nobody anything
        return _sentence(f"{says}; {so_far}evidence is densest in the outlined part.", f"{numbers}.")
    return _sentence(
        f"{says}; {so_far}for its size, <b>the {escape(found.name)}</b> draws the most evidence.", f"{numbers}."
    )


def _sentence(front: str, behind: str) -> str:
    return f'<p class="finding" data-testid="finding"><span>{front}</span> <span class="why">{behind}</span></p>'
