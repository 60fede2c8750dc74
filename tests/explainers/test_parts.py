"""A trained explainer's prediction as a sum of parts, and what is said without some of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from core.classifier import Classifier
from core.explainers.learned.model import load_model
from core.explainers.learned.parts import REST, Sum
from core.fills import GREY
from core.preprocessing import Preprocessing
from core.regions import Regions
from tests.trained import write_explainer

SIDE = 32


def small(seed: int = 0) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.Softplus(), nn.Conv2d(8, 8, 3, 2, 1), nn.Softplus(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip
    return Classifier(module, labels=tuple("abcd"), preprocessing=Preprocessing(SIDE, crop=(SIDE, SIDE)), device="cpu")


def halves() -> Regions:
    """Two wings, an eye, and a part without a name."""
    masks = torch.zeros(4, SIDE, SIDE)
    for n in range(4):
        masks[n, n * 8 : (n + 1) * 8] = 1
    return Regions.of([masks], [["wing", "eye", "wing", None]])


@pytest.fixture(params=["patches", "segments"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Classifier, Sum]:
    classifier = small()
    model = load_model(write_explainer(classifier, tmp_path / "e.safetensors", request.param), classifier)
    return classifier, Sum.of(model, torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)), halves())


@pytest.mark.parametrize("most", [1, 3, 100])
def test_the_null_and_the_parts_are_the_logit(made: tuple[Classifier, Sum], most: int) -> None:
    _, found = made
    for target in range(4):
        total = found.total(target, most)
        assert total.null + sum(part.value for part in total.parts) == pytest.approx(total.logit, abs=1e-4)
        assert sorted(p for part in total.parts for p in part.players) == list(range(len(found.values)))
        assert total.probability == pytest.approx(float(found.predicted()[target]), abs=1e-6)
        assert total.empty == pytest.approx(float(found.predicted(range(len(found.values)))[target]), abs=1e-6)
        sizes = [abs(part.value) for part in total.parts[:most]]
        assert sizes == sorted(sizes, reverse=True)
    model = found.model
    for one in (replace(model, objective=replace(model.objective, temperature=3.0)),
                replace(model, objective=replace(model.objective, sigmoid=True))):  # fmt: skip
        total = Sum.of(one, found.image, halves()).total(2, most)
        assert total.null + sum(part.value for part in total.parts) == pytest.approx(total.logit, abs=1e-4)
    everyone = [found.total(target).logit for target in range(4)]
    assert torch.tensor(everyone).softmax(0)[1] == pytest.approx(found.total(1).probability, abs=1e-5)


def test_parts_have_names(tmp_path: Path) -> None:
    classifier = small()
    by = {}
    for players in ("patches", "segments"):
        model = load_model(write_explainer(classifier, tmp_path / f"{players}.safetensors", players), classifier)
        by[players] = Sum.of(model, torch.rand(3, SIDE, SIDE), halves())
    parts = by["segments"].total(0).parts
    assert {part.name: part.players for part in parts} == {"wing": (0, 2), "eye": (1,), REST: (3,)}
    patches = by["patches"].total(0, 3).parts
    assert patches[-1].name == "all other patches"
    assert len(patches[-1].players) == 13
    (first, *_) = by["patches"].total(0, 16).parts
    assert first.name == f"row {first.players[0] // 4 + 1}, column {first.players[0] % 4 + 1}"


def test_what_is_absent_is_filled_and_the_classifier_is_asked_about_that_very_picture(
    made: tuple[Classifier, Sum],
) -> None:
    classifier, found = made
    assert torch.equal(found.picture(), found.image)
    nothing = found.picture(range(len(found.values)))
    assert torch.allclose(nothing, torch.tensor(GREY).view(3, 1, 1).expand_as(nothing), atol=1e-6)
    some = found.picture([0])
    changed = (some != found.image).any(0)
    assert changed[0, 0]
    assert not changed[-1, -1]
    expected = classifier.probabilities(classifier.logits(some[None]))[0]
    assert torch.allclose(found.asked(classifier, [0]), expected)
    assert not torch.allclose(found.predicted([0]), found.predicted())
