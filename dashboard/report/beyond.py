"""What a report says beyond one class and segment: over all answers, by column, of whole pictures, of stamps."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from core.sat.verdicts import LEAST_PICTURES, VERDICTS
from dashboard.report.finished import Finished
from dashboard.report.views import TELLING
from dashboard.report.words import verdict_mark
from dashboard.words import signed

IN_SIGHT = 6  # sentences of a kind; the others are folded away
FOLDED, ALIKE = 200, 100  # lines there, and sentences of one, at most; what is beyond stands in manifest.json


def beyond_html(finished: Finished) -> str:
    """All of it."""
    return f"{pooled_html(finished)}{stamps_html(finished)}{whole_html(finished)}"


def pooled_html(finished: Finished) -> str:
    """Over all answers, and by the values of columns; nothing where there is one class only, and no column."""
    entries = finished.manifest.get("pooled") or []
    if len(finished.manifest["targets"]) < 2:
        entries = [entry for entry in entries if entry["column"]]
    parts = []
    for (column, value), some in groupby(entries, key=lambda entry: (entry["column"], entry["value"])):
        several = list(some)
        title = f"Where {column} is {value}" if column else "Over all answers"
        lines = [_line(entry) for entry in several]
        told = sum(entry["verdict"] in TELLING for entry in several)
        nothing = "" if told else '<p class="note">No segment has an effect.</p>'
        parts.append(f"<h2>{escape(title)}</h2>{nothing}{_folded(lines, told, _counts(several))}")
    return f'<div data-testid="pooled">{"".join(parts)}</div>' if parts else ""


def stamps_html(finished: Finished) -> str:
    """What each stamp does; nothing if none was tried."""
    entries = finished.manifest.get("stamps") or []
    lines = "".join(f"<li><div>{escape(signed(entry['sentence']))}</div></li>" for entry in entries)
    return f'<div data-testid="stamps"><h2>Stamps</h2><ul class="told">{lines}</ul></div>' if entries else ""


def whole_html(finished: Finished) -> str:
    """What was found of whole pictures, the strongest first."""
    entries = finished.manifest["whole"]
    if not entries:
        why = "not tested" if not finished.manifest["checked"] else f"no class has {LEAST_PICTURES} pictures"
        return f'<h2>The whole picture</h2><p class="note" data-testid="whole">Nothing is said of it: {why}.</p>'
    told = _alike([entry for entry in entries if entry["verdict"] in TELLING])
    rest = _alike([entry for entry in entries if entry["verdict"] not in TELLING])
    lead = "" if told else '<p class="note">No property of whole pictures has an effect.</p>'
    lines = [_line(*several) for several in (*told, *rest)]
    return (
        f'<div data-testid="whole"><h2>The whole picture</h2>'
        f'<p class="note">Colour, light, sharpness, place, size, orientation, compression, border, and what is not '
        "there.</p>"
        f"{lead}{_folded(lines, len(told), _counts(entries))}</div>"
    )


def _folded(lines: Sequence[str], told: int, counts: str) -> str:
    """The first few of those that tell something in sight, all others folded away."""
    sight = min(IN_SIGHT, told)
    more = "".join(lines[sight : sight + FOLDED])
    if left := max(0, len(lines) - sight - FOLDED):
        more += f"<li><div>{left:,} more stand in manifest.json.</div></li>"
    rest = (
        f"<details class='fold'><summary>All the rest ({counts} in all)</summary><ul class='told'>{more}</ul></details>"
    )
    return f'<ul class="told">{"".join(lines[:sight])}</ul>{rest if more else ""}'


def _counts(entries: Sequence[dict]) -> str:
    count = {verdict: sum(entry["verdict"] == verdict for entry in entries) for verdict in VERDICTS}
    return ", ".join(f"{n:,} {verdict}" for verdict, n in count.items() if n)


def _alike(entries: list[dict]) -> list[list[dict]]:
    """One group a property and verdict, each strongest first, as the first of each come."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for entry in entries:
        groups.setdefault((entry["verdict"], entry["property"]), []).append(entry)
    return list(groups.values())


def _line(first: dict, *others: dict) -> str:
    sentences = "".join(f"<li>{escape(signed(entry['sentence']))}</li>" for entry in others[:ALIKE])
    names = ", ".join(entry["target"] for entry in others[:ALIKE])
    if left := max(0, len(others) - ALIKE):
        names += f" and {left:,} more"
        sentences += f"<li>{left:,} more stand in manifest.json.</li>"
    more = f"<details><summary>The same for {escape(names)}</summary><ul>{sentences}</ul></details>" if others else ""
    return f"<li>{verdict_mark(first['verdict'])}<div>{escape(signed(first['sentence']))}{more}</div></li>"
