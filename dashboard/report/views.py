"""What a report says in words and counts: the answer, the facts behind it, one cell, and what it cannot see."""

from __future__ import annotations

from collections import Counter
from html import escape

from core.sat.redundancy import is_redundant_shortcut
from core.sat.verdicts import VERDICTS
from dashboard.plots import percent
from dashboard.report.finished import Cell, Finished, accuracy_interval, interval_of
from dashboard.report.words import KIND_WORDS, headline, interval, strongest_shortcut, verdict_mark
from dashboard.segment_colours import chip
from dashboard.subject import short
from dashboard.words import number, plural, signed

TRUST = (
    "Rank correlation, within each picture, between what a map gives to the segments and what removing them does; "
    "mean with its 95 % interval"
)
CARRIED = {
    "necessity": "Strong effects when it is removed, strongest first",
    "sufficiency": "Strong effects when it is pasted from, strongest first",
}
FOLDED = 200  # lines of a fold
TELLING = ("confirmed", "speaks against", "suspected")


def answer_html(finished: Finished) -> str:
    """The answer first: one sentence, what stands behind it, and the count of verdicts."""
    sentence, evidence = headline(finished)
    cell = strongest_shortcut(finished)
    mark = verdict_mark("confirmed", True, "Shortcut confirmed") if cell else ""
    link = (
        f'<button class="link" data-cell="{escape(cell.id)}">All pictures and tests of this finding</button>'
        if cell
        else ""
    )
    return (
        f'<div class="answer" data-testid="answer">{mark}<h2>{escape(sentence)}</h2><p>{escape(evidence)}</p>{link}'
        f"{redundant_html(finished)}{counts_html(finished)}{noticed_html(finished)}</div>"
    )


def redundant_html(finished: Finished) -> str:
    """What may be missed and is enough all the same, a sentence each; nothing where there is none."""
    lines = "".join(
        f"<li>{verdict_mark('confirmed', is_redundant_shortcut(entry))}"
        f"<div>{escape(signed(entry['sentence']))}</div></li>"
        for entry in finished.manifest["redundant"]
    )
    return f'<ul class="told" data-testid="redundant">{lines}</ul>' if lines else ""


def noticed_html(finished: Finished) -> str:
    """Folded under the answer: what was noticed about the model, the masks and the pictures; nothing if nothing was."""
    noticed = finished.manifest.get("noticed") or []
    if not noticed:
        return ""
    fold = _fold("What may matter for every number here", noticed, f"Noticed on the way in ({len(noticed):,})")
    return f'<div class="noticed" data-testid="noticed">{fold}</div>'


def counts_html(finished: Finished) -> str:
    """ "1 shortcut confirmed, 2 suspected, 61 cleared, 8 too few", each with its shape; pressed, it is what the table
    shows."""
    cells = list(finished.cells.values())
    shortcuts = sum(cell.shortcut for cell in cells)
    found = Counter(cell.verdict for cell in cells)
    count = {verdict: found[verdict] for verdict in VERDICTS}
    others = count["confirmed"] - shortcuts
    none = '<span class="verdict">no shortcut confirmed</span>'
    parts = [_counted("confirmed", f"{plural(shortcuts, 'shortcut')} confirmed", True) if shortcuts else none]
    if others:
        parts.append(_counted("confirmed", f"{others:,} confirmed, not context"))
    parts += [_counted(v, f"{n:,} {v}") for v, n in count.items() if v != "confirmed" and n]
    return f'<p class="counts" data-testid="counts">{"".join(parts)}</p>'


def _counted(verdict: str, words: str, shortcut: bool = False) -> str:
    mark = verdict_mark(verdict, shortcut, words)
    return f'<button type="button" class="count" data-verdict="{escape(verdict)}">{mark}</button>'


def facts_html(finished: Finished) -> str:
    """What was looked at, and how."""
    m = finished.manifest
    accuracy = accuracy_interval(finished)
    right = "no labels" if accuracy is None else "{:.2f} [{:.2f}, {:.2f}]".format(*accuracy)
    masks = m.get("without_masks", 0)
    unmasked = f", {masks:,} without masks" if masks else ""
    facts = [
        ("Data", escape(m["data"]), ""),
        ("Model", escape(short(m["model"])), f"{m['model']}  {m.get('fingerprint', '')}"),
        ("Pictures", f"{m['pictures']:,}{unmasked}", ""),
        ("Accuracy", right, "on the pictures that have a label, with the 95 % interval"),
        ("Explainers", escape(", ".join(finished.explainers.values())), ""),
        ("Agree with the tests", escape(_trust(finished)), TRUST),
        ("Smallest effect that matters", f"{m['delta']:.2g} log-odds", "delta"),
        ("Removed under", escape(", ".join(m["fills"])) if m["checked"] else "not tested", "what stands there instead"),
    ]
    lines = "".join(f'<div title="{escape(tip)}"><dt>{name}</dt><dd>{value}</dd></div>' for name, value, tip in facts)
    said = "".join(f'<p class="note">{escape(str(warning))}</p>' for warning in m.get("warnings", ()))
    return f'<dl class="facts">{lines}</dl>{said}'


def _trust(finished: Finished) -> str:
    """ "Grad-CAM 0.62 [0.58, 0.66], ..."."""
    told = []
    for entry in finished.manifest["trust"]:
        if entry["correlation"] is not None:
            size = interval_of(entry["correlation"], entry["pictures"])
            told.append(f"{finished.explainers[entry['explainer']]} {interval(size, 2)}")
    return ", ".join(told) or "not known"


def cell_html(finished: Finished, cell: Cell) -> str:
    """One cell in words."""
    q = "" if cell.q is None else "q < 0.001" if cell.q < 0.001 else f"q = {cell.q:.2g}"
    parts = [
        plural(cell.pictures, "picture"),
        f"in {percent(cell.presence)} of those taken for {cell.label}",
        f"covers {percent(cell.coverage)} of them",
        f"pasting rests on {plural(cell.pairs, 'independent unit')}" if cell.pairs else "never pasted elsewhere",
        q and f"{q} over all pairs",
    ]
    facts = "".join(f"<span>{escape(part)}</span>" for part in parts if part)
    word = f"{cell.verdict}, a shortcut" if cell.shortcut else cell.verdict
    carried = "".join(
        f'<p class="figures" data-testid="carriers">{CARRIED[test]}: {escape(", ".join(images))}</p>'
        for test, images in cell.carriers.items()
    )
    number = finished.repairs.get((cell.label, cell.segment), 0)
    repair = f"satchel repair {finished.report.path.name} --finding {number}"
    cure = f'<p class="figures" data-testid="repair">To repair it: <code>{escape(repair)}</code></p>' if number else ""
    return (
        f'<div class="cell" data-testid="cell">{verdict_mark(cell.verdict, cell.shortcut, word)}'
        f"<h2>{chip(finished.colours, cell.segment)}{escape(cell.segment)} "
        f'<em title="{KIND_WORDS[cell.kind]}">{KIND_WORDS[cell.kind]}</em> '
        f"for {escape(cell.label)}</h2><p>{escape(cell.sentence)}</p><p class='figures'>{facts}</p>"
        f"{carried}{cure}</div>"
    )


def notes_html(finished: Finished) -> str:
    """Folded: what the report cannot see, where explainers disagree, and what could not be read."""
    m = finished.manifest
    seconds, made = m.get("seconds"), str(m.get("created", ""))[:10]
    took = f" in {number(seconds / 60, 0)} minutes" if isinstance(seconds, (int, float)) and seconds >= 90 else ""
    parts = [_fold("What this report cannot see", m["blind_spots"], f"Blind spots ({len(m['blind_spots'])})")]
    if m["notes"]:
        parts.append(_fold("Where explainers disagree", m["notes"], f"Explainers disagree ({len(m['notes'])})"))
    if m["problem_count"]:
        lines = [f"{problem['image']}: {problem['problem']}" for problem in m["problems"]]
        if m["problem_count"] > len(lines):
            lines.append(f"and {m['problem_count'] - len(lines):,} more")
        parts.append(_fold("Left out", lines, f"Pictures that could not be read ({m['problem_count']:,})"))
    origin = f"Made {escape(made)}{took} on {escape(str(m.get('device', '')))}, seed {escape(str(m.get('seed', '')))}."
    return f'<div data-testid="notes">{"".join(parts)}<p class="note">{origin}</p></div>'


def _fold(tip: str, lines: list[str], summary: str) -> str:
    items = "".join(f"<li>{escape(str(line))}</li>" for line in lines[:FOLDED])
    if left := max(0, len(lines) - FOLDED):
        items += f"<li>{left:,} more stand in manifest.json.</li>"
    return f'<details class="fold" title="{tip}"><summary>{summary}</summary><ul>{items}</ul></details>'


def state_html(text: str, kind: str = "empty") -> str:
    """A panel without a report: "empty", "busy" or "problem"."""
    role = ' role="alert"' if kind == "problem" else ""
    return f'<div class="state {kind}" data-testid="state"{role}><p>{escape(text)}</p></div>'
