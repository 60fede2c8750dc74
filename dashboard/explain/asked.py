"""What an address says of the Explain tab: which explainers with what, and for which class against which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from core.beforehand import PREFIXES
from core.choice import Choice, default_choices
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import get_explainer
from core.parameters import named_options, separated

FIELDS = ("explainers", "target", "contrast", "seed")
NONE = "none"  # no explainer is chosen
MOST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Asked:
    """What is to be explained, and how.

    Attributes:
        choices: the explainers, each with its parameters; None for the usual ones.
        target, contrast: classes; None for the likeliest one and for none.
        named: something of it was named: it is not all as usual.
    """

    choices: tuple[Choice, ...] | None = None
    target: int | None = None
    contrast: int | None = None
    seed: int = 0

    @property
    def named(self) -> bool:
        return self != Asked()


def read(fields: Mapping[str, str], classifier: Classifier) -> tuple[Asked, list[str]]:
    """From the fields of an address.

    Returns:
        what can be followed of it, and a sentence for each part that cannot.
    """
    problems: list[str] = []
    choices = _choices(fields["explainers"], classifier, problems) if "explainers" in fields else None
    classes: dict[str, int] = {}
    for name in ("target", "contrast"):
        try:
            if name in fields:
                classes[name] = classifier.class_index(fields[name])
        except UserError as error:
            problems.append(str(error))
    if len(set(classes.values())) < len(classes):
        problems.append(f"{classifier.labels[classes.pop('contrast')]} cannot be explained against itself.")
    seed = fields.get("seed", "0")
    if not (seed.isascii() and seed.isdigit() and len(seed) <= 10 and int(seed) <= MOST_SEED):
        problems.append(f"The seed must be a whole number from 0 to {MOST_SEED}, got {seed[:40]!r}.")
        seed = "0"
    return Asked(choices, classes.get("target"), classes.get("contrast"), int(seed)), problems


def _choices(text: str, classifier: Classifier, problems: list[str]) -> tuple[Choice, ...] | None:
    """The good ones of a list, in their order; None where there is no good one in it."""
    found: dict[str, Choice] = {}
    for one in [] if text == NONE else separated([text]):
        try:
            choice = _choice(one)
            refused = choice.method.supports(classifier)
            if refused is not None:
                raise UserError(refused)
            if choice.explainer in found:
                raise UserError(f"{choice.explainer} is named twice; the page shows each explainer once.")
        except UserError as error:
            problems.append(str(error))
        else:
            found[choice.explainer] = choice
    return tuple(found.values()) if found or text == NONE else None


def _choice(text: str) -> Choice:
    """As `Choice.parse` reads it, but without files: whoever sends a link must not have some opened."""
    name, given = named_options(text, PREFIXES)
    name, at, _ = name.partition("@")
    get_explainer(name)
    if at or {"weights", "references"} & set(given):
        raise UserError(f"A link names no files; give {name} without them.")
    return Choice.parse(text)


def choice_of(name: str, options: Mapping[str, Any]) -> Choice:
    """An explainer as the controls have it; its defaults where they hold what it does not take."""
    with suppress(UserError):
        return Choice(name, get_explainer(name).parameters.parse(options))
    return Choice(name)


def written(
    choices: Sequence[Choice], classifier: Classifier, target: int | None, contrast: int | None, seed: float
) -> dict[str, str]:
    """The fields that `read` takes; nothing that is as usual.

    Args:
        choices: in the order of the page. target: None for the likeliest class.
    """
    usual = [choice.explainer for choice in default_choices(classifier)]
    texts = [choice.text for choice in choices]
    fields = {"explainers": ",".join(texts) or NONE} if texts != usual else {}
    for name, index in (("target", target), ("contrast", contrast)):
        if index is not None:
            fields[name] = class_name(classifier, index)
    return fields | ({"seed": f"{seed:.0f}"} if 0 < seed <= MOST_SEED and seed == int(seed) else {})


def class_name(classifier: Classifier, index: int) -> str:
    """Its label, or its number where the label means more than one."""
    with suppress(UserError):
        if classifier.class_index(classifier.labels[index]) == index:
            return classifier.labels[index]
    return str(index)
