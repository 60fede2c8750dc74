"""Numbers, verdicts and the headline of a report in words. Every string that comes from data is escaped here."""

from __future__ import annotations

import math
from html import escape

from core.sat.redundancy import is_redundant_shortcut
from core.sat.sentences import in_words
from core.sat.statistics import Interval
from dashboard.report.finished import Cell, Finished
from dashboard.subject import short
from dashboard.words import number, plural, signed

# One shape a verdict, so that no colour is needed to tell them apart; 12 x 12.
SHAPES = {
    "confirmed": '<path d="M6 .8 11.2 6 6 11.2 .8 6Z"/>',
    "speaks against": '<path d="M6 10.8 .8 1.2h10.4Z"/>',
    "suspected": '<path d="M6 1.2 11.2 10.8H.8Z"/>',
    "inconclusive": '<circle class="hollow" cx="6" cy="6" r="4.2"/>',
    "cleared": '<path class="hollow" d="M1.5 6.5 4.8 9.6 10.5 2.6"/>',
    "too few": '<path class="hollow" d="M1.5 6H10.5"/>',
}
MEANINGS = {
    "confirmed": "tested: the model relies on it",
    "speaks against": "tested: it takes from the class where it is",
    "suspected": "it draws attention or has an effect that may be chance",
    "inconclusive": "nothing can be said yet",
    "cleared": "tested both ways: every effect is below what matters",
    "too few": "fewer than 20 independent pictures",
}
KIND_WORDS = {"context": "context", "object": "part of the object", "unset": "nobody has said what it is"}


def interval(value: Interval | None, digits: int = 1) -> str:
    """ "3.1 [2.7, 3.5]", or a dash where there was no test."""
    if value is None or math.isnan(value.estimate):
        return "–"
    if math.isnan(value.low):
        return number(value.estimate, digits)
    return f"{number(value.estimate, digits)} [{number(value.low, digits)}, {number(value.high, digits)}]"


def verdict_class(verdict: str, shortcut: bool = False) -> str:
    """CSS class of a verdict; reliance on context has its own colour."""
    return "v-" + ("shortcut" if shortcut else verdict.replace(" ", "-"))


def verdict_mark(verdict: str, shortcut: bool = False, word: str | None = None) -> str:
    """Shape, and the word beside it."""
    shape = f'<svg viewBox="0 0 12 12" aria-hidden="true">{SHAPES[verdict]}</svg>'
    words = f"<span>{escape(word)}</span>" if word else ""
    return f'<span class="verdict {verdict_class(verdict, shortcut)}" title="{MEANINGS[verdict]}">{shape}{words}</span>'


def strongest_shortcut(finished: Finished) -> Cell | None:
    """The first of the report's own order; None where none is confirmed."""
    return next((cell for cell in finished.cells.values() if cell.shortcut), None)


def headline(finished: Finished) -> tuple[str, str]:
    """(the answer in one sentence, what stands behind it), plain text.

    The sentence names the model, and tells of the strongest confirmed shortcut, or that there is none and why.
    """
    cell, model = strongest_shortcut(finished), short(finished.manifest["model"])
    if cell is not None:
        return f"{model} leans on the {cell.segment} to say {cell.label}.", _evidence(cell)
    hidden = next(filter(is_redundant_shortcut, finished.manifest["redundant"]), None)
    if hidden is not None:
        members = " or ".join(hidden["members"])
        return f"{model} needs only {members} to say {hidden['target']}.", "No single one of them need be there."
    count = {verdict: sum(c.verdict == verdict for c in finished.cells.values()) for verdict in MEANINGS}
    total = len(finished.cells)
    if not finished.manifest["checked"]:
        return (
            f"Nothing was tested in this report on {model}.",
            "It was made with --no-check: maps can raise a suspicion, but only tests confirm or clear.",
        )
    if not total:
        return _without_segments(finished)
    if count["too few"] == total:
        return _over_all_answers(finished)
    others = _others(finished)
    words = {
        "cleared": "cleared by tests", "confirmed": others, "speaks against": "that speak against the class",
        "suspected": "suspected",
        "inconclusive": "undecided", "too few": "with too few pictures",
    }  # fmt: skip
    parts = ", ".join(f"{count[verdict]:,} {word}" for verdict, word in words.items() if count[verdict])
    return f"No shortcut of {model} is confirmed.", f"{plural(total, 'pair')} of class and segment: {parts}."


def _over_all_answers(finished: Finished) -> tuple[str, str]:
    """Where no class has pictures enough, as with many classes: what holds for all of them together."""
    model = short(finished.manifest["model"])
    entries = [entry for entry in finished.manifest.get("pooled") or () if not entry["column"]]
    needed = "A verdict on a class needs 20 pictures that show a segment and are taken for it."
    for verdict, says in (
        ("confirmed", "relies on"),
        ("speaks against", "is put off by"),
        ("suspected", "may rely on"),
    ):
        first = next((entry for entry in entries if entry["verdict"] == verdict), None)
        if first is not None:
            return (
                f"Over all its answers, {model} {says} the {first['segment']}.",
                f"{signed(first['sentence'])} {needed}",
            )
    return f"There are too few pictures to say anything of {model}.", needed


def _without_segments(finished: Finished) -> tuple[str, str]:
    model = short(finished.manifest["model"])
    told = "No picture has named segments; cut and name some for verdicts on them."
    first = next((one for one in finished.manifest["whole"] if one["verdict"] == "confirmed"), None)
    if first is None:
        return f"Nothing is confirmed of {model}, on whole pictures only.", told
    return f"{model} leans on the {first['property']} of pictures to say {first['target']}.", told


def _others(finished: Finished) -> str:
    """What is confirmed and no shortcut."""
    kinds = {c.kind for c in finished.cells.values() if c.verdict == "confirmed"}
    if kinds <= {"object"}:
        return "rely on the object itself"
    return (
        "confirmed on what nobody has called object or context" if kinds == {"unset"} else "confirmed outside context"
    )


def _evidence(cell: Cell) -> str:
    facts = []
    if cell.sufficiency is not None:
        what = f"Giving other pictures its {cell.segment}" if cell.swapped else "Pasting it on other pictures"
        facts.append(f"{what} {_moves(cell.sufficiency, 'adds', 'takes')} the log-odds of {cell.label}")
    if cell.necessity is not None:
        what = "swapping it for another class's" if cell.swapped else "removing it"
        whose = "them" if facts else f"the log-odds of {cell.label}"
        # the fills may disagree: each is quoted
        fills = {"": cell.necessity} if cell.swapped else {f" ({fill})": size for fill, size in cell.fills.items()}
        changes = [f"{_moves(size, 'takes', 'adds')} {whose}{fill}" for fill, size in fills.items()]
        facts.append(f"{what} {', '.join(changes)}")
    told = "; ".join(facts)
    return f"{told[:1].upper()}{told[1:]}." if told else cell.sentence


def _moves(value: Interval, up: str, down: str) -> str:
    verb, size, link = in_words(value, up, down)
    return f"{verb} {interval(size)} {link}"
