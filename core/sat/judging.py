"""From tests to entries, of whatever is judged beside pairs of a class and a segment: segments over all answers, whole
pictures, what nobody named."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from core.sat.evidence import Evidence, combined_p
from core.sat.sentences import Lack, in_clause
from core.sat.statistics import benjamini_hochberg
from core.sat.verdicts import SIDES, VERDICTS, lacking, verdict_of, without_nan

Key = TypeVar("Key", bound=Hashable)
OPEN = ("suspected", "inconclusive")


def judged(
    tests: Mapping[Key, Evidence],
    groups: Mapping[Key, int],
    delta: float,
    lacks_of: Callable[[Key, Evidence], Sequence[Lack]] | None = None,
) -> dict[Key, dict[str, Any]]:
    """By key: verdict, p, q, lacking (clauses), for JSON. All of them are one family of hypotheses.

    Args:
        groups: independent pictures behind each.
        lacks_of: what stands between it and "cleared"; None for what does so for segments.
    """
    p = {(key, side): combined_p(test, side) for key, test in tests.items() for side in SIDES}
    q = dict(zip(p, benjamini_hochberg(list(p.values()))))
    found = {}
    for key, test in tests.items():
        above, below = (q[key, side] for side in SIDES)
        lacks = lacks_of(key, test) if lacks_of else lacking(test, delta)
        verdict = verdict_of(
            groups=groups[key], above=above, below=below, tests=test, flagged=False, lacks=lacks, delta=delta
        )
        against = verdict == "speaks against"
        found[key] = {
            "verdict": verdict,
            "p": p[key, "below" if against else "above"],
            "q": below if against else above,
            "lacking": [in_clause(lack) for lack in lacks] if verdict in OPEN else [],
        }
    return found


def strongest_first(
    entries: Iterable[dict[str, Any]],
    sizes: Callable[[dict[str, Any]], Iterable[Sequence[float | None] | None]],
    before: Callable[[dict[str, Any]], tuple] = lambda entry: (),
) -> list[dict[str, Any]]:
    """Entries as JSON holds them, by verdict and then by their largest effect either way.

    Args:
        sizes: the effects of an entry, each with its estimate first; None where there is none.
        before: what they are put in order by in the first place.
    """
    place = {verdict: i for i, verdict in enumerate(VERDICTS)}

    def strength(entry: dict[str, Any]) -> float:
        return max((abs(size[0]) for size in sizes(entry) if size and size[0] is not None), default=0.0)

    return sorted(map(without_nan, entries), key=lambda e: (*before(e), place[e["verdict"]], -strength(e)))
