"""What the Train tab shows of a training and of what came of it, and what it asks for."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.data import open_dataset
from core.errors import UserError
from core.explainers.learned.files import About
from core.learning import OPTIONS, MaskingTraining, SalvageTraining
from core.training.loop import Point, Training
from dashboard.allowed import Allowed
from dashboard.project.data_sets import DataSets
from dashboard.runs import FairLock
from dashboard.sessions import Sessions
from dashboard.train.actions import Actions, trained
from dashboard.train.cards import cards_html
from dashboard.train.drawing import answer_html, caution, progress_html, status_html, verdict
from dashboard.train.live import FAILED, FINISHED, JUDGING, READING, STOPPED, TRAINING, Seen, Trainer
from dashboard.train.plots import balance_figure, loss_figure, masks_figure
from dashboard.train.tab import Widgets
from tests.dashboard.conftest import tiny_classifier
from tests.trained import write_explainer

SCORES = {"insertion": {"classifier": 0.8, "surrogate": 0.7}, "deletion": {"classifier": 0.3, "surrogate": 0.2}}
CARD = {
    "pictures": 360, "held_out_pictures": 40, "minutes": 3.2,
    "faithfulness": {
        "salvage": {**SCORES, "passes": 1.0},
        "kernel-shap, 64 passes": {**SCORES, "insertion": {"classifier": 0.7, "surrogate": 0.6}, "passes": 66.0},
        "kernel-shap, 512 passes": {**SCORES, "insertion": {"classifier": 0.9, "surrogate": 0.5}, "passes": 514.0},
        "random": {**SCORES, "insertion": {"classifier": 0.5, "surrogate": 0.4}, "passes": 0.0},
    },
    "subsets": {"kl": 0.123, "brier": 0.045},
    "classifier": {"accuracy": 0.9, "own_accuracy": 0.88, "agreement": 0.95, "calibration_error": 0.01,
                   "own_calibration_error": 0.02},
}  # fmt: skip


def about(players: str = "patches", card: dict[str, Any] | None = None) -> About:
    options = SalvageTraining(players=players).to_dict()
    return About("salvage", players, "f" * 64, "tiny", ("a",), {"training": options}, CARD if card is None else card)


MASKS = {
    "pictures": 360, "held_out_pictures": 40, "minutes": 1.2,
    "masks": {"classifier": {"plain": 1.0, "kept": 0.91, "lost": 0.12},
              "copy": {"plain": 0.9, "kept": 0.97, "lost": 0.05}, "area": 0.21},
    "faithfulness": {"masking": {**SCORES, "passes": 1.0}, "grad-cam": {**SCORES, "passes": 1.0}},
    "boxes": {"masking": {"localisation-error": 0.25, "box-f1": 0.66},
              "everything": {"localisation-error": 0.9, "box-f1": 0.4}},
}  # fmt: skip


def masker(card: dict[str, Any]) -> About:
    options = MaskingTraining(regime="joint").to_dict()
    return About("masking", "mask", "f" * 64, "tiny", ("a",), {"training": options}, card)


def told(step: int = 4) -> Training:
    between = [Point("surrogate", 1, 2.0, 1.0), Point("surrogate", 2, 1.5, 2.0)]
    between += [Point("explainer", n, 1.0 / n, n, low=0.2, middle=0.3, high=0.5) for n in range(3, step + 1)]
    ends = [Point("surrogate", 2, 1.7, 2.0, 1.2), Point("explainer", step, 0.4, 4.0, 0.6)]
    return Training(("surrogate", "explainer"), (2, 10), "explainer", step, 10, 4.0, 90.0, ends, between, ["A <note>"])


def live(seen: Seen, running: bool = True, stopping: bool = False) -> Any:
    loaded = SimpleNamespace(classifier=tiny_classifier())
    asked = SimpleNamespace(loaded=loaded, options=SalvageTraining(), values=())
    return SimpleNamespace(seen=seen, running=running, stopping=stopping, asked=asked, version=1)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Seen(READING, done=3, total=40), "Reading pictures, 3 of 40"),
        (Seen(TRAINING, training=told()), "explainer, step 4 of 10, 2 min left"),
        (Seen(JUDGING, "how faithful it is", training=told()), "Measuring how faithful it is"),
        (Seen(STOPPED, training=told()), "Stopped at step 4 of 10; Train goes on from there."),
        (Seen(STOPPED), "Stopped; Train goes on from there."),
        (Seen(FINISHED, training=told(10)), "Finished in under a minute"),
        (Seen(FAILED, problem="No <disk>."), 'role="alert">No &lt;disk&gt;.'),
    ],
)
def test_the_status_is_one_line(seen: Seen, said: str) -> None:
    assert said in status_html(live(seen, running=seen.phase in (READING, TRAINING, JUDGING)))
    assert status_html(live(seen, stopping=True)) == '<span class="busy">Stopping</span>'


def test_progress_names_the_stage() -> None:
    drawn = progress_html(live(Seen(TRAINING, training=told())))
    assert "tiny, patches" in drawn
    assert "surrogate &rsaquo; <b>explainer</b>" in drawn
    assert 'style="width:40.0%"' in drawn


def test_the_answer_goes_by_what_is_there() -> None:
    classifier, other = tiny_classifier(), tiny_classifier(1)
    assert "No explainer is trained for tiny yet." in answer_html(classifier, [], None)
    running = live(Seen(TRAINING, training=told()))
    assert "Training an explainer of tiny." in answer_html(classifier, [], running)
    assert "An explainer of tiny is being trained." in answer_html(other, [], running)
    found = answer_html(classifier, [about()], None)
    assert "With 1 pass, Salvage scores 0.80 in insertion; KernelSHAP takes 514 passes for 0.90." in found
    assert "Maps drawn at random score 0.50." in found
    assert "An explainer is trained for tiny." in answer_html(classifier, [about(card={})], None)


def test_the_answer_warns_of_few_pictures_and_of_an_explainer_that_disagrees() -> None:
    assert caution(about()) == "Maps drawn at random score 0.50."
    poor = {**CARD, "held_out_pictures": 8, "classifier": {**CARD["classifier"], "agreement": 0.3}}
    assert caution(about(card=poor)) == (
        "Maps drawn at random score 0.50. Judged on 8 pictures only, so these figures are rough. "
        "It names the same class as the model on 30% of them: train it longer."
    )
    alone = {"faithfulness": {"salvage": CARD["faithfulness"]["salvage"]}}
    assert verdict(about(card=alone)) == "With 1 pass, Salvage scores 0.80 in insertion."


def test_the_card_has_every_figure_and_marks_the_best_of_each_column() -> None:
    drawn = cards_html([about(), about("segments", {})])
    for said in ("grid 14", "learned from 360 pictures", "3 min of training", "judged on 40 others", "by the surrogate",
                 "KernelSHAP 64", ">514<", "0.880", "0.900", "0.950", "0.123", "0.045", "0.020"):  # fmt: skip
        assert said in drawn, said
    assert drawn.count('<td class="best">0.900</td>') == 1
    assert drawn.count('<td class="best">0.700</td>') == 1
    assert "It was not measured" in drawn
    unlabelled = {**CARD, "classifier": {**dict.fromkeys(CARD["classifier"]), "agreement": 0.5}}
    assert "accuracy" not in cards_html([about(card=unlabelled)])


def test_a_maskers_answer_and_card_say_what_masks_keep() -> None:
    found = answer_html(tiny_classifier(), [masker(MASKS)], None)
    assert "Masks of 21% of the picture keep the model's answer on 91% of the pictures" in found.replace("&#x27;", "'")
    assert "what they leave out keeps it on 12%" in found
    assert "It explains the copy that learned along, not the model itself." in found
    assert "Learned, Masking." in found
    drawn = cards_html([masker(MASKS)])
    for said in ("<h3>Masking</h3>", "regime joint", "0.910", "0.970", "0.120", "0.050", "21%", "0.250", "0.660",
                 "Grad-CAM", "everything"):  # fmt: skip
        assert said in drawn, said
    alone = {**MASKS, "masks": {name: MASKS["masks"][name] for name in ("classifier", "area")}}
    assert "the copy" not in cards_html([masker(alone)])


def test_a_maskers_curves_are_its_masks() -> None:
    between = [Point("masker", n, 1.0, n, area=0.5 / n, inside=0.8, outside=0.1) for n in (1, 2)]
    figure = masks_figure(Training(("masker",), (4,), "masker", 2, 4, between=between), dark=False)
    assert [list(trace.y) for trace in figure.data] == [[0.8, 0.8], [0.1, 0.1], [0.5, 0.25]]
    assert figure.layout.xaxis.range == (0, 4)


def test_each_kind_shows_its_own_options(actions: Actions) -> None:
    shown = actions.choose("masking")
    assert shown["options of masking"]["visible"] is True
    assert shown["options of salvage"]["visible"] is False


def test_curves_grow_into_a_chart_as_long_as_their_stage() -> None:
    found = told(6)
    losses = loss_figure(found, "explainer", dark=False)
    assert list(losses.data[0].x) == [3, 4, 5, 6]
    assert list(losses.data[1].y) == [0.6]
    assert losses.layout.xaxis.range == (2, 10)
    assert loss_figure(found, "surrogate", dark=True).layout.xaxis.range == (0, 2)
    shares = balance_figure(found, dark=True)
    assert [list(trace.y) for trace in shares.data] == [[0.2] * 4, [0.3] * 4, [0.5] * 4]
    lone = replace(found, stages=("explainer",), ends=(8,))
    assert balance_figure(lone, dark=False).layout.xaxis.range == (0, 8)


# --- handlers


@pytest.fixture
def actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Actions:
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "own"))
    classifier = tiny_classifier()
    page = SimpleNamespace(
        sessions=Sessions("tiny"), trainer=Trainer(FairLock()), data_sets=DataSets(Allowed()),
        classifiers=SimpleNamespace(get=lambda spec: SimpleNamespace(classifier=classifier)),
    )  # fmt: skip
    names = {field.name: field.name for field in fields(Widgets)}
    options = {kind: {spec.name: f"{kind} {spec.name}" for spec in of.specs()} for kind, of in OPTIONS.items()}
    groups = {kind: f"options of {kind}" for kind in OPTIONS}
    return Actions(page, Widgets(**{**names, "options": options, "groups": groups}))


def values(source: str, count: float | None = 12, **changed: Any) -> list[Any]:
    salvage = {**SalvageTraining().to_dict(), **changed}
    return ["salvage", source, count, *salvage.values(), *MaskingTraining().to_dict().values()]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (values(""), "No data set is chosen"),
        (values("demo:birds", None), "ask for 2 at least"),
        (values("/etc"), "The page opens only what was named"),
        (values("demo:birds", link="identity"), "Link identity goes with divergence mse"),
        (values("demo:birds", epochs=0), "epochs must lie between 1 and 1000"),
    ],
)
def test_what_cannot_be_trained_is_told_beside_the_button(actions: Actions, given: list[Any], said: str) -> None:
    updates = actions.start("key", False, *given)
    assert said in updates["status"]
    assert actions.page.trainer.live is None


def test_an_unknown_demo_data_set_is_told_by_the_training(actions: Actions) -> None:
    actions.start("key", False, *values("demo:fish"))
    actions.page.trainer.live.wait()
    updates = actions.tick("key", False, "")
    assert "role" in updates["status"]
    assert updates["timer"].active is False
    assert updates["start"]["interactive"]


def test_the_data_of_the_command_line_are_offered_first_and_nothing_beside_them_is_opened(
    actions: Actions, toy_data: Path
) -> None:
    given = open_dataset(toy_data)
    actions.page.data_sets = DataSets(Allowed([toy_data / "manifest.csv"]), given)
    assert len(actions._data(str(toy_data), 10, True)()) == 10
    offered = [source for _, source in actions.page.data_sets.choices()]
    assert offered == [str(toy_data), "demo:birds", "demo:birds-clean", "demo:birds-swapped"]
    with pytest.raises(UserError, match="opens only what was named"):
        actions._data(str(toy_data / "images"), 10, False)


def test_an_explainer_that_lies_there_is_listed(actions: Actions, tmp_path: Path) -> None:
    classifier = tiny_classifier()
    assert actions.look("key", False)["trained"]["visible"] is False
    write_explainer(classifier, tmp_path / "own" / "explainers" / "mine.safetensors", "segments")
    assert [about.players for about in trained(classifier)] == ["segments"]
    updates = actions.look("key", False)
    assert updates["trained"]["visible"] is True
    assert "Salvage on segments" in updates["cards"]


def test_nothing_is_drawn_anew_where_nothing_has_changed(actions: Actions) -> None:
    assert list(actions.tick("key", False, "")) == ["seen"]
    actions.page.trainer.live = live(Seen(TRAINING, training=told()))
    first = actions.tick("key", False, "")
    assert first["progress"]
    assert list(actions.tick("key", False, first["seen"])) == ["seen"]
    actions.page.trainer.live.version = 2
    assert "progress" in actions.tick("key", False, first["seen"])
