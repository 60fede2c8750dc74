"""What is being trained and what came of it, in quiet HTML: the answer, progress, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core.classifier import Classifier
from core.explainers.learned.files import About
from dashboard.controls import problem
from dashboard.subject import short
from dashboard.train.cards import TITLES
from dashboard.train.live import FAILED, FINISHED, JUDGING, READING, STOPPED, LiveTraining
from dashboard.words import duration, number, plural

WHAT = (
    "Salvage trains a network beside the model: shown a picture, it tells in one pass what each part adds to each "
    "class, and its own prediction is exactly the sum of that."
)
FEW, POOR = 20, 0.8  # pictures; agreement below which an explainer is no stand-in


def answer_html(classifier: Classifier, found: Sequence[About], live: LiveTraining | None) -> str:
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
    names = " and ".join(dict.fromkeys(TITLES[about.explainer] for about in found))
    there = f"On the Explain tab it is among the explainers: Learned, {names}."
    judged = next((about for about in found if about.card.get("faithfulness")), None)
    if judged is None:
        return _answer(f"An explainer is trained for {name}.", there)
    return _answer(escape(verdict(judged)), f"{escape(caution(judged))} {there}")


def _answer(sentence: str, behind: str) -> str:
    return f'<div class="answer" data-testid="train-answer"><h2>{sentence}</h2><p>{behind}</p></div>'


def verdict(about: About) -> str:
    """The card in one sentence, by figures of the model itself."""
    if about.explainer == "masking":
        masks = about.card["masks"]
        own = masks["classifier"]
        return (
            f"Masks of {masks['area']:.0%} of the picture keep the model's answer on {own['kept']:.0%} of the "
            f"pictures; what they leave out keeps it on {own['lost']:.0%}."
        )
    scores = about.card["faithfulness"]
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


def caution(about: About) -> str:
    """What to compare with, and to beware of: few pictures, or an explainer that says something else than the model."""
    card = about.card
    agreement = (card.get("classifier") or {}).get("agreement")
    held, said = card.get("held_out_pictures", FEW), []
    if random := card["faithfulness"].get("random"):
        said.append(f"Maps drawn at random score {_insertion(random)}.")
    if held < FEW:
        said.append(f"Judged on {plural(held, 'picture')} only, so these figures are rough.")
    if agreement is not None and agreement < POOR:
        said.append(f"It names the same class as the model on {agreement:.0%} of them: train it longer.")
    if "copy" in (card.get("masks") or {}):
        said.append("It explains the copy that learned along, not the model itself.")
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
    what = f"{short(asked.loaded.classifier.name)}, {getattr(asked.options, 'players', 'masks')}"
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
