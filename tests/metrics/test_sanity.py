"""Cascading randomisation: what is shuffled, in what order, and what that does to maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core import randomised as randomised_twins
from core.classifier import Classifier
from core.metrics.metric import get_metric
from core.metrics.sanity import stages
from core.preprocessing import Preprocessing
from core.randomised import cascade, kept_twin, pink_pictures, randomised
from core.runtime.folding import unfolded
from core.runtime.recent import Recent
from tests.conftest import small_module
from tests.explainers.conftest import classifier_of, pictures
from tests.metrics.conftest import case_with, made_case

CPU = torch.device("cpu")


def changed(before: torch.nn.Module, after: torch.nn.Module) -> set[str]:
    was, now = unfolded(before).state_dict(), unfolded(after).state_dict()
    return {key for key, value in now.items() if not torch.equal(value, was[key])}


def test_the_cascade_goes_from_the_logits_down() -> None:
    assert cascade(classifier_of("cnn").module) == ["head", "second", "first"]
    vit = cascade(classifier_of("vit").module)
    assert vit[0] == "heads.head"
    assert vit[-3:] == ["encoder", "conv_proj", ""]  # position, patches, class token
    assert vit.index("encoder.layers.encoder_layer_1.mlp.0") < vit.index("encoder.layers.encoder_layer_0.mlp.3")


def test_each_stage_shuffles_more_and_measures_only_the_statistics_above() -> None:
    classifier, images = classifier_of("cnn"), pictures(4, (32, 32))
    weights = [{"head.weight"}, {"head.weight", "second.weight"}, {"head.weight", "second.weight", "first.weight"}]
    statistics = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    for modules, expected in enumerate(weights, start=1):
        twin = randomised(classifier, images, modules=modules)
        assert {key for key in changed(classifier.module, twin.module) if "weight" in key} == expected
        # registered after the second convolution, so it is measured again once that one is shuffled
        assert (changed(classifier.module, twin.module) - expected == statistics) == (modules > 1)
        assert not any(part.training for part in twin.module.modules())
    whole, all_stages = randomised(classifier, images), randomised(classifier, images, modules=3)
    assert not changed(whole.module, all_stages.module)
    assert whole.fingerprint == all_stages.fingerprint != classifier.fingerprint


def test_norms_forget_their_scale_and_shift() -> None:
    """A trained shift far below zero would silence a layer under shuffled weights: pictures must differ still."""
    module = small_module("cnn")
    with torch.no_grad():
        module.norm.bias.fill_(-20.0)
    frame = Preprocessing(resize=(32, 32), crop=(32, 32))
    classifier, images = Classifier(module, preprocessing=frame, device="cpu"), pictures(4, (32, 32))
    twin = randomised(classifier, images)
    assert float(twin.logits(images).std(0).max()) > 1e-3
    norm = unfolded(twin.module).norm
    assert float(norm.bias.abs().max()) == 0
    assert float(unfolded(classifier.module).norm.bias[0]) == -20
    assert not norm.weight.requires_grad


@pytest.mark.slow
def test_edges_score_one_and_gradients_notice() -> None:
    metric = get_metric("randomisation")
    for kind in ("cnn", "vit"):
        assert torch.allclose(metric.score(made_case(kind, explainer="edges")), torch.ones(3))
        assert (metric.score(made_case(kind, explainer="integrated-gradients")) < 0.8).all()


def test_a_map_that_goes_flat_scores_zero_and_a_broken_one_nan() -> None:
    values = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))

    def explain(classifier: object, images: Tensor) -> Tensor:
        after = values.clone()
        after[0], after[1, 0, 0] = 0.0, float("nan")
        return after

    scores = get_metric("randomisation").score(case_with(values, explain=explain))
    assert scores[:1].tolist() == [0]
    assert scores[1].isnan()
    assert float(scores[2]) == pytest.approx(1)


def test_twins_are_kept_and_few(monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = [], randomised_twins.randomised
    monkeypatch.setattr(randomised_twins, "_twins", Recent(randomised_twins.KEPT))
    monkeypatch.setattr(randomised_twins, "randomised", lambda *a, **k: made.append(a) or make(*a, **k))
    classifier = classifier_of("cnn")
    assert kept_twin(classifier, 1, 0) is kept_twin(classifier, 1, 0)
    others = [kept_twin(classifier, 1, seed) for seed in range(1, 8)]
    assert len({twin.fingerprint for twin in others}) == 7
    assert (len(made), len(randomised_twins._twins)) == (8, randomised_twins.KEPT)


def test_stages_run_from_the_last_module_to_all() -> None:
    assert (stages(54, 3), stages(3, 3), stages(54, 2)) == ([1, 27, 54], [1, 2, 3], [1, 54])
    assert (stages(10, 1), stages(1, 3), stages(2, 20)) == ([10], [1], [1, 2])


def test_pink_pictures_are_pictures_and_always_the_same() -> None:
    some = pink_pictures((32, 48), 3, CPU)
    assert some.shape == (16, 3, 32, 48)
    assert (float(some.min()) >= 0, float(some.max()) <= 1) == (True, True)
    assert torch.equal(some, pink_pictures((32, 48), 3, CPU))
    assert not torch.equal(some, pink_pictures((32, 48), 4, CPU))
