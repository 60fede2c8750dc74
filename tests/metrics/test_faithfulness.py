"""Known answers: curves on a linear model, patches, ties, another scorer, and the picture times the map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from core.explainer import get_explainer
from core.fills import PLATES, fill_plate
from core.metrics.faithfulness import curve
from core.metrics.metric import Case, get_metric
from core.metrics.ranking import average_ranks, descending, spearman
from core.regions import Regions
from tests.explainers.conftest import FRAMES, classifier_of
from tests.metrics.conftest import case_with, linear_world, made_case


@pytest.mark.slow
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("fill", PLATES)
def test_curves_start_and_end_where_they_must(fill: str, frame: str) -> None:
    case = made_case("cnn", frame=frame)
    logits = case.classifier.logits(torch.cat([fill_plate(case.images, fill), case.images]))
    ends = case.classifier.probabilities(logits)[torch.arange(6), case.targets.repeat(2)].detach().view(2, 3)
    for patch in (1, 5, 8, 64):
        inserted = curve(case, inserted=True, steps=4, fill=fill, patch=patch)
        deleted = curve(case, inserted=False, steps=4, fill=fill, patch=patch)
        assert torch.allclose(inserted[:, [0, -1]].T, ends, atol=1e-6)
        assert torch.allclose(deleted[:, [0, -1]].T, ends.flip(0), atol=1e-6)


def test_the_sets_are_nested_and_in_the_maps_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight steps over a map of 16 patches: each set is the last one and the two next best patches."""
    classifier, images = classifier_of("cnn"), torch.ones(1, 3, 32, 32)
    patches = torch.randperm(16, generator=torch.Generator().manual_seed(0)).float().view(1, 4, 4)
    values = patches.repeat_interleave(8, 1).repeat_interleave(8, 2)
    seen, through = [], classifier.logits

    def watched(batch: torch.Tensor) -> torch.Tensor:
        seen.extend(batch[:, 0] > 0.5)
        return through(batch)

    monkeypatch.setattr(classifier, "logits", watched)
    curve(case_with(values, images=images), inserted=True, steps=8, fill="black", patch=8)
    assert len(seen) == 9
    for k, shown in enumerate(seen):
        assert torch.equal(shown, values[0] >= 16 - 2 * k)


def test_no_more_steps_than_patches_and_the_area_is_the_plain_mean() -> None:
    case, metric = made_case(), get_metric("insertion")
    whole = curve(case, inserted=True, steps=1000, fill="blur", patch=8)
    assert whole.shape == (3, 17)
    assert torch.allclose(metric.score(case, metric.parameters(steps=1000, patch=8)), whole.mean(1))
    both = get_metric("insertion-deletion").score(case)
    assert torch.allclose(both, metric.score(case) - get_metric("deletion").score(case), atol=1e-6)


def test_a_linear_models_curve_is_the_sum_of_its_effects() -> None:
    classifier, images, effects = linear_world()
    truth = effects("black")
    got = curve(case_with(truth, classifier=classifier, images=images), inserted=False, steps=24, fill="black", patch=1)
    whole = classifier.logits(images)[:, 1].detach()
    gone = truth.flatten(1).sort(1, descending=True).values.cumsum(1)[:, 23::24]
    assert torch.allclose(got[:, 1:], (whole.view(-1, 1) - gone).sigmoid(), atol=1e-4)


def test_another_scorer_scores_masked_pictures() -> None:
    case, metric = made_case("cnn"), get_metric("deletion")
    other = replace(case, scorer=classifier_of("vit"))
    assert torch.equal(metric.score(other), metric.score(replace(case, classifier=classifier_of("vit"))))
    assert not torch.allclose(metric.score(other), metric.score(case))
    faithful = get_metric("infidelity")
    assert torch.equal(faithful.score(other), faithful.score(case))


def test_only_as_many_pictures_at_once_as_the_chunk(
    monkeypatch: pytest.MonkeyPatch, chunk_of: Callable[[int], None]
) -> None:
    chunk_of(5)
    case, largest = made_case(), 0
    through = case.classifier.logits

    def watched(batch: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, len(batch))
        return through(batch)

    monkeypatch.setattr(case.classifier, "logits", watched)
    for name in ("insertion", "deletion", "average-drop", "infidelity"):
        get_metric(name).score(case)
    assert largest == 5


def test_average_drop_and_increase_on_a_model_with_a_known_answer() -> None:
    """The linear model on pictures times maps, by hand."""
    classifier, images, effects = linear_world()
    maps = effects("black")
    case = case_with(maps, classifier=classifier, images=images)
    strength = (maps.clamp(min=0) / maps.amax((1, 2), keepdim=True)).unsqueeze(1)
    with torch.no_grad():
        whole, masked = (classifier.logits(x).softmax(1)[:, 1] for x in (images, images * strength))
    drop, increase = get_metric("average-drop"), get_metric("average-increase")
    assert torch.allclose(drop.score(case), 100 * (whole - masked).clamp(min=0) / whole, atol=1e-3)
    assert torch.equal(increase.score(case), (masked > whole).float())
    worst = case_with(-maps, classifier=classifier, images=images)
    assert (drop.score(worst) > 50).all()
    nothing_for_it = case_with(-maps.abs() - 1, classifier=classifier, images=images)
    assert drop.score(nothing_for_it).isnan().all()
    assert increase.score(nothing_for_it).isnan().all()


@pytest.mark.slow
def test_the_true_effects_have_no_infidelity() -> None:
    classifier, images, effects = linear_world()
    metric = get_metric("infidelity")
    for fill in PLATES:
        case = case_with(effects(fill), classifier=classifier, images=images)
        for scaled in (False, True):
            assert metric.score(case, metric.parameters(fill=fill, scaled=scaled)).max() < 1e-8
        triple = replace(case, values=3 * case.values)
        assert metric.score(triple, metric.parameters(fill=fill)).max() < 1e-8
        assert metric.score(triple, metric.parameters(fill=fill, scaled=False)).min() > 1e-3


def test_ties_are_ordered_by_the_pictures_own_seed() -> None:
    values = torch.tensor([[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]])
    orders = torch.cat([descending(values, [seed]) for seed in range(40)])
    assert (orders[:, 0] == 4).all()
    assert (orders[:, 1] == 0).all()
    assert all(sorted(order) == list(range(8)) for order in orders.tolist())
    assert {order[2] for order in orders.tolist()} == {1, 2, 3, 5, 6, 7}
    assert torch.equal(descending(values.expand(2, -1), [3, 9]), torch.cat([orders[3:4], orders[9:10]]))


def test_ranks_and_their_correlation_are_scipys() -> None:
    from scipy.stats import rankdata, spearmanr

    a = torch.randint(0, 6, (4, 50), generator=torch.Generator().manual_seed(0)).float()
    b = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(average_ranks(a), torch.from_numpy(rankdata(a, axis=1)))
    expected = torch.tensor([spearmanr(x, y).statistic for x, y in zip(a, b)])
    assert torch.allclose(spearman(a, b), expected.double())
    a[1] = 2.0
    assert spearman(a, b).isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize(("name", "options", "exact"), [
    ("integrated-gradients", {}, True), ("integrated-gradients", {"reduction": "signed"}, False),
    ("occlusion", {"window": 0.2, "stride": 0.5}, False),
])  # fmt: skip
def test_a_density_foretells_what_a_square_costs_as_it_is(name: str, options: dict, exact: bool) -> None:
    """On a linear model, without a factor that makes up for the unit; an intensity needs one."""
    classifier, images, _ = linear_world()
    method = get_explainer(name)
    case = Case.of(method.bind(classifier), images, [1], method.parameters(**options), seeds=(1, 2, 3))
    assert [one.unit for one in case.made] == ["density" if exact else "intensity"] * 3
    metric = get_metric("infidelity")
    wrong = metric.score(case, metric.parameters(scaled=False, samples=20))
    nothing = metric.score(replace(case, values=1e-9 * case.values), metric.parameters(scaled=False, samples=20))
    assert bool((wrong < 1e-4 * nothing).all()) == exact


def test_a_case_may_be_of_segments_that_differ_from_picture_to_picture() -> None:
    """They are removed again wherever the explainer is asked again."""
    classifier, images, _ = linear_world(2)
    left = torch.zeros(24, 24)
    left[:, :9] = 1
    regions = Regions.of([torch.stack([left, 1 - left]), torch.ones(1, 24, 24)])
    method = get_explainer("occlusion")
    asked = method.parameters(regions="segments")
    case = Case.of(method.bind(classifier), images, [1], asked, regions=regions)
    assert [len(one.players.values) for one in case.made] == [2, 1]
    assert torch.equal(case.explain(classifier, images), case.values)
    sums = torch.tensor([float(one.players.values.sum()) for one in case.made])
    assert torch.allclose(case.values.sum((1, 2)), sums, rtol=1e-4, atol=1e-5)
