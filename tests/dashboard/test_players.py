"""What the page says of named players: bars, and pairs in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.attribution import Attribution, PlayerValues
from core.explainer import get_explainer
from core.regions import laid_out
from dashboard.explain.panels import map_panel
from dashboard.explain.players import REST, pairs_of, players_panel, titles_of
from tests.dashboard.conftest import attribution


def played(
    values: list[float],
    names: tuple[str | None, ...],
    pairs: dict[tuple[int, int], float] | None = None,
    error: list[float] | None = None,
    partial: bool = False,
) -> Attribution:
    count = len(values)
    together = None if pairs is None else torch.zeros(count, count)
    for (i, j), worth in (pairs or {}).items():
        assert together is not None
        together[i, j] = together[j, i] = worth
    masks = torch.eye(count)[:, :, None].expand(count, count, count)
    players = PlayerValues(
        torch.tensor(values), None if error is None else torch.tensor(error), together, masks, names
    )  # fmt: skip
    made = attribution(laid_out(players.values, players.masks), signed=True, partial=partial)
    return replace(made, method="exact-shapley", players=players)


@pytest.mark.parametrize(("values", "together", "said"), [
    ([0.6, 0.7], 1.3, "beak counts only with head: together +1.30 beyond each alone"),
    ([-0.6, -0.7], -1.3, "beak counts only with head: together −1.30 beyond each alone"),
    ([2.0, 3.0], 1.0, "beak counts more with head: together +1.00 beyond each alone"),
    ([0.4, 0.5], -0.9, "head or beak: either is enough: −0.90"),
    ([-0.4, -0.5], 0.9, "head or beak: either is enough: +0.90"),
    ([2.0, 3.0], -1.0, "head and beak say partly the same: −1.00"),
])  # fmt: skip
def test_pairs_in_words(values: list[float], together: float, said: str) -> None:
    one = played(values, ("beak", "head"), {(0, 1): together})
    assert one.players is not None
    assert [pair.sentence for pair in pairs_of(one.players)] == [said]
    assert said in players_panel(one)


def test_pairs_come_strongest_first_and_only_where_they_were_looked_at() -> None:
    one = played([1.0, 0.5, 0.2], ("a", "b", None), {(0, 1): 0.3, (0, 2): float("nan"), (1, 2): -0.4})
    assert one.players is not None
    assert [(pair.first, pair.second) for pair in pairs_of(one.players)] == [("b", REST), ("a", "b")]
    panel = players_panel(one)
    assert "2 pairs" in panel
    assert "nan" not in panel


def test_weak_pairs_are_not_told_and_stand_in_the_table() -> None:
    panel = players_panel(played([5.0, 4.0], ("a", "b"), {(0, 1): 0.01}))
    assert "No two parts are worth much together beyond each alone." in panel
    assert "1 pair" in panel
    assert "+0.01" in panel


def test_bars_have_errors_and_a_zero_between_for_and_against() -> None:
    panel = players_panel(played([1.0, -1.0], ("a<b", "c"), error=[0.1, float("nan")]))
    assert panel.index("a&lt;b") < panel.index(">c<")
    assert "+1.00 ± 0.10, for the class" in panel
    assert 'title="c: −1.00, against the class"' in panel
    assert panel.count('class="whisker"') == 1
    assert panel.count('class="zero" style="left:45.54%"') == 2  # -1 .. 1 + 1.96 * 0.1


def test_many_players_fold_and_names_that_occur_twice_are_numbered() -> None:
    one = played([float(n) for n in range(10)], ("leg", "leg", *map(str, range(8))))
    assert one.players is not None
    assert titles_of(one.players)[:3] == ["leg", "leg 2", "0"]
    assert "2 more" in players_panel(one)


def test_players_without_names_are_a_map_and_no_bars() -> None:
    assert players_panel(None) == ""
    assert players_panel(played([1.0, 2.0], (None, None))) == ""
    assert players_panel(attribution(torch.ones(4, 4))) == ""


def test_the_bars_stand_in_the_panel_and_pairs_wait_for_the_end() -> None:
    one = played([1.0, 1.0], ("beak", "head"), {(0, 1): 2.0}, partial=True)
    panel = map_panel(get_explainer("exact-shapley"), None, one, None, running=True)
    assert 'data-testid="players-exact-shapley"' in panel
    assert "together" not in panel
    done = map_panel(get_explainer("exact-shapley"), None, replace(one, partial=False), None, running=False)
    assert "head counts only with beak" in done or "beak counts only with head" in done
