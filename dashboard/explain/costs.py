"""How long maps will take, from the passes that were measured: what is quick is made without being asked for."""

from __future__ import annotations

from collections.abc import Iterable

from core.attribution import Attribution
from core.choice import Choice
from core.runtime.recent import Recent
from dashboard.runs import ResultKey

QUICK = 20.0  # seconds for all maps together: nobody presses a button to wait less
KEPT = 256
BACK = 2.0  # what a pass back costs more than a forward one
GUESS = 100  # passes of an explainer that was never measured and does not say


class Costs:
    """What maps cost so far, for all visitors together."""

    def __init__(self) -> None:
        self._seconds: Recent[tuple[str, Choice], float] = Recent(KEPT)
        self._passes: Recent[str, tuple[float, float]] = Recent(KEPT)  # by explainer: passes, and what one of them cost
        self._one: Recent[str, float] = Recent(KEPT)  # by model: its quickest single pass
        self._counted: Recent[str, bool] = Recent(KEPT)

    def learn(self, key: ResultKey, made: Attribution | None, one_pass: float) -> None:
        """A map was made; one that is not finished teaches nothing.

        Args:
            one_pass: measured seconds of one picture through the model, alone; in chunks passes cost less.
        """
        if made is None or made.partial:
            return
        self._seconds.put((key.fingerprint, key.choice), made.seconds)
        passes = made.forward_passes + BACK * made.backward_passes
        alone = passes * self._alone(key.fingerprint, one_pass)
        if alone > 0:
            self._passes.put(key.choice.explainer, (passes, made.seconds / alone))

    def knows(self, fingerprint: str) -> bool:
        """Whether a pass of this model was measured twice or more: the first one is slow."""
        return self._counted.get(fingerprint) is not None

    def measured(self, fingerprint: str, seconds: float) -> None:
        """One picture went through the model, and not for the first time."""
        self._counted.put(fingerprint, True)
        self._alone(fingerprint, seconds)

    def seconds(self, keys: Iterable[ResultKey], one_pass: float) -> float:
        """For all of these maps together; `one_pass` as above."""
        return sum(self._of(key, one_pass) for key in keys)

    def _of(self, key: ResultKey, one_pass: float) -> float:
        known = self._seconds.get((key.fingerprint, key.choice))
        if known is not None:
            return known
        passes, part = self._passes.get(key.choice.explainer) or (GUESS, 1.0)
        stated = getattr(key.choice.parameters, "samples", None) or getattr(key.choice.parameters, "steps", None)
        if stated:
            passes = (1 + BACK) * stated
        return passes * part * self._alone(key.fingerprint, one_pass)

    def _alone(self, fingerprint: str, one_pass: float) -> float:
        return self._one.put(fingerprint, min(one_pass, self._one.get(fingerprint) or one_pass))


def about(seconds: float) -> str:
    """ "about 12 s": no more figures than an estimate has."""
    if seconds < 1:
        return "under 1 s"
    return f"about {round(seconds)} s" if seconds < 90 else f"about {round(seconds / 60)} min"
