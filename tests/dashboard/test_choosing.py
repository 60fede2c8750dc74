"""What the Explain tab offers and says, without a browser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from core.explainer import FAMILIES
from dashboard.explain.drawing import chooser, fold_word
from dashboard.explain.findings import densest, finding_html
from dashboard.palette import COLOURS, FAMILY_TITLES, GREYS, SHAPES, families, look, ordered
from dashboard.plots import Mark, Row, evidence_plot


def row(name: str, coverage: float, *shares: float) -> Row:
    return Row(name, "object", coverage, tuple(Mark("gradient", share, None) for share in shares))


def view(named: bool = True, boxed: bool = False) -> Any:
    prediction = SimpleNamespace(index=1, label="<bee>", probability=0.7)
    segments = SimpleNamespace(named=named)
    return SimpleNamespace(
        predictions=[prediction], segments=segments, boxed=boxed, instead=None, labels=["ant", "<bee>"]
    )


def test_every_family_has_a_title_and_every_explainer_a_place() -> None:
    assert set(FAMILY_TITLES) == set(FAMILIES)
    assert {name for members in families().values() for name in members} == set(ordered())


def test_many_explainers_never_look_alike(monkeypatch: Any) -> None:
    names = [f"e{i}" for i in range((len(COLOURS) - GREYS) * len(SHAPES))]
    monkeypatch.setattr("dashboard.palette.ordered", lambda: dict.fromkeys(names, SimpleNamespace(family="cam")))
    assert len({look(name) for name in names}) == len(names)


def test_folded_it_offers_the_defaults_and_what_is_chosen() -> None:
    every = list(ordered())
    folded = chooser(every, ("gradient",), unfolded=False)
    offered = {name for group in folded.values() for _, name in group["choices"]}
    assert offered == {name for name, e in ordered().items() if e.default or e.needs_weights} | {"gradient"}
    assert folded["gradient"]["value"] == ["gradient"]
    assert not folded["control"]["visible"]
    whole = chooser(every, ("gradient",), unfolded=True)
    assert {name for group in whole.values() for _, name in group["choices"]} == set(every)
    assert fold_word(every, ("gradient",), unfolded=False) == f"{len(every) - len(offered)} more"


def test_an_explainer_that_cannot_explain_the_model_is_not_offered() -> None:
    usable = [name for name in ordered() if name != "grad-cam"]
    assert "grad-cam" not in {n for _, n in chooser(usable, ("grad-cam",), unfolded=True)["cam"]["choices"]}


def test_the_finding_names_the_densest_segment_with_its_spread() -> None:
    rows = [row("sky", 0.5, 0.4), row("mark", 0.05, 0.2, 0.3, 0.25), row("speck", 0.001, 0.01)]
    found = densest(rows)
    assert found is rows[1]  # the speck is denser, but has next to no evidence
    said = finding_html(view(), 1, None, rows, found)
    assert "the mark" in said
    assert "25 % of it (20 % to 30 % by explainer) lies on 5.0 % of the picture" in said
    assert "&lt;bee&gt;" in said
    assert "explained is <b>ant</b>" in finding_html(view(), 0, None, rows, found)
    against = finding_html(view(), 1, 0, rows, found)
    assert "explained is why <b>&lt;bee&gt;</b> and not <b>ant</b>" in against
    assert "of what the model sees" in finding_html(view(boxed=True), 1, None, rows, found)
    unnamed = finding_html(view(named=False), 1, None, rows, found)
    assert "densest in the outlined part" in unnamed
    assert "mark" not in unnamed


def test_a_wrong_answer_is_called_wrong_in_the_finding() -> None:
    mistaken = view()
    mistaken.instead = "ant"
    assert "wrong: it is an ant" in finding_html(mistaken, 1, None, [row("mark", 0.05, 0.2)], None)


def test_even_evidence_is_no_finding() -> None:
    rows = [row("sky", 0.5, 0.5), row("ground", 0.5, 0.5)]
    assert densest(rows) is None
    assert "no segment draws much more" in finding_html(view(), 1, None, rows, None)
    assert "Press Explain" in finding_html(view(), 1, None, [], None)


def test_what_comes_of_an_unfinished_map_looks_unfinished_and_the_finding_says_so() -> None:
    whole = row("mark", 0.05, 0.2)
    half = Row("mark", "object", 0.05, (Mark("gradient", 0.2, 0.01, partial=True),))
    named: Any = SimpleNamespace(named=True)
    assert "partial" not in evidence_plot([whole], named)
    drawn = evidence_plot([half], named)
    assert drawn.count(" partial") == 3  # in the legend, the mark and its whisker
    assert "Gradient, unfinished" in drawn
    assert "so far, for its size" in finding_html(view(), 1, None, [half], half)
    assert "so far" not in finding_html(view(), 1, None, [whole], whole)
