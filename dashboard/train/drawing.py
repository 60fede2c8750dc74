"""What is being trained and what came of it, in quiet HTML: the answer, progress, notes, results cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core.classifier import Classifier
from core.explainers.learned.files import About
from core.training.card import JUDGED
from dashboard.controls import problem
from dashboard.evaluate.standing import ARROWS
from dashboard.subject import short
from dashboard.train.live import FAILED, FINISHED, JUDGING, READING, STOPPED, LiveTraining
from dashboard.words import duration, number, plural

SCORES = (("insertion", True, "probability of the class while the strongest parts come in"),
          ("deletion", False, "probability of the class while the strongest parts go away"))  # fmt: skip
WHAT = (
    "Salvage trains a network beside the model: shown a picture, it tells in one pass what each part adds to each "
    "class, and its own prediction is exactly the sum of that."
)
FEW, POOR = 20, 0.8  # pictures; agreement below which an explainer is no stand-in
WORTH = {
    "accuracy": ("accuracy", "part of the held-out pictures that are named right"),
    "calibration_error": ("calibration error", "how far confidence is from accuracy, on average; 0 is best"),
}


def answer_html(classifier: Classifier, found: Mapping[str, About], live: LiveTraining | None) -> str:
    """What there is for this model, and what that is worth."""
    name = escape(short(classifier.name))
    mine = live is not None and live.asked.loaded.classifier.fingerprint == classifier.fingerprint
    if live is not None and live.running and not mine:
        other = escape(short(live.asked.loaded.classifier.name))
        return _answer(f"An explainer of {other} is being trained.", "One is trained at a time; it is shown below.")
    if live is not None and live.running:
        return _answer(f"Training an explainer of {name}.", "It goes on when this page is closed.")
    if not found:
        return _answer(f"No explainer is trained for {name} yet.", WHAT)
    there = "It is among the explainers on the Explain tab: Learned, Salvage."
    judged = next((about.card for about in found.values() if about.card.get("faithfulness")), None)
    if judged is None:
        return _answer(f"An explainer is trained for {name}.", there)
    return _answer(escape(verdict(judged)), f"{escape(caution(judged))} {there}")


def _answer(sentence: str, behind: str) -> str:
    return f'<div class="answer" data-testid="train-answer"><h2>{sentence}</h2><p>{behind}</p></div>'


def verdict(card: Mapping[str, Any]) -> str:
    """The card in one sentence: insertion beside the game with the most passes, scored by the model itself."""
    scores = card["faithfulness"]
    own = scores["salvage"]
    games = [one for name, one in scores.items() if name not in ("salvage", "random")]
    said = f"With {_passes(own)}, Salvage scores {_insertion(own)} in insertion"
    if games:
        most = max(games, key=lambda one: one["passes"])
        said += f"; KernelSHAP takes {_passes(most)} for {_insertion(most)}"
    return f"{said}."


def _passes(scores: Mapping[str, Any]) -> str:
    return plural(round(scores["passes"]), "pass", "passes")


def _insertion(scores: Mapping[str, Any]) -> str:
    return number(scores["insertion"]["classifier"], 2)


def caution(card: Mapping[str, Any]) -> str:
    """What to compare with, and to beware of: few pictures, or an explainer that says something else than the model."""
    agreement = (card.get("classifier") or {}).get("agreement")
    held, said = card.get("held_out_pictures", FEW), []
    if random := card["faithfulness"].get("random"):
        said.append(f"Maps drawn at random score {_insertion(random)}.")
    if held < FEW:
        said.append(f"Judged on {plural(held, 'picture')} only, so these figures are rough.")
    if agreement is not None and agreement < POOR:
        said.append(f"It names the same class as the model on {agreement:.0%} of them: train it longer.")
    return " ".join(said)


def status_html(live: LiveTraining) -> str:
    """One line beside the buttons."""
    seen, told = live.seen, live.seen.training
    if live.stopping:
        return '<span class="busy">Stopping</span>'
    if seen.phase == FAILED:
        return problem(seen.problem)
    if seen.phase == STOPPED:
        at = "" if told is None else f" at step {told.step:,} of {told.steps:,}"
        return f"Stopped{at}; Train goes on from there."
    if seen.phase == FINISHED:
        return "" if told is None else f"Finished in {duration(told.seconds)}"
    if seen.phase == JUDGING:
        return f'<span class="busy">Measuring {escape(seen.doing)}</span>'
    if seen.phase == READING:
        count = f", {seen.done:,} of {seen.total:,}" if seen.total else ""
        return f'<span class="busy">Reading pictures{count}</span>'
    assert told is not None
    left = "" if told.left is None else f", {duration(told.left)} left"
    return f'<span class="busy">{escape(told.stage)}, step {told.step:,} of {told.steps:,}{left}</span>'


def progress_html(live: LiveTraining) -> str:
    """What is trained, and a bar that has its stages."""
    told, asked = live.seen.training, live.asked
    if told is None:
        return ""
    what = f"{short(asked.loaded.classifier.name)}, {asked.options.players}"
    part = told.step / told.steps if told.steps else 0.0
    stages = " &rsaquo; ".join(
        f"<b>{escape(stage)}</b>" if stage == told.stage else escape(stage) for stage in told.stages
    )
    return (
        f'<div class="progress" data-testid="train-progress"><p><span>{escape(what)}</span><span>{stages}</span>'
        f"<span>{part:.0%}</span></p>"
        f'<i class="track" role="progressbar" aria-valuenow="{part * 100:.0f}" aria-label="steps done">'
        f'<i class="length" style="width:{part * 100:.1f}%"></i></i></div>'
    )


def notes_html(notes: Sequence[str]) -> str:
    """What was noticed."""
    return "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def cards_html(found: Mapping[str, About]) -> str:
    """A results card for each explainer that is there."""
    return "".join(_card(players, about) for players, about in found.items())


def _card(players: str, about: About) -> str:
    card, options = about.card, about.settings.get("training", {})
    facts = [f"grid {options['grid']}" if players == "patches" and "grid" in options else ""]
    if "pictures" in card:
        facts += [
            f"learned from {plural(card['pictures'], 'picture')}",
            f"{duration(60 * card['minutes'])} of training",
        ]
    if card.get("held_out_pictures"):
        held, some = card["held_out_pictures"], min(JUDGED, card["held_out_pictures"])
        facts.append(f"judged on {held:,} others" + (f", faithfulness on {some}" if some < held else ""))
    told = "".join(f"<span>{escape(fact)}</span>" for fact in facts if fact)
    tables = _faithfulness(card.get("faithfulness")) + _worth(card)
    none = '<p class="note">It was not measured; train it to the end here, or without --no-card.</p>'
    return (
        f'<section class="trained" data-testid="card-{escape(players)}"><h3>Salvage on {escape(players)}</h3>'
        f'<p class="figures">{told}</p><div class="tables">{tables or none}</div></section>'
    )


def _faithfulness(scores: Mapping[str, Any] | None) -> str:
    """Explainers by metric and by the model that scored the masked pictures."""
    if not scores:
        return ""
    scorers = list(next(iter(scores.values()))["insertion"])
    top = "".join(
        f'<th scope="colgroup" colspan="{len(scorers)}" title="{said}">{metric} {ARROWS[up]}</th>'
        for metric, up, said in SCORES
    )
    below = "".join(f'<th scope="col">by the {escape(scorer)}</th>' for _ in SCORES for scorer in scorers)
    best = {
        (metric, scorer): (max if up else min)(one[metric][scorer] for one in scores.values())
        for metric, up, _ in SCORES
        for scorer in scorers
    }
    rows = ""
    for name, one in scores.items():
        cells = ""
        for metric, _, _ in SCORES:
            for scorer in scorers:
                value = one[metric][scorer]
                strong = ' class="best"' if value == best[metric, scorer] else ""
                cells += f"<td{strong}>{number(value, 3)}</td>"
        rows += f'<tr><th scope="row">{escape(_title(name))}</th>{cells}<td>{one["passes"]:,.0f}</td></tr>'
    return (
        '<div class="scroll" tabindex="-1"><table class="card"><thead>'
        f'<tr><th rowspan="2" scope="col">faithfulness</th>{top}<th rowspan="2" scope="col" '
        f'title="of the model, for one map">passes</th></tr><tr>{below}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _title(name: str) -> str:
    """From "kernel-shap, 64 passes"."""
    head, comma, rest = name.partition(",")
    known = {"salvage": "Salvage", "kernel-shap": "KernelSHAP", "random": "Random"}
    return known.get(head, head) + (f" {rest.strip().removesuffix(' passes')}" if comma else "")


def _worth(card: Mapping[str, Any]) -> str:
    """As a classifier, and what it predicts of masked pictures."""
    own, subsets = card.get("classifier"), card.get("subsets")
    rows = ""
    for name, (title, said) in WORTH.items() if own else ():
        if own and own.get(name) is not None:
            rows += _pair(title, said, number(own[f"own_{name}"], 3), number(own[name], 3))
    if own:
        rows += _pair("agreement", "part of the pictures on which both say the same", number(own["agreement"], 3), "")
    if subsets:
        rows += _pair(
            "KL, masked pictures",
            "divergence from what the model that taught it says of masked pictures",
            number(subsets["kl"], 3),
            "",
        )
        rows += _pair(
            "Brier, masked pictures", "squared error of the same probabilities", number(subsets["brier"], 3), ""
        )
    if not rows:
        return ""
    return (
        '<table class="card"><thead><tr><th scope="col">as a classifier</th><th scope="col">Salvage</th>'
        f'<th scope="col">the model</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _pair(title: str, said: str, mine: str, other: str) -> str:
    return f'<tr><th scope="row" title="{escape(said)}">{escape(title)}</th><td>{mine}</td><td>{other}</td></tr>'
