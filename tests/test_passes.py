"""The one loop: copies in their order, made when their turn comes, whatever the chunk."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from core.classifier import Classifier
from core.explainer import get_explainer
from core.passes import Turns, in_turns, probability, scored, scores
from tests.explainers.conftest import chunk_of, classifier_of, pictures

__all__ = ["chunk_of"]  # a fixture
SHAPE = (3, 32, 32)


def pairs(turns: Turns) -> list[tuple[int, int]]:
    return list(zip(turns.pictures.tolist(), turns.numbers))


def test_every_picture_has_its_next_copy_before_any_has_the_one_after() -> None:
    device = torch.device("cpu")
    assert pairs(Turns.up_to([3, 1, 2], device)) == [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2)]
    assert pairs(Turns.of(torch.tensor([4, 2]), range(5, 7))) == [(4, 5), (2, 5), (4, 6), (2, 6)]
    assert len(Turns.up_to([], device)) == 0
    assert Turns.up_to([3, 1, 2], device).passed(4, 3) == [2, 1, 1]


@pytest.mark.parametrize("chunk", [1, 4, 7])
def test_scores_are_those_of_each_copy_alone(chunk: int, chunk_of: Callable[[int], None]) -> None:
    classifier, images, targets = classifier_of("cnn"), pictures(3, (32, 32)), torch.tensor([1, 0, 2])
    chunk_of(chunk)

    def make(picture: Tensor, copies: Sequence[int]) -> Tensor:
        return images[picture] * torch.tensor(copies).view(-1, 1, 1, 1) / 4

    found = scores(classifier, images, 5, make, probability(classifier, targets))
    with torch.no_grad():
        for n in range(5):
            alone = classifier.probabilities(classifier.logits(images * n / 4)).gather(1, targets[:, None])[:, 0]
            assert torch.allclose(found[:, n], alone, atol=1e-6)


def test_copies_are_forgotten_once_they_were_looked_at(chunk_of: Callable[[int], None]) -> None:
    classifier, images = classifier_of("cnn"), pictures(2, (32, 32))
    chunk_of(4)
    alive: list[weakref.ref[Tensor]] = []
    gc.collect()
    gc.freeze()  # what other tests have left behind need not be looked through ten times

    def make(picture: Tensor, copies: Sequence[int]) -> Tensor:
        gc.collect()
        assert sum(one() is not None for one in alive) == 0
        made = images[picture].clone()
        alive.append(weakref.ref(made))
        return made

    into = torch.zeros(2, 20)
    turns = Turns.up_to([20, 20], images.device)
    for _ in scored(classifier, SHAPE, turns, make, lambda logits, picture: logits[:, 0], into):
        pass
    gc.unfreeze()
    assert len(alive) == 10


def test_more_than_one_number_of_a_copy_may_be_kept() -> None:
    classifier, images = classifier_of("cnn"), pictures(2, (32, 32))
    into = torch.zeros(2, 3, 4)
    turns = Turns.up_to([3, 1], images.device)
    for _ in scored(classifier, SHAPE, turns, lambda picture, _: images[picture], lambda logits, _: logits, into):
        pass
    assert into[0].abs().sum(1).gt(0).all()
    assert into[1].abs().sum(1).gt(0).tolist() == [True, False, False]


def test_where_memory_runs_out_the_same_copies_come_again(chunk_of: Callable[[int], None]) -> None:
    chunk_of(8)
    seen: list[tuple[int, int]] = []

    def look(picture: Tensor, copies: Sequence[int]) -> None:
        if len(copies) > 2:
            raise torch.OutOfMemoryError("so many at once")
        seen.extend(zip(picture.tolist(), copies))

    turns = Turns.up_to([5, 4], torch.device("cpu"))
    assert list(in_turns(classifier_of("cnn"), SHAPE, turns, look))[-1] == 9
    assert seen == pairs(turns)


@pytest.mark.parametrize(
    ("name", "options"),
    [("occlusion", {"window": 0.1, "stride": 0.25}), ("smoothgrad", {"samples": 200})],
)
def test_memory_does_not_grow_with_the_copies(name: str, options: dict[str, float], chunk_of: Callable) -> None:
    """No tensor that is alive between two chunks is of the size of all copies."""
    chunk_of(8)
    bound = get_explainer(name).bind(classifier_of("cnn"))
    steps = bound.steps(pictures(1, (32, 32)), [1], bound.explainer.parameters(**options))
    last = None
    for _ in range(12):
        last = next(steps)
    held = [one for one in gc.get_objects() if type(one) is Tensor and one.dim() >= 3 and one.numel() > 60 * 32 * 32]
    assert not [one.shape for one in held if one.shape[-2:] == (32, 32)]
    assert last is not None
    steps.close()  # ty: ignore[missing-attribute]


def test_a_scorer_may_stand_on_another_device(small_cnn: Classifier) -> None:
    images = pictures(1, (32, 32))
    found = scores(small_cnn, images, 2, lambda picture, _: images[picture], lambda logits, _: logits[:, 1])
    assert found.device == images.device
    assert torch.equal(found[:, 0], found[:, 1])
