"""Training of masking models: the published loss, a known answer, two gradients at once, the same numbers again."""

from __future__ import annotations

import errno
from math import log
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from core.choice import Choice
from core.classifier import named
from core.data import Dataset, Item, open_dataset
from core.errors import UserError
from core.explainers.learned.files import about_trained
from core.explainers.learned.masker import Masker, MaskerShape
from core.explainers.learned.masking import load_masking_model
from core.explainers.masking_objective import MaskingObjective, entropy, masked, total_variation
from core.fills import fill_plate
from core.learning import MaskingTraining
from core.training.loop import Training, checkpoint_of
from core.training.masking import CLIP_COPY, MaskingRecipe, MaskingStage, train_masking
from core.training.masking_card import masking_card
from core.training.pictures import Frames, split
from tests.explainers.conftest import plain
from tests.toy import SIDE, toy_classifier

TINY = {"epochs": 2, "batch": 8}


def finished(data: Dataset, out: Path, stop_after: int | None = None, **options: object) -> Training | None:
    """All of a training, or its first steps."""
    steps = train_masking(toy_classifier(), data, MaskingTraining.parse({**TINY, **options}), out)
    last = None
    for count, last in enumerate(steps, start=1):  # noqa: B007 - it is what is returned
        if count == stop_after:
            steps.close()
            break
    return last


def stage_of(data: Dataset, **options: object) -> MaskingStage:
    classifier = toy_classifier()
    learn, held = (Frames(classifier, items, (1, 1), segments=False) for items in split(data, 0))
    return MaskingStage(classifier, MaskingTraining.parse({**TINY, **options}), learn, held)


# -- the loss


def test_total_variation_is_the_published_sum() -> None:
    mask = torch.zeros(1, 4, 5)
    mask[0, 1, 2] = 1  # inside: four neighbours differ
    assert float(total_variation(mask)) == 2
    mask = torch.zeros(1, 4, 5)
    mask[0, 0, 2] = 1  # on the border: three neighbours, and itself
    assert float(total_variation(mask)) == pytest.approx((3 + 0.3) / 2)
    ones = torch.ones(1, 4, 5)
    assert float(total_variation(ones)) == pytest.approx(0.3 * 18 / 2)  # corners are on two sides


def test_the_loss_is_the_published_one() -> None:
    """Four pictures: both terms work, only the one, only the other, and one that the classifier gets wrong."""
    masks = torch.tensor([0.2, 0.5, 0.5, 0.1])[:, None, None].expand(-1, 6, 6)
    targets, right = torch.zeros(4, dtype=torch.long), torch.tensor([True, True, True, False])
    sure, lost = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    inside, outside = torch.stack([sure, sure, lost, lost]), torch.stack([lost, sure, lost, lost])
    objective = MaskingObjective("both", area_in=1.5, area_out=10.0, smooth=0.0)
    found = objective.loss(masks, targets, right, inside, outside, exclusive=True)
    ce = -torch.log_softmax(torch.stack([sure, lost]), 1)[:, 0]
    h = entropy(torch.stack([sure, lost]), targets[:2], True)
    expected = [
        ce[0] - 1.5 * 0.8 - h[1] - 10 * 0.8,
        ce[0] - 1.5 * 0.5 - h[0],
        ce[1] - h[1] - 10 * 0.5,
        ce[1],
    ]
    assert torch.allclose(found, torch.stack(expected))
    rough = MaskingObjective("both", smooth=0.01).loss(masks, targets, right, inside, outside, True)
    even = MaskingObjective("both", smooth=0.0).loss(masks, targets, right, inside, outside, True)
    assert torch.allclose(rough - even, 0.02 * total_variation(masks), atol=1e-5)
    only = MaskingObjective("in", area_in=1.5, smooth=0.01).loss(masks, targets, right, inside, None, True)
    assert torch.allclose(only[0], ce[0] - 1.5 * 0.8 + 0.01 * total_variation(masks)[0])
    assert float(entropy(torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), True)) == pytest.approx(log(4))
    assert float(entropy(torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), False)) == pytest.approx(log(2))


# -- what is learned


@pytest.mark.slow
def test_the_network_is_the_published_one() -> None:
    """Maps made large, put beside each other and read by one 3x3 convolution."""
    torch.manual_seed(0)
    masker = Masker(MaskerShape((), (20, 30), classes=5, area=True)).eval()
    maps, targets, area = [torch.randn(2, 20, 8, 8), torch.randn(2, 30, 4, 5)], torch.tensor([1, 3]), torch.rand(2)
    size = (32, 35)
    large = [F.interpolate(read(one), size, mode="bilinear") for read, one in zip(masker.reads, maps)]
    assert masker.classes is not None
    told = [
        masker.classes(targets)[:, :, None, None].expand(-1, -1, *size),
        area[:, None, None, None].expand(2, 1, *size),
    ]
    published = masker.last(torch.cat([*large, *told], 1))[:, 0]
    torch.testing.assert_close(masker(maps, (131, 140), targets, area), published, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("regime", ["fixed", "joint"])
def test_it_finds_what_decides(toy_data: Path, tmp_path: Path, regime: str) -> None:
    """Blue for the one class and red for the other: masked in, both keep their answer, and the mask lies on them."""
    data, classifier = open_dataset(toy_data), toy_classifier()
    options = MaskingTraining.parse({"epochs": 25, "batch": 8, "regime": regime, "fill": "black", "rate": 0.01})
    out = tmp_path / "m.safetensors"
    for _ in train_masking(classifier, data, options, out):
        pass
    _, held = split(data, 0)
    frames = Frames(classifier, held, (1, 1), segments=False)
    images = frames.batch(range(len(held))).images
    targets = classifier.logits(images).argmax(1)
    model = load_masking_model(out, classifier)
    masks, plates = model.masks(images, targets), fill_plate(images, "black")
    kept = named(classifier.logits(masked(images, plates, masks)), targets, True)
    assert float(kept.float().mean()) >= 0.9
    own = torch.where(targets[:, None, None] == 1, images[:, 2], images[:, 0])
    decides = own - images[:, 1] > 0.1  # blue where that is the answer, and red where that is
    assert float(masks[decides].mean()) > 2 * float(masks[~decides].mean())


@pytest.mark.parametrize("regime", ["fixed", "joint"])
def test_the_users_model_is_never_altered(data: Dataset, tmp_path: Path, regime: str) -> None:
    classifier = toy_classifier()
    before = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    for _ in train_masking(classifier, data, MaskingTraining.parse({**TINY, "regime": regime}), tmp_path / "m"):
        pass
    assert all(torch.equal(value, before[name]) for name, value in classifier.module.state_dict().items())
    model = load_masking_model(tmp_path / "m", classifier)
    assert model.joint == (regime == "joint")
    assert (model.scorer is classifier) == (regime == "fixed")


def test_both_gradients_are_taken_before_either_steps(data: Dataset) -> None:
    """The masker's gradient does not see that the copy learns, and the copy's is of its own loss alone."""
    stage = stage_of(data, regime="joint", history="none")
    loss, _ = stage.loss(0)
    along = stage._loss_along
    assert along is not None
    wanted = torch.autograd.grad(loss, stage._own, retain_graph=True)
    copied = torch.autograd.grad(along, stage._along, retain_graph=True, allow_unused=True)
    stage.backward(loss)
    assert all(torch.equal(weight.grad, gradient) for weight, gradient in zip(stage._own, wanted))
    for weight, gradient in zip(stage._along, copied):
        assert gradient is None or torch.equal(weight.grad, gradient)
    assert any(gradient is not None for gradient in copied)


@pytest.mark.parametrize(
    "options",
    [{}, {"regime": "joint"}, {"regime": "joint", "history": "repo"}, {"hard": True, "tell_area": True}],
    ids=["fixed", "joint with past copies", "joint as published", "hard, told how much"],
)
def test_a_stopped_training_goes_on_with_the_same_numbers(
    data: Dataset, tmp_path: Path, options: dict[str, object]
) -> None:
    straight, broken = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    whole = finished(data, straight, epochs=3, **options)
    assert finished(data, broken, stop_after=6, epochs=3, **options).step == 6
    assert checkpoint_of(broken).is_file()
    again = finished(data, broken, epochs=3, **options)
    assert [(p.loss, p.held_out, p.area) for p in again.points] == [(p.loss, p.held_out, p.area) for p in whole.points]
    first, second = load_file(straight), load_file(broken)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_loss_that_is_no_number_stops_and_is_gone_on_from_where_it_was_one(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, through = tmp_path / "m.safetensors", MaskingStage.loss

    def loss(self: MaskingStage, step: int) -> tuple[Tensor, dict[str, float]]:
        found, measures = through(self, step)
        return found * float("nan"), measures

    straight = finished(data, tmp_path / "straight.safetensors")
    finished(data, out, stop_after=2)
    monkeypatch.setattr(MaskingStage, "loss", loss)
    with pytest.raises(UserError, match="no number any more at step 3 of the masker; what was learned"):
        finished(data, out)
    monkeypatch.undo()
    again = finished(data, out)
    assert [point.loss for point in again.points] == [point.loss for point in straight.points]


def test_a_full_disk_leaves_the_old_file_whole(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "m.safetensors"
    finished(data, out)
    before = out.read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.explainers.learned.files.save", full)
    with pytest.raises(UserError, match="free some room"):
        finished(data, out, seed=3)
    assert out.read_bytes() == before


@pytest.mark.parametrize("option", ["hard", "tell_area", "tell_class"])
def test_every_variant_is_explained_with(data: Dataset, tmp_path: Path, option: str) -> None:
    out, classifier = tmp_path / "m.safetensors", toy_classifier()
    finished(data, out, **{option: True})
    bound = Choice.parse(f"masking@{out}").bind(classifier)
    images = Frames(classifier, data.items[:2], (1, 1), segments=False).batch([0, 1]).images
    first, other = (bound.explain(images, [target])[0].values for target in (0, 1))
    assert torch.equal(first, other) == (option != "tell_class")
    if option == "hard":
        assert set(first.unique().tolist()) <= {0.0, 1.0}
    if option == "tell_area":
        less, more = (bound.explain(images, [0], bound.explainer.parameters.parse({"area": area}))[0].values
                      for area in (0.1, 0.9))  # fmt: skip
        assert not torch.equal(less, more)


# -- pictures and labels


def test_few_examples_are_some_of_more_and_equally_many_a_class(data: Dataset, tmp_path: Path) -> None:
    chosen = {}
    for count in (3, 6):
        recipe = MaskingRecipe(toy_classifier(), MaskingTraining(examples_per_class=count), None)
        chosen[count] = recipe.chosen(split(data, 0)[0])
        assert sorted(item.label for item in chosen[count]) == ["plain"] * count + ["stamped"] * count
    assert {item.id for item in chosen[3]} < {item.id for item in chosen[6]}
    finished(data, tmp_path / "m.safetensors", examples_per_class=3)
    assert about_trained(tmp_path / "m.safetensors").card["pictures"] == 6


def test_without_labels_the_classifiers_answer_is_taken(data: Dataset, tmp_path: Path) -> None:
    from dataclasses import replace

    bare = replace(data, items=tuple(replace(item, label=None) for item in data.items))
    state = finished(bare, tmp_path / "m.safetensors")
    assert any("no label that is a class of toy" in note for note in state.notes)
    learn = Frames(toy_classifier(), bare.items, (1, 1), segments=False)
    batch = learn.batch([0, 1])
    assert batch.labels.tolist() == [-1, -1]
    stage = stage_of(bare)
    assert torch.equal(stage._targets(batch, stage._said(batch)), stage.classifier.logits(batch.images).argmax(1))


def test_one_class_is_told(data: Dataset, tmp_path: Path) -> None:
    from dataclasses import replace

    def plain_only(item: Item) -> bool:
        return item.label == "plain"

    some = replace(data, items=tuple(filter(plain_only, data.items)))
    assert any("of one class" in note for note in finished(some, tmp_path / "m.safetensors").notes)


def test_masks_that_collapse_are_told(data: Dataset) -> None:
    stage = stage_of(data)
    for value, what in ((-20.0, "nothing"), (20.0, "everything")):
        with torch.no_grad():
            stage.masker.last.weight.zero_()
            stage.masker.last.bias.fill_(value)
        stage.held_out()
        assert what in stage.noticed()[0]
    with torch.no_grad():
        stage.masker.last.bias.zero_()
    stage.held_out()
    assert stage.noticed() == []


def test_a_copy_that_forgets_is_held_back_and_told(data: Dataset) -> None:
    stage = stage_of(data, regime="joint", history="none")
    for weight in stage._along:
        weight.grad = torch.full_like(weight, 100.0)
    stage.clip()
    assert float(torch.stack([weight.grad.norm() for weight in stage._along]).norm()) == pytest.approx(CLIP_COPY)
    with torch.no_grad():
        for weight in stage._along:
            weight.zero_()  # it says the same of every picture
    for step, told in ((0, False), (stage.epochs * stage.steps - 1, True)):
        stage.loss(step)  # in the first half it may still come back
        stage.held_out()
        assert any("has forgotten" in note for note in stage.noticed()) == told


@pytest.mark.parametrize("regime", ["fixed", "joint"])
def test_the_best_weights_are_kept_or_the_last_where_what_judges_them_learns_too(
    data: Dataset, tmp_path: Path, regime: str
) -> None:
    state = finished(data, tmp_path / "m.safetensors", regime=regime)
    best = min(state.points, key=lambda point: point.held_out or 0.0)
    card = about_trained(tmp_path / "m.safetensors").card
    assert card["best_step"] == (best if regime == "fixed" else state.points[-1]).step


def test_a_model_without_a_map_is_refused(data: Dataset, tmp_path: Path) -> None:
    flat = plain(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE**2, 2)), SIDE)
    with pytest.raises(UserError, match="keeps no map over the picture"):
        next(train_masking(flat, data, MaskingTraining(), tmp_path / "m.safetensors"))


def test_the_card_scores_masks_on_the_classifier_and_on_the_copy(data: Dataset, tmp_path: Path) -> None:
    out, classifier = tmp_path / "m.safetensors", toy_classifier()
    finished(data, out, regime="joint")
    _, items = split(data, 0)
    held = Frames(classifier, items, (1, 1), segments=False)
    card = masking_card(load_masking_model(out, classifier), classifier, held, out)
    assert set(card["masks"]) == {"classifier", "copy", "area"}
    assert all(0 <= value <= 1 for judge in ("classifier", "copy") for value in card["masks"][judge].values())
    assert card["masks"]["classifier"]["plain"] == 1
    assert set(card["faithfulness"]["masking"]["insertion"]) == {"classifier", "surrogate"}
    assert card["boxes"]["the object's box"]["localisation-error"] == 0
    assert card["boxes"]["the object's box"]["box-f1"] == pytest.approx(1, abs=1e-4)
