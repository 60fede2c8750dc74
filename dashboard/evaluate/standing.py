"""A finished or running evaluation as the page and the command line read it, and its answer in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from core.choice import full_title, short_titles
from core.evaluation.leaderboard import FEW, independent, surely_behind, too_few
from core.evaluation.saved_evaluation import Evaluation
from dashboard.subject import short
from dashboard.words import number, plural

ARROWS = {True: "↑", False: "↓"}
DIRECTIONS = {True: "higher is better", False: "lower is better"}
Entry = dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """How things stand.

    Attributes:
        evaluation: what is known.
        planned: pictures that were asked for, while it still runs; None when it is finished or was stopped.
    """

    evaluation: Evaluation
    planned: int | None = None

    @property
    def manifest(self) -> dict[str, Any]:
        return self.evaluation.manifest

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.manifest["metrics"]

    @property
    def pictures(self) -> int:
        return self.manifest["pictures"]

    @cached_property
    def few(self) -> bool:
        """Too few independent pictures to compare anything: numbers only."""
        return self.pictures < FEW or too_few(self.evaluation.leaderboard)

    @cached_property
    def counted(self) -> str:
        """How many independent pictures there are, in words."""
        units = min(self.pictures, max(map(independent, self.evaluation.leaderboard), default=0))
        return plural(units, "picture") if units == self.pictures else plural(units, "independent picture")

    @cached_property
    def entries(self) -> dict[tuple[str, str], Entry]:
        """By (metric, explainer), both labels; each metric's best first."""
        return {(entry["metric"], entry["explainer"]): entry for entry in self.evaluation.leaderboard}

    @cached_property
    def names(self) -> dict[str, str]:
        """Label -> registered name."""
        return {explainer["label"]: explainer["name"] for explainer in self.manifest["explainers"]}

    @cached_property
    def titles(self) -> dict[str, str]:
        """Label -> how it is shown: the title, with the parameters that were named."""
        return {explainer["label"]: full_title(explainer) for explainer in self.manifest["explainers"]}

    @cached_property
    def short_titles(self) -> dict[str, str]:
        """The same for a sentence: without parameters where the title alone tells them apart."""
        return short_titles(self.manifest["explainers"])

    @cached_property
    def judge(self) -> dict[str, Any] | None:
        """The first faithfulness metric: what the answer goes by."""
        return next((metric for metric in self.metrics if metric["family"] == "faithfulness"), None)

    @cached_property
    def ranked(self) -> list[str]:
        """Explainers, best first by the judge (else by the first metric), controls after all others."""
        by = (self.judge or self.metrics[0])["label"]
        labels = [explainer for metric, explainer in self.entries if metric == by]
        return sorted(labels, key=lambda label: self.entries[by, label]["control"])

    def is_control(self, label: str) -> bool:
        return next(entry["control"] for (_, explainer), entry in self.entries.items() if explainer == label)

    def digits(self, metric: str) -> int:
        """Decimals for a metric's column: two, less where means are large, more where they are small."""
        means = [abs(e["mean"]) for (name, _), e in self.entries.items() if name == metric and e["mean"] is not None]
        top = max(means, default=0.0)
        size = 0 if top == 0 else math.floor(math.log10(top))
        return max(1 - size, 0) if size > 0 else min(max(1 - size, 2), 4)

    def interval(self, entry: Entry) -> tuple[str, str]:
        """("0.41", "[0.38, 0.44]"); a dash where the metric says nothing, no interval where there is none."""
        if entry["mean"] is None:
            return "–", ""
        digits = self.digits(entry["metric"])
        mean = number(entry["mean"], digits)
        if entry["low"] is None:
            return mean, ""
        return mean, f"[{number(entry['low'], digits)}, {number(entry['high'], digits)}]"


def headline(standing: Standing) -> tuple[str, str]:
    """(who is most faithful and whether that is more than chance, what stands behind it), plain text."""
    judge, scorer = standing.judge, standing.manifest["scorer"]
    if judge is None:
        return "No metric of faithfulness was asked for, so none of them leads.", _pictures(standing)
    board = [standing.entries[judge["label"], label] for label in standing.ranked]
    leader = next((entry for entry in board if entry["best"]), None)
    if leader is None:
        return f"{judge['title']} says nothing about any of these maps.", _pictures(standing)
    others = [entry for entry in board if entry is not leader and entry["mean"] is not None]
    by = "the model itself" if scorer == standing.manifest["model"] else scorer
    mean, interval = standing.interval(leader)
    counted = plural(leader["pictures"], "picture")
    seen = f"mean over {counted} with its 95 % interval" if interval else f"on {counted}"
    evidence = (
        f"{judge['title']} {mean}{' ' + interval if interval else ''}, {DIRECTIONS[judge['higher_is_better']]}; "
        f"{seen}, scored by {by}."
    )
    return _answer(standing, leader, others), evidence


def _answer(standing: Standing, leader: Entry, others: Sequence[Entry]) -> str:
    title = standing.short_titles[leader["explainer"]]
    model = short(standing.manifest["model"])
    if standing.few:
        return f"{standing.counted} cannot tell which explainer of {model} to trust: these are numbers only."
    close = [entry for entry in others if not surely_behind(entry)]
    names = [standing.short_titles[entry["explainer"]] for entry in close]
    controls = [standing.short_titles[entry["explainer"]] for entry in close if entry["control"]]
    if controls:
        return (
            f"No explainer of {model} is surely more faithful here than {listed(controls)}, which never "
            f"{'looks' if len(controls) == 1 else 'look'} at the model."
        )
    if names:
        return (
            f"{title} comes out ahead for {model} on these pictures, but its lead over {listed(names)} may be chance."
        )
    if all(entry["control"] for entry in others):
        return f"{title} is more faithful to {model} than every control; no other explainer was compared."
    return f"{title} is the most faithful explainer of {model} on these pictures, and its lead is more than chance."


def _pictures(standing: Standing) -> str:
    return f"{plural(standing.pictures, 'picture')}, model {short(standing.manifest['model'])}."


def caveat(standing: Standing) -> str | None:
    """What must be known before the intervals are believed."""
    if not standing.few:
        return None
    return (
        f"Only {standing.counted}: with fewer than {FEW} intervals mean little, and nothing is said of who is better, "
        "nor of the controls."
    )


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
