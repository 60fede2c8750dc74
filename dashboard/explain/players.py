"""What each named part is worth in a game, as bars; and which parts need each other, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from core.attribution import Attribution, PlayerValues
from dashboard.palette import look
from dashboard.plots import Z95
from dashboard.words import number, plural

SHOWN = 8
SAID = 3  # pairs told in words
LEAST = 0.1  # of the largest value: what is less is not worth a word
MUCH = 0.5  # of what two are worth: then they count only together, or either is enough
REST = "what no segment covers"


@dataclass(frozen=True)
class Pair:
    """Two players, the one worth more first, and what they are worth together beyond each alone."""

    first: str
    second: str
    together: float
    alone: tuple[float, float]

    @property
    def sentence(self) -> str:
        """What is positive binds two that speak for the target, and two that speak against it what is negative."""
        need = self.together * sum(self.alone) > 0
        much = abs(self.together) >= MUCH * sum(map(abs, self.alone))
        how = signed(self.together)
        if need:
            return (
                f"{self.second} counts {'only' if much else 'more'} with {self.first}: together {how} beyond each alone"
            )
        if much:
            return f"{self.first} or {self.second}: either is enough: {how}"
        return f"{self.first} and {self.second} say partly the same: {how}"


def signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value, 2)}"


def titles_of(players: PlayerValues) -> list[str]:
    """What to call each: "beak", a second one "beak 2"."""
    seen: Counter[str] = Counter()
    titles = []
    for name in players.names:
        title = name or REST
        seen[title] += 1
        titles.append(f"{title} {seen[title]}" if seen[title] > 1 else title)
    return titles


def pairs_of(players: PlayerValues) -> list[Pair]:
    """Those that were looked at, strongest first."""
    if players.interactions is None:
        return []
    titles, values = titles_of(players), players.values.tolist()
    found = []
    for i, row in enumerate(players.interactions.tolist()):
        for j, together in enumerate(row[:i]):
            if together == together:  # NaN was never looked at
                a, b = sorted((i, j), key=lambda n: -abs(values[n]))
                found.append(Pair(titles[a], titles[b], together, (values[a], values[b])))
    return sorted(found, key=lambda pair: -abs(pair.together))


def players_panel(attribution: Attribution | None) -> str:
    """HTML under a map; empty where no player has a name."""
    players = None if attribution is None else attribution.players
    if attribution is None or players is None or not any(players.names) or attribution.condition == "broken":
        return ""
    errors = (
        [0.0] * len(players.values) if players.standard_error is None else players.standard_error.nan_to_num().tolist()
    )
    rows = sorted(zip(titles_of(players), players.values.tolist(), errors), key=lambda row: -abs(row[1]))
    reach = [value + sign * Z95 * error for _, value, error in rows for sign in (-1, 1)]
    span = (min(0.0, *reach), max(0.0, *reach, 1e-9))
    bars = [_bar(*row, span, attribution.method) for row in rows]
    more = (
        f"<details><summary>{len(bars) - SHOWN} more</summary>{''.join(bars[SHOWN:])}</details>" if bars[SHOWN:] else ""
    )
    return (
        f'<div class="players" data-testid="players-{attribution.method}">'
        f"{''.join(bars[:SHOWN])}{more}{'' if attribution.partial else _together(players)}</div>"
    )


def _bar(name: str, value: float, error: float, span: tuple[float, float], method: str) -> str:
    low, high = span

    def place(at: float) -> float:
        return round((at - low) / (high - low) * 100, 2)

    zero, end = place(0), place(value)
    whisker, spread = "", ""
    if error:
        start, stop = place(value - Z95 * error), place(value + Z95 * error)
        whisker = f'<i class="whisker" style="left:{start}%;width:{round(stop - start, 2)}%"></i>'
        spread = f" ± {number(error, 2)}"
    side = "against" if value < 0 else "for"
    return (
        f'<div class="player x-{look(method)[0]}" title="{escape(name)}: {signed(value)}{spread}, {side} the class">'
        f'<span class="name">{escape(name)}</span><span class="number">{signed(value)}</span>'
        f'<span class="track"><i class="zero" style="left:{zero}%"></i>'
        f'<i class="worth {side}" style="left:{min(zero, end)}%;width:{round(abs(end - zero), 2)}%"></i>'
        f"{whisker}</span></div>"
    )


def _together(players: PlayerValues) -> str:
    """The strongest pairs in words, and a table of more of them."""
    pairs = pairs_of(players)
    if not pairs:
        return ""
    largest = float(players.values.abs().max())
    said = [pair for pair in pairs[:SAID] if abs(pair.together) >= LEAST * largest]
    words = "".join(f"<li>{escape(pair.sentence)}</li>" for pair in said)
    front = (
        f"<ul>{words}</ul>" if words else '<p class="note">No two parts are worth much together beyond each alone.</p>'
    )
    doubt = (
        "" if players.standard_error is None else '<p class="note">From few looks at each pair; no error is known.</p>'
    )
    return front + _table(pairs) + doubt


def _table(pairs: Sequence[Pair]) -> str:
    shown = pairs[: 2 * SHOWN]
    rows = "".join(
        f"<tr><td>{escape(pair.first)}</td><td>{escape(pair.second)}</td><td>{signed(pair.together)}</td></tr>"
        for pair in shown
    )
    what = (
        plural(len(pairs), "pair") if len(shown) == len(pairs) else f"The {len(shown)} strongest of {len(pairs)} pairs"
    )
    return (
        f"<details><summary>{what}</summary><table><thead><tr><th>part</th><th>with</th>"
        f'<th title="beyond what each is worth alone">together</th></tr></thead><tbody>{rows}</tbody></table></details>'
    )
