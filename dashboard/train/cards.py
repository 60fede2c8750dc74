"""Results cards of trained explainers, in quiet HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core.explainers.learned.files import About
from core.training.card import JUDGED
from dashboard.evaluate.standing import ARROWS
from dashboard.words import duration, number, plural

TITLES = {"salvage": "Salvage", "masking": "Masking"}
SCORES = (("insertion", True, "probability of the class while the strongest parts come in"),
          ("deletion", False, "probability of the class while the strongest parts go away"))  # fmt: skip
WORTH = {
    "accuracy": ("accuracy", "part of the held-out pictures that are named right"),
    "calibration_error": ("calibration error", "how far confidence is from accuracy, on average; 0 is best"),
}


def cards_html(found: Sequence[About]) -> str:
    """A results card for each explainer that is there."""
    return "".join(_card(about) for about in found)


def _card(about: About) -> str:
    card, options, players = about.card, about.settings.get("training", {}), about.players
    facts = [f"grid {options['grid']}" if players == "patches" and "grid" in options else ""]
    if about.explainer == "masking":
        facts = [f"regime {options.get('regime')}", f"objective {options.get('objective')}"]
    if "pictures" in card:
        facts += [
            f"learned from {plural(card['pictures'], 'picture')}",
            f"{duration(60 * card['minutes'])} of training",
        ]
    if card.get("held_out_pictures"):
        held, some = card["held_out_pictures"], min(JUDGED, card["held_out_pictures"])
        facts.append(f"judged on {held:,} others" + (f", faithfulness on {some}" if some < held else ""))
    told = "".join(f"<span>{escape(fact)}</span>" for fact in facts if fact)
    tables = _faithfulness(card.get("faithfulness")) + _worth(card) + _masks(card) + _boxes(card)
    on = "" if players == "mask" else f" on {escape(players)}"
    none = '<p class="note">It was not measured; train it to the end here, or without --no-card.</p>'
    return (
        f'<section class="trained" data-testid="card-{escape(players)}"><h3>{TITLES[about.explainer]}{on}</h3>'
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
    known = {**TITLES, "grad-cam": "Grad-CAM", "kernel-shap": "KernelSHAP", "random": "Random"}
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


def _masks(card: Mapping[str, Any]) -> str:
    """What is left of the model's answer where masks keep and where they take away."""
    masks = card.get("masks")
    if not masks:
        return ""
    judges = [name for name in ("classifier", "copy") if name in masks]
    head = "".join(f'<th scope="col">{"the model" if name == "classifier" else "the copy"}</th>' for name in judges)
    rows = ""
    for which, title, said in (
        ("kept", "answer kept inside &uarr;", "part of the pictures, masked in, that keep the model's answer"),
        ("lost", "answer left outside &darr;", "part of the pictures, masked out, that keep it"),
    ):
        cells = "".join(f"<td>{number(masks[name][which], 3)}</td>" for name in judges)
        rows += f'<tr><th scope="row" title="{said}">{title}</th>{cells}</tr>'
    area = f'<td colspan="{len(judges)}">{masks["area"]:.0%}</td>'
    rows += f'<tr><th scope="row" title="mean of the masks">area</th>{area}</tr>'
    return f'<table class="card"><thead><tr><th scope="col">masks</th>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _boxes(card: Mapping[str, Any]) -> str:
    """How well they find the object, beside answers that need no model."""
    if not card.get("boxes"):
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(_title(name))}</th><td>{number(one["localisation-error"], 3)}</td>'
        f"<td>{number(one['box-f1'], 3)}</td></tr>"
        for name, one in card["boxes"].items()
    )
    return (
        '<table class="card"><thead><tr><th scope="col">the object</th>'
        '<th scope="col" title="part of the pictures whose object a box around the map misses">'
        "localisation error &darr;</th>"
        f'<th scope="col" title="of the map as a mask against the object\'s box">F1 &uarr;</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
