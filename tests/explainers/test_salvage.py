"""Salvage: subsets, objectives, exact sums, files that belong to one classifier, controls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from core.attribution import Attribution
from core.choice import Choice, Trained
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import get_explainer
from core.explainers.games.coalitions import size_weights
from core.explainers.games.players import cells
from core.explainers.learned.files import about_trained, load_trained, save_trained, trained_for
from core.explainers.learned.model import SalvageModel, load_model
from core.explainers.learned.objective import Objective
from core.explainers.learned.salvage import SalvageParameters, salvage_model
from core.explainers.learned.single import SingleParameters
from core.explainers.learned.subsets import (
    Likelihood,
    balance,
    drawn,
    informed_subsets,
    shapley_subsets,
    uniform_subsets,
)
from core.fills import fill_plate
from core.learning import SAMPLERS
from core.randomised import kept_twin
from core.regions import Regions
from core.runtime.randomness import generator
from tests.conftest import small_classifier
from tests.explainers.conftest import KINDS, agree, classifier_of, pictures, plain, thirds
from tests.trained import write_explainer


def everybody(pictures: int, players: int) -> Tensor:
    return torch.ones(pictures, players, dtype=torch.bool)


def skewed(players: int = 12, strength: float = 6.0) -> Likelihood:
    """One player decides: with it the target is nearly certain, without it nearly excluded."""
    values = torch.zeros(1, players, 2)
    values[0, 0, 1] = strength
    return Likelihood(values, torch.tensor([strength / 2, 0.0]), torch.tensor([1]), 1.0, sigmoid=False)


# --- subsets


def test_kernel_subsets_have_the_kernels_sizes_and_come_with_their_complements() -> None:
    present = shapley_subsets(everybody(1, 7), 40_000, generator(1))[0]
    assert torch.equal(present[::2], ~present[1::2])
    sizes = torch.bincount(present.sum(1), minlength=8).double() / len(present)
    assert sizes[0] == sizes[7] == 0
    assert torch.allclose(sizes[1:7], torch.from_numpy(size_weights(7, "shapley")), atol=0.01)
    assert torch.allclose(present.float().mean(0), torch.full((7,), 0.5))


def test_uniform_subsets_have_every_size_alike() -> None:
    sizes = uniform_subsets(everybody(1, 4), 40_000, generator(1))[0].sum(1)
    assert torch.allclose(torch.bincount(sizes, minlength=5) / 40_000, torch.full((5,), 0.2), atol=0.01)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_players_that_a_picture_does_not_have_are_never_present(sampler: str) -> None:
    exists = torch.tensor([[True] * 6, [True] * 3 + [False] * 3, [True] + [False] * 5])
    likelihood = Likelihood(torch.randn(3, 6, 4), torch.zeros(4), torch.tensor([0, 1, 2]), 1.0, sigmoid=False)
    subsets = drawn(sampler, exists, likelihood, 16, generator(2))
    assert subsets.present.shape == (3, 16, 6)
    assert subsets.weights.shape == (3, 16)
    assert not (subsets.present & ~exists[:, None]).any()
    again = drawn(sampler, exists, likelihood, 16, generator(2))
    assert torch.equal(subsets.present, again.present)


def test_informed_subsets_meet_unlikely_and_likely_pictures_alike() -> None:
    """Where eleven of twelve players each suffice, the kernel hardly ever leaves all of them out."""
    values = torch.zeros(1, 12, 2)
    values[0, :11, 1] = 8.0
    likelihood = Likelihood(values, torch.tensor([4.0, 0.0]), torch.tensor([1]), 1.0, sigmoid=False)
    kernel = balance(likelihood(shapley_subsets(everybody(1, 12), 512, generator(3))))
    informed = balance(likelihood(informed_subsets(everybody(1, 12), likelihood, 512, generator(3)).present))
    assert kernel[0] < 0.15
    assert informed[0] > 1.5 * kernel[0]
    assert abs(informed[0] - informed[2]) < abs(kernel[0] - kernel[2])


def test_unbiased_weights_bring_back_the_kernels_expectation() -> None:
    """Of any function of the likelihood's bin; without them it is another."""
    likelihood = skewed()

    def mean(unbiased: bool) -> float:
        total = 0.0
        for n in range(200):
            subsets = informed_subsets(everybody(1, 12), likelihood, 32, generator(4, n), unbiased)
            values = likelihood(subsets.present) * (subsets.present.sum(-1) < 3)  # where bins are not alike
            total += float((values * subsets.weights).mean())
        return total / 200

    kernel = shapley_subsets(everybody(1, 12), 100_000, generator(5))
    wanted = float((likelihood(kernel) * (kernel.sum(-1) < 3)).mean())
    assert mean(unbiased=True) == pytest.approx(wanted, rel=0.1)


# --- the objective


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_with_nobody_present_the_prediction_is_exactly_the_null(temperature: float, sigmoid: bool) -> None:
    objective = Objective(temperature=temperature, sigmoid=sigmoid, normalise=True)
    empty = torch.tensor([0.7, 0.2, 0.1])
    values = objective.values(torch.randn(2, 5, 3), objective.null(empty), torch.randn(2, 3))
    nobody = objective.predicted(values, objective.null(empty), torch.zeros(2, 1, 5, dtype=torch.bool))
    assert torch.allclose(objective.probabilities(nobody)[:, 0], empty.expand(2, 3), atol=1e-5)


@pytest.mark.parametrize("divergence", ["kl", "js", "mse"])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_divergences_are_nothing_where_the_distributions_are_equal(divergence: str, sigmoid: bool) -> None:
    objective = Objective(divergence=divergence, sigmoid=sigmoid)
    logits = torch.randn(4, 3)
    p = objective.probabilities(logits)
    assert torch.allclose(objective.loss(logits, p), torch.zeros(4), atol=1e-5)
    assert (objective.loss(logits + torch.tensor([1.0, 0.0, -1.0]), p) > 1e-3).all()


def test_js_is_symmetric_and_cross_entropy_is_kl_and_the_entropy() -> None:
    one, other = torch.randn(6, 4), torch.randn(6, 4)
    js, kl, ce = (Objective(divergence=name) for name in ("js", "kl", "cross-entropy"))
    assert torch.allclose(js.loss(one, other.softmax(-1)), js.loss(other, one.softmax(-1)), atol=1e-5)
    p = other.softmax(-1)
    assert torch.allclose(ce.loss(one, p), kl.loss(one, p) - (p * p.log()).sum(-1), atol=1e-5)


def test_the_identity_sums_to_the_whole() -> None:
    """ViT-Shapley's efficiency: the null and all values are the full picture's probabilities."""
    objective = Objective("identity", "mse")
    whole, null = torch.rand(2, 3), torch.rand(3)
    values = objective.values(torch.randn(2, 5, 3), null, torch.randn(2, 3), whole)
    assert torch.allclose(null + values.sum(1), whole, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_normalised_values_predict_what_the_network_itself_says_whoever_is_padding(
    temperature: float, sigmoid: bool
) -> None:
    objective = Objective(temperature=temperature, sigmoid=sigmoid, normalise=True)
    own, null = torch.randn(2, 3), objective.null(torch.tensor([0.7, 0.2, 0.1]))
    exists = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    values = objective.values(torch.randn(2, 5, 3), null, own, exists=exists)
    assert (values[1, 3:] == 0).all()
    found = objective.probabilities(objective.predicted(values, null, exists[:, None]))[:, 0]
    assert torch.allclose(found, objective.probabilities(own), atol=1e-5)
    free = Objective(temperature=temperature, sigmoid=sigmoid).values(torch.zeros(2, 5, 3), null, own)
    assert (free == 0).all()


# --- the explainer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("logits", ["softmax", "one-logit"])
def test_the_sum_of_values_and_the_null_is_the_explainers_own_logit_for_every_class(kind: str, logits: str) -> None:
    classifier, images = classifier_of(kind, logits), pictures(2, (32, 32))
    model = salvage_model(classifier)
    values = model.values(images)
    assert values.shape == (2, 16, len(classifier.labels))
    assert torch.allclose(model.logits(values)[:, 0], model.null + values.sum(1), atol=1e-4)
    if logits == "softmax":
        assert torch.allclose(values.sum(-1), torch.zeros(2, 16), atol=1e-5)
    bound = get_explainer("salvage").bind(classifier)
    for target in range(len(classifier.labels)):
        for b, one in enumerate(bound.explain(images, [target])):
            assert one.forward_passes == 1
            assert one.players is not None
            assert agree(one.players.values, values[b, :, target].cpu(), 1e-4)
            assert float(one.values.sum()) == pytest.approx(float(values[b, :, target].sum()), abs=1e-3)


def test_segments_have_values_of_their_own_and_padding_has_none() -> None:
    classifier, images = classifier_of("cnn"), pictures(2, (32, 32))
    three = thirds((32, 32))
    regions = Regions.of([three, torch.stack([three[0], three[1] + three[2]])], [("a", "b", None), ("a", "rest")])
    bound = get_explainer("salvage").bind(classifier)
    both = bound.explain(images, [1], SalvageParameters(regions="segments"), regions=regions)
    alone = bound.explain(images[1:], [1], SalvageParameters(regions="segments"), regions=regions.masks[1:, :2])
    assert both[0].players.names == ("a", "b", None)
    assert both[1].players.names == ("a", "rest")
    assert agree(both[1].players.values, alone[0].players.values, 1e-4)


def test_the_control_is_the_same_network_with_its_own_head_shuffled() -> None:
    classifier, images = classifier_of("vit"), pictures(1, (32, 32))
    twin = kept_twin(classifier, 3, 0)
    assert twin.shuffled_from == classifier.fingerprint
    own = salvage_model(classifier)
    control = salvage_model(twin)
    for (name, value), (_, shuffled) in zip(
        own.network.head.named_parameters(), control.network.head.named_parameters()
    ):
        assert torch.equal(value.flatten().sort().values, shuffled.flatten().sort().values), name
    mine = dict(own.network.module.named_parameters())
    assert all(torch.equal(value, mine[name]) for name, value in control.network.module.named_parameters())
    bound = get_explainer("salvage").bind(classifier)
    assert not agree(bound.explain(images, [1])[0].values, bound.on(twin).explain(images, [1])[0].values, 0.1)


# --- files


@pytest.fixture
def classifier() -> Classifier:
    return small_classifier("cnn", 5, (32, 32))  # of which no explainer is trained


def test_an_explainer_of_another_classifier_is_refused(classifier: Classifier, tmp_path: Path) -> None:
    path = write_explainer(classifier, tmp_path / "mine.safetensors")
    with pytest.raises(UserError, match="tells nothing of another classifier"):
        load_model(path, classifier_of("vit"))
    with pytest.raises(UserError, match="tells nothing of another classifier"):
        Choice.parse(f"salvage@{path}").bind(classifier_of("cnn"))


def test_damaged_and_foreign_files_end_in_a_sentence(classifier: Classifier, tmp_path: Path) -> None:
    path = write_explainer(classifier, tmp_path / "mine.safetensors")
    whole = path.read_bytes()
    for name, data in (("cut", whole[: len(whole) // 2]), ("none", b""), ("noise", b"\0" * 4096), ("text", b"{}")):
        bad = tmp_path / f"{name}.safetensors"
        bad.write_bytes(data)
        with pytest.raises(UserError):
            load_model(bad, classifier)
        with pytest.raises(UserError):
            Choice.parse(f"salvage@{bad}").bind(classifier)
    with pytest.raises(UserError, match="There is no"):
        Choice.parse(f"salvage@{tmp_path / 'nothing'}")
    about, tensors = load_trained(path, classifier, "salvage")
    less = {name: value for name, value in tensors.items() if name != "head.values.weight"}
    save_trained(tmp_path / "less.safetensors", about, less)
    with pytest.raises(UserError, match="is not whole"):
        load_model(tmp_path / "less.safetensors", classifier)
    save_trained(tmp_path / "other.safetensors", replace(about, explainer="masking"), tensors)
    with pytest.raises(UserError, match="was trained for masking"):
        load_model(tmp_path / "other.safetensors", classifier)


def test_a_file_of_another_form_is_refused(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.explainers.learned.files.FORMAT", 99)
    path = write_explainer(classifier, tmp_path / "later.safetensors")
    monkeypatch.undo()
    with pytest.raises(UserError, match="in another form"):
        about_trained(path)


def test_explainers_are_found_by_fingerprint_and_their_contents_are_part_of_a_choices_key(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SATCHEL_EXPLAINERS", str(tmp_path))
    explainer, plain = get_explainer("salvage"), Choice("salvage")
    assert "No Salvage explainer is trained" in explainer.supports(classifier)
    assert plain.found(classifier) == plain
    path = write_explainer(classifier, tmp_path / "any name.safetensors")
    assert explainer.supports(classifier) is None
    assert trained_for("salvage", classifier) == {"patches": path}
    found = plain.found(classifier)
    assert found.weights == Trained.of(path)
    assert found.key != plain.key
    write_explainer(classifier, path, seed=1)
    assert plain.found(classifier).key != found.key
    bound, segments = explainer.bind(classifier), SalvageParameters(regions="segments")
    with pytest.raises(UserError, match="trained on patches, not on segments"):
        bound.explain(pictures(1, (32, 32)), [0], segments, regions=thirds((32, 32)))


def test_a_file_settles_its_players(classifier: Classifier, tmp_path: Path) -> None:
    path = write_explainer(classifier, tmp_path / "s.safetensors", "segments")
    choice = Choice.parse(f"salvage@{path}")
    assert choice.parameters == SalvageParameters(regions="segments")
    assert choice == Choice.parse(f"salvage:weights={path}")
    assert isinstance(load_model(path, classifier), SalvageModel)


# --- one picture, without training


def single(classifier: Classifier, images: Tensor, targets: list[int], **options: object) -> list[Attribution]:
    parameters = get_explainer("salvage-single").parameters.parse(options)
    return get_explainer("salvage-single").bind(classifier).explain(images, targets, parameters)


@pytest.mark.parametrize("kind", KINDS)
def test_one_pictures_values_meet_both_ends_exactly(kind: str) -> None:
    classifier, images = classifier_of(kind), pictures(2, (32, 32))
    with torch.no_grad():
        logits = classifier.logits(torch.cat([images, fill_plate(images, "mean")]))
    centred = logits - logits.mean(1, keepdim=True)
    for target in (0, 3):
        for b, one in enumerate(single(classifier, images, [target], samples=32, grid=3)):
            assert float(one.values.sum()) == pytest.approx(
                float(centred[b, target] - centred[2 + b, target]), abs=1e-4
            )
            assert one.forward_passes == 34


def test_where_log_odds_are_a_sum_over_patches_one_pictures_values_are_the_shapley_values() -> None:
    """And so they are whatever the sampler, and whichever subsets it draws."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))
    with torch.no_grad():
        module[1].weight.copy_(torch.randn(3, 768, generator=torch.Generator().manual_seed(5)) / 8)
    classifier, images = plain(module, 16), pictures(1, (16, 16))
    exact = get_explainer("exact-shapley").bind(classifier)
    (wanted,) = exact.explain(images, [1], contrasts=[2])
    bound = get_explainer("salvage-single").bind(classifier)
    for sampler in SAMPLERS:
        parameters = SingleParameters(samples=200, grid=3, sampler=sampler)
        (found,) = bound.explain(images, [1], parameters, contrasts=[2], seeds=[SAMPLERS.index(sampler)])
        assert agree(found.values, wanted.values, 2e-2)


def test_more_subsets_predict_unseen_ones_better() -> None:
    """By the KL divergence from what the classifier says, on subsets that were not fitted."""
    classifier, images = classifier_of("vit"), pictures(1, (32, 32))
    present = shapley_subsets(everybody(1, 16), 400, generator("unseen"))[0]
    plate = fill_plate(images, "mean")
    kept = present[:, cells((32, 32), 4, 4)].float()[:, None]
    with torch.no_grad():
        wanted = classifier.logits(torch.lerp(plate.expand(400, -1, -1, -1), images.expand(400, -1, -1, -1), kept))
        empty = classifier.logits(plate)

    def error(samples: int) -> float:
        values = torch.stack([
            single(classifier, images, [target], samples=samples, grid=4)[0].players.values for target in range(4)
        ], 1)  # fmt: skip
        return float(Objective().loss(empty + present.float() @ values, wanted.softmax(-1)).mean())

    assert error(400) < 0.5 * error(16)
