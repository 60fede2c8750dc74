"""What every registered metric promises."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.explainer import get_explainer
from core.metrics.metric import FAMILIES, Case, get_metric, metrics, parse_metric, register
from tests.explainers.conftest import FRAMES, LOGITS, classifier_of, pictures
from tests.metrics.conftest import NAMES, case_with, linear_world, made_case, quickly, some_masks

every_metric = pytest.mark.parametrize("name", NAMES)
KINDS = ("cnn", "vit")


def same(a: torch.Tensor, b: torch.Tensor, tolerance: float = 2e-4) -> bool:
    return torch.allclose(a, b, rtol=tolerance, atol=1e-5, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "logits", "frame"), list(product(KINDS, LOGITS, FRAMES)))
@every_metric
def test_one_finite_number_a_picture_and_nothing_else_changes(name: str, kind: str, logits: str, frame: str) -> None:
    metric, case = metrics()[name], made_case(kind, logits, frame)
    before = case.values.clone()
    states = torch.get_rng_state(), random.getstate()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is watched
    scores = metric.score(case, quickly(metric))
    assert (scores.shape, scores.dtype, scores.device.type) == ((3,), torch.float32, "cpu")
    assert torch.isfinite(scores).all()
    assert not scores.requires_grad
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(case.values, before)
    assert torch.is_grad_enabled()


@pytest.mark.slow
@every_metric
def test_flat_and_broken_maps_score_nan_and_spare_their_neighbours(name: str) -> None:
    metric, good = metrics()[name], made_case(explainer="occlusion")
    whole = metric.score(good, quickly(metric))
    for fill in (0.0, 1.0, -2.0):
        values = good.values.clone()
        values[1] = fill
        scores = metric.score(replace(good, values=values), quickly(metric))
        assert scores[1].isnan()
        assert same(scores[[0, 2]], whole[[0, 2]])
    for broken in (float("nan"), float("inf"), -float("inf")):
        values = good.values.clone()
        values[1, 3, 3] = broken
        scores = metric.score(replace(good, values=values), quickly(metric))
        assert scores[1].isnan()
        assert same(scores[[0, 2]], whole[[0, 2]])
    assert metric.score(replace(good, values=torch.zeros_like(good.values)), quickly(metric)).isnan().all()


@pytest.mark.slow
@pytest.mark.parametrize("explainer", ["gradient", "smoothgrad", "occlusion"])
@every_metric
def test_a_picture_alone_scores_as_among_others_whatever_the_chunk(
    name: str, explainer: str, chunk_of: Callable[[int], None]
) -> None:
    metric = metrics()[name]
    batches = []
    for size in (1, 5):
        chunk_of(size)
        batches.append(metric.score(made_case(explainer=explainer), quickly(metric)))
    assert same(*batches)
    for b in range(3):
        alone = metric.score(made_case(explainer=explainer, rows=slice(b, b + 1)), quickly(metric))
        assert same(alone, batches[0][b : b + 1])


@pytest.mark.slow
@every_metric
def test_the_seed_matters_only_where_the_metric_says_so(name: str) -> None:
    metric = metrics()[name]
    first, again, other = (
        metric.score(made_case(seeds=seeds), quickly(metric)) for seeds in ((1, 2, 3), (1, 2, 3), (4, 5, 6))
    )
    torch.testing.assert_close(first, again, rtol=1e-4, atol=1e-7)  # last digits depend on the chunks
    assert same(first, other) != metric.random


@every_metric
def test_ties_do_not_break_it_and_are_broken_the_same_way_each_time(name: str) -> None:
    metric, values = metrics()[name], torch.zeros(2, 32, 32)
    values[:, 10:14, 10:14] = 1
    case = case_with(values, masks=some_masks(2, (32, 32)))
    scores = metric.score(case, quickly(metric))
    assert torch.isfinite(scores).all()
    assert torch.equal(scores, metric.score(case, quickly(metric)))


@pytest.mark.slow
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@every_metric
def test_the_callers_mode_does_not_matter(name: str, mode: Callable[[], AbstractContextManager[object]]) -> None:
    metric, case = metrics()[name], made_case()
    expected = metric.score(case, quickly(metric))
    with mode():
        assert same(metric.score(case, quickly(metric)).clone(), expected)


@pytest.mark.parametrize("name", [name for name in NAMES if metrics()[name].needs_mask])
def test_masks_are_asked_for_and_empty_ones_score_nan(name: str) -> None:
    metric, case = metrics()[name], made_case()
    with pytest.raises(UserError, match="where the object is"):
        metric.score(replace(case, masks=None))
    masks = some_masks(3, (32, 32))
    masks[1] = 0
    scores = metric.score(replace(case, masks=masks))
    assert scores.isnan().tolist() == [False, True, False]


@every_metric
def test_masks_are_used_only_where_the_metric_says_so(name: str) -> None:
    metric, case = metrics()[name], made_case()
    if not metric.needs_mask:
        without, given = (metric.score(one, quickly(metric)) for one in (replace(case, masks=None), case))
        assert torch.allclose(without, given, rtol=1e-4, atol=1e-7)  # the chunk may change last digits


@pytest.mark.parametrize("name", [n for n in NAMES if metrics()[n].family == "faithfulness"])
def test_the_truth_beats_chance_and_its_reverse(name: str) -> None:
    """On a linear model, picture by picture, in the direction that the metric states."""
    metric, (classifier, images, effects) = metrics()[name], linear_world()
    defaults = metric.parameters().to_dict()
    truth = effects(defaults.get("fill", defaults.get("deletion_fill")))
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(2)) * truth.std()
    maps = {"truth": truth, "random": noise, "reversed": -truth}
    scores = {
        key: metric.score(case_with(values, classifier=classifier, images=images)) for key, values in maps.items()
    }
    sign = 1 if metric.higher_is_better else -1
    for other in ("random", "reversed"):
        assert (sign * scores["truth"] > sign * scores[other]).all(), scores


@pytest.mark.parametrize("name", [n for n in NAMES if metrics()[n].family == "localisation"])
def test_a_perfect_map_beats_its_inverse(name: str) -> None:
    metric, masks = metrics()[name], some_masks(3, (64, 64))
    scores = [metric.score(case_with(values, masks=masks, target=0)) for values in (masks, 1 - masks)]
    asking = ("official-error", "saliency-metric")  # the classifier, too
    if name not in asking:
        assert torch.allclose(scores[0], torch.full((3,), float(metric.higher_is_better)), atol=1e-5)
    worse = scores[1] < scores[0] if metric.higher_is_better else scores[1] > scores[0]
    assert worse.sum() >= {"pointing-game": 2, **dict.fromkeys(asking, 0)}.get(name, 3)


@every_metric
def test_slow_metrics_and_only_those_explain_again(name: str) -> None:
    metric, case, asked = metrics()[name], made_case(), []

    def explain(classifier, images):
        asked.append(classifier)
        return case.explain(classifier, images)

    metric.score(replace(case, explain=explain), quickly(metric))
    assert bool(asked) == metric.slow


@pytest.mark.slow
@every_metric
def test_every_choice_and_both_ends_of_every_bound_work(name: str) -> None:
    metric, case = metrics()[name], made_case(rows=slice(0, 1))
    for spec in metric.parameters.specs():
        assert spec.help
        values = spec.choices or ((False, True) if spec.kind == "bool" else (spec.low, spec.high))
        for value in values:
            if spec.name in ("samples", "steps") and value == spec.high:
                value = 40  # the dearest end only costs time
            scores = metric.score(case, quickly(metric, **{spec.name: value}))
            assert scores.shape == (1,)
            assert torch.isfinite(scores).all() or spec.name in ("patch", "bins")
    as_text = {key: str(value) for key, value in metric.parameters().to_dict().items()}
    assert metric.parameters.parse(as_text) == metric.parameters()


@every_metric
def test_parameters_of_another_metric_are_refused(name: str) -> None:
    @dataclass(frozen=True)
    class Strange:
        pass

    with pytest.raises(UserError, match="takes"):
        metrics()[name].score(made_case(), Strange())


WRONG = {
    "maps of another size": {"values": torch.zeros(3, 16, 16)},
    "masks of another size": {"masks": torch.zeros(2, 32, 32)},
    "too few seeds": {"seeds": (1,)},
    "too few targets": {"targets": torch.tensor([1])},
    "grey": {"images": torch.zeros(3, 1, 32, 32)},
    "no pictures": {"images": torch.zeros(0, 3, 32, 32)},
    "a scorer of other classes": {"scorer": classifier_of("cnn", "one-logit")},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused(wrong: str) -> None:
    with pytest.raises(UserError):
        replace(made_case(), **WRONG[wrong])


def test_the_registry_names_what_a_person_needs() -> None:
    for name, metric in metrics().items():
        assert (metric.name, metric.family in FAMILIES) == (name, True)
        assert metric.title
        assert metric.reference
        assert metric.summary.endswith((".", "?"))
        assert isinstance(metric.higher_is_better, bool)
    assert [m.family for m in metrics().values()] == sorted((m.family for m in metrics().values()), key=FAMILIES.index)
    with pytest.raises(UserError, match="did you mean 'insertion'"):
        get_metric("insertoin")
    with pytest.raises(ValueError, match="two metrics"):
        register(type("Again", (type(metrics()["insertion"]),), {}))


def test_options_are_parsed_as_those_of_explainers() -> None:
    metric, parameters = parse_metric("insertion: fill=black, steps=7")
    assert (metric.name, parameters.to_dict()) == ("insertion", {"steps": 7, "fill": "black", "patch": 1})
    assert parse_metric("sparseness")[0].name == "sparseness"
    for text, reason in {"insertion:steps": "has no value", "deletion:fill=red": "one of", "rise": "no metric"}.items():
        with pytest.raises(UserError, match=reason):
            parse_metric(text)


def test_a_case_is_made_by_explaining_and_explains_again_alike() -> None:
    method = get_explainer("smoothgrad")
    bound, images = method.bind(classifier_of("cnn")), pictures(2, (32, 32))
    case = Case.of(bound, images, [1], method.parameters(samples=3), seeds=[4])
    expected = torch.stack([one.values for one in bound.explain(images, [1], method.parameters(samples=3), seeds=[4])])
    assert torch.equal(case.values, expected)
    assert torch.equal(case.explain(case.classifier, images), expected)
    assert (case.seeds, case.targets.tolist(), case.signed, case.scored_by) == ((4, 4), [1, 1], False, case.classifier)
    assert not torch.allclose(case.explain(classifier_of("vit"), images), expected)
