"""What the Evaluate tab says of an evaluation, and how a run from the page starts, stops and shares the device."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.evaluation.saved_evaluation import Evaluation
from dashboard.evaluate.actions import _options
from dashboard.evaluate.drawing import leaderboard_html, sanity_html, scatter_html, warnings_html
from dashboard.evaluate.live import LiveEvaluation, dataset_of
from dashboard.evaluate.standing import Standing, caveat, headline
from dashboard.pictures import Pictures
from dashboard.runs import FairLock
from dashboard.segments.of_page import SavedSegments
from tests.dashboard.conftest import photo, save, tiny_classifier

MEANS = {"suppression": 0.5, "grad-cam": 0.4, "edges": 0.1}


def entry(metric: str, explainer: str, mean: float | None, **more: Any) -> dict[str, Any]:
    known = {
        "metric": metric, "explainer": explainer, "control": explainer == "edges", "mean": mean,
        "low": None if mean is None else mean - 0.05, "high": None if mean is None else mean + 0.05,
        "pictures": 0 if mean is None else 30, "undefined": 30 if mean is None else 0,
        "best": explainer == "suppression", "behind": None, "behind_low": None, "behind_high": None,
        "seconds": 0.2, "passes": 9.0, "saturated": None, "alignment": None,
    }  # fmt: skip
    return known | more


def standing(
    lead: dict[str, float] | None = None, pictures: int = 30, family: str = "faithfulness", scorer: str = "a"
) -> Standing:
    """Suppression before Grad-CAM before edges; `lead` gives behind_low by explainer."""
    lead = lead or {"grad-cam": 0.05, "edges": 0.3}
    board = [
        entry("m", name, mean, behind=0.1 if name in lead else None, behind_low=lead.get(name), behind_high=0.5)
        for name, mean in MEANS.items()
    ] + [entry("randomisation", "suppression", 0.3), entry("randomisation", "grad-cam", 0.95),
         entry("randomisation", "edges", 1.0)]  # fmt: skip
    manifest = {
        "model": "a", "scorer": scorer, "data": "b", "pictures": pictures, "warnings": ["m <is> wrong"], "problems": [],
        "explainers": [{"label": n, "name": n, "title": n.capitalize(), "control": n == "edges"} for n in MEANS],
        "metrics": [
            {"label": label, "name": label, "title": label.capitalize(), "summary": "What?", "family": of,
             "higher_is_better": up, "reference": "A paper"}
            for label, of, up in (("m", family, True), ("randomisation", "sanity", False))
        ],
    }  # fmt: skip
    return Standing(Evaluation(Path("x"), manifest, board))


@pytest.mark.parametrize(
    ("lead", "said"),
    [
        ({"grad-cam": 0.05, "edges": 0.3}, "Suppression is the most faithful explainer of a on these pictures, and"),
        ({"grad-cam": -0.05, "edges": 0.3}, "its lead over Grad-cam may be chance"),
        (
            {"grad-cam": 0.05, "edges": 0.0},
            "No explainer of a is surely more faithful here than Edges, which never looks",
        ),
    ],
)
def test_the_answer_says_whether_the_lead_is_chance(lead: dict[str, float], said: str) -> None:
    sentence, evidence = headline(standing(lead))
    assert said in sentence
    assert "M 0.50 [0.45, 0.55]" in evidence
    assert "30 pictures" in evidence
    assert "scored by the model itself" in evidence
    assert "scored by c." in headline(standing(lead, scorer="c"))[1]


@pytest.mark.parametrize(
    ("pictures", "independent", "counted"),
    [(1, 1, "1 picture"), (7, 7, "7 pictures"), (30, 7, "7 independent pictures")],
)
def test_few_pictures_give_numbers_and_no_comparison(pictures: int, independent: int, counted: str) -> None:
    found = standing(pictures=pictures)
    found.manifest["warnings"] = []
    for line in found.evaluation.leaderboard:
        line |= {"pictures": pictures, "independent": independent}
    sentence, evidence = headline(found)
    assert sentence == f"{counted} cannot tell which explainer of a to trust: these are numbers only."
    assert "M 0.50 [0.45, 0.55], higher is better" in evidence
    assert f"Only {counted}" in (caveat(found) or "")
    drawn = [leaderboard_html(found), scatter_html(found), sanity_html(found), warnings_html(found)]
    for word in (
        "best of each",
        "behind the best",
        'class="best"',
        "beaten",
        "more than chance",
        "does not change",
        "ahead",
    ):
        assert word not in "".join(drawn), word
    assert "0.95 [0.90, 1.00]" in drawn[2]  # the number is there
    assert "nothing is said of the controls" in drawn[3]
    enough = standing(pictures=8)
    for line in enough.evaluation.leaderboard:
        line |= {"pictures": 8, "independent": 8}
    assert "most faithful" in headline(enough)[0]
    assert caveat(enough) is None


def test_without_a_metric_of_faithfulness_nobody_leads() -> None:
    assert "none of them leads" in headline(standing(family="complexity"))[0]
    assert "Choose a metric" in scatter_html(standing(family="complexity"))


def test_a_stubborn_map_is_called_one_and_controls_are_not() -> None:
    said = sanity_html(standing())
    assert "<b>Grad-cam (0.95 [0.90, 1.00])</b> does not change when the model forgets" in said
    assert "Suppression (0.30 [0.25, 0.35]) changes" in said
    assert "Edges" not in said


def test_a_map_that_changes_in_part_does_not_change_as_it_should() -> None:
    """0.72 is much in common; so is 0.48 with an interval that reaches above a half."""
    for mean, high in ((0.72, 0.75), (0.48, 0.55)):
        half = standing()
        board = half.evaluation.leaderboard
        board[3] = entry("randomisation", "suppression", mean, high=high)
        told = sanity_html(half)
        assert "only in part" in told
        assert "as it should" not in told
    assert "as it should" in sanity_html(standing())


def test_the_leaderboard_has_controls_last_and_one_best_a_metric() -> None:
    drawn = leaderboard_html(standing())
    assert drawn.index("Suppression") < drawn.index("Grad-cam") < drawn.index('class="controls"') < drawn.index("Edges")
    assert drawn.count('class="best"') == 2
    assert "left:0.0%;width:90.9%" in drawn  # 0.5 of 0.55, the highest end
    assert "&lt;is&gt;" in warnings_html(standing())


def test_what_is_undefined_is_a_dash_and_no_bar() -> None:
    board = [entry("m", name, None, best=False) for name in MEANS]
    nothing = Standing(Evaluation(Path("x"), {**standing().manifest, "metrics": standing().metrics[:1]}, board))
    assert leaderboard_html(nothing).count("<span>–</span>") == 3
    assert "says nothing" in headline(nothing)[0]
    assert "Nothing to draw" in scatter_html(nothing)


def test_what_is_typed_comes_beside_what_is_ticked() -> None:
    found = _options(
        ["gradient"], ["sparseness"], "smoothgrad:samples=3,sigma=0.1, captum:Saliency", "insertion:fill=blur"
    )
    assert [c.label for c in found.contenders] == ["gradient", "smoothgrad:samples=3,sigma=0.1", "captum:Saliency"]
    assert found.contenders[1].parameters.to_dict()["samples"] == 3
    assert [y.label for y in found.yardsticks] == ["sparseness", "insertion:fill=blur"]
    assert len(_options([], [], "gradient", "sparseness").contenders) == 1
    with pytest.raises(UserError, match="no explainer"):
        _options([], ["sparseness"], "gradinet")


@pytest.fixture
def sources(tmp_path: Path) -> list[Any]:
    pictures = Pictures(SavedSegments(lambda: tmp_path / "none"))
    return [pictures.read(Path(save(tmp_path, f"{i}.png", photo(seed=i))), "same name") for i in range(3)]


@pytest.mark.slow
def test_results_come_after_every_picture_and_others_get_turns(sources: list[Any]) -> None:
    lock, data = FairLock(), dataset_of(sources, "mine")
    assert [item.id for item in data.items] == ["same name", "same name (2)", "same name (3)"]
    found = []
    for step in LiveEvaluation().stream(lock, data, tiny_classifier(), _options(["gradient"], ["sparseness"])):
        with lock.turn() as mine:  # free between any two steps
            assert mine
        if step.standing is not None:
            found.append((step.standing.pictures, step.standing.planned))
    assert found == [(1, 3), (2, 3), (3, None)]


def test_a_stop_ends_it_before_the_next_step_also_while_it_waits(sources: list[Any]) -> None:
    live, lock = LiveEvaluation(), FairLock()
    data = dataset_of(sources, "mine")
    steps = live.stream(lock, data, tiny_classifier(), _options(["gradient"], ["sparseness"]))
    assert next(steps).standing is None
    with lock.turn():
        threading.Timer(0.2, live.stop).start()
        assert next(steps, None) is None  # it never gets the device


@pytest.mark.parametrize(("chosen", "asked", "said"), [([], ["sparseness"], "explainer"), (["gradient"], [], "metric")])
def test_nothing_ticked_is_told(chosen: list[str], asked: list[str], said: str) -> None:
    with pytest.raises(UserError, match=f"No {said} is chosen"):
        _options(chosen, asked)


def test_masks_that_a_metric_needs_are_asked_for_at_once(sources: list[Any]) -> None:
    work = LiveEvaluation().stream(
        FairLock(), dataset_of(sources, "mine"), tiny_classifier(), _options(["gradient"], ["relevance-mass"])
    )
    with pytest.raises(UserError, match="same name has no masks"):
        next(work)
