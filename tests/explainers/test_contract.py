"""What every registered explainer promises, on a CNN, a ViT and a Swin."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from core.attribution import Attribution
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import Explainer, explainers
from core.fills import fill_plate
from core.parameters import Parameters
from core.preprocessing import Preprocessing
from tests.conftest import small_module
from tests.explainers.conftest import (
    FRAMES,
    KINDS,
    LOGITS,
    agree,
    classifier_of,
    home_of,
    kinds_for,
    pictures,
    plain,
    quick,
    thirds,
    variants,
)

NAMES = list(explainers())
REFUSED = {"attention": {"cnn", "swin"}, "relevance": {"vit", "swin"}}  # kinds of model, by family of explainer
PAIRS = [(name, kind) for name in NAMES for kind in kinds_for(name)]
CASES = [(name, kind, *case) for name, kind in PAIRS for case in product(LOGITS, FRAMES)]
every_explainer = pytest.mark.parametrize("name", NAMES)
every_pair = pytest.mark.parametrize(("name", "kind"), PAIRS)


def hooks(classifier: Classifier) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, table)) for module in classifier.module.modules() for table in tables)


def flags(module: nn.Module) -> list[object]:
    parts = [(name, part.training, getattr(part, "inplace", None)) for name, part in module.named_modules()]
    values = [(name, p.requires_grad, p.grad is None) for name, p in module.named_parameters()]
    return [*parts, *values]


def modes() -> tuple[bool, ...]:
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")


def signed_parameters(explainer: Explainer) -> Parameters | None:
    """Some parameters that make its maps signed, if any do."""
    return next((p for p in (quick(explainer), *variants(explainer)) if explainer.is_signed(p)), None)


def maps_of(result: list[Attribution]) -> torch.Tensor:
    return torch.stack([one.values for one in result])


@every_explainer
def test_only_what_an_explainer_says_it_cannot_do_is_left_out(name: str) -> None:
    explainer = explainers()[name]
    refused = set(KINDS) - set(kinds_for(name))
    assert refused == REFUSED.get(explainer.family, set())
    for kind in refused:
        reason = explainer.supports(classifier_of(kind))
        assert reason is not None
        assert reason.endswith(".")
        with pytest.raises(UserError):
            explainer.bind(classifier_of(kind))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind", "logits", "frame"), CASES)
def test_every_step(
    name: str, kind: str, logits: str, frame: str, monkeypatch: pytest.MonkeyPatch, chunk_of: Callable[[int], None]
) -> None:
    """Shapes, signs, counts and a clean thread after each step, a flat picture among the others."""
    explainer, classifier = explainers()[name], classifier_of(kind, logits, frame)
    bound = explainer.bind(classifier)
    chunk_of(4)
    images = pictures(2, FRAMES[frame])
    images[1] = 0.5
    sent, through = 0, Classifier.logits

    def counted(self: Classifier, batch: torch.Tensor) -> torch.Tensor:
        nonlocal sent
        sent += len(batch)
        return through(self, batch)

    monkeypatch.setattr(Classifier, "logits", counted)
    before, states = (modes(), flags(classifier.module)), (torch.get_rng_state(), random.getstate())
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is watched
    steps = []
    for maps in bound.steps(images, [1, 0], quick(explainer), seeds=[5, 6]):
        steps.append(maps)
        assert (modes(), flags(classifier.module)) == before
        assert hooks(classifier) == 0
        assert sum(one.forward_passes for one in maps) == sent
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert [maps[0].partial for maps in steps] == [True] * (len(steps) - 1) + [False]
    for one in (one for maps in steps for one in maps):
        assert one.values.shape == FRAMES[frame]
        assert one.values.dtype == torch.float32
        assert one.values.device.type == "cpu"
        assert torch.isfinite(one.values).all()
        assert one.signed or (one.values >= 0).all()
        assert one.seconds >= 0
    for b, one in enumerate(steps[-1]):
        assert (one.target, one.contrast, one.seed, one.method) == (1 - b, None, 5 + b, name)
        # mask-optimisation asks once for the answer before it begins
        assert one.backward_passes in (0, one.forward_passes - (name == "mask-optimisation"))
        assert one.standard_error is None or torch.isfinite(one.standard_error).all()
    assert steps[-1][0].values.abs().max() > 0


@every_explainer
def test_a_step_does_not_change_when_the_next_is_made(name: str, chunk_of: Callable[[int], None]) -> None:
    explainer = explainers()[name]
    chunk_of(1)
    steps = explainer.bind(home_of(name)).steps(pictures(2, (32, 32)), [1], quick(explainer))
    kept = [(maps, maps_of(maps).clone()) for maps in steps]
    assert all(torch.equal(maps_of(maps), then) for maps, then in kept)


@pytest.mark.slow
@every_pair
def test_same_seed_same_map_whatever_the_chunk_and_the_neighbours(
    name: str, kind: str, chunk_of: Callable[[int], None]
) -> None:
    explainer, classifier = explainers()[name], classifier_of(kind)
    bound, images, targets, seeds = explainer.bind(classifier), pictures(3, (32, 32)), [1, 2, 0], [7, 8, 9]
    batches = []
    for size in (1, 3, 8):
        chunk_of(size)
        batches.append(maps_of(bound.explain(images, targets, quick(explainer), seeds=seeds)))
    alone = [
        bound.explain(images[b : b + 1], targets[b : b + 1], quick(explainer), seeds=seeds[b : b + 1])[0].values
        for b in range(3)
    ]
    for b in range(3):
        for other in (batches[1][b], batches[2][b], alone[b]):
            # a difference of probabilities, each rounded to 6e-8
            assert agree(batches[0][b], other) or (name == "rise" and (batches[0][b] - other).abs().max() < 2e-7)


@every_explainer
def test_seed_matters_only_where_the_explainer_says_so(name: str) -> None:
    explainer = explainers()[name]
    bound, image = explainer.bind(home_of(name)), pictures(1, (32, 32))
    first, second = (bound.explain(image, [1], quick(explainer), seeds=[seed])[0] for seed in (0, 1))
    assert agree(first.values, second.values) != explainer.is_random(quick(explainer))
    assert explainer.is_random(explainer.parameters()) == explainer.random
    if first.standard_error is not None:
        assert explainer.random


@every_explainer
def test_target_matters_only_where_the_explainer_says_so(name: str) -> None:
    explainer = explainers()[name]
    bound, image = explainer.bind(home_of(name)), pictures(1, (32, 32))
    first, second = (bound.explain(image, [target], quick(explainer))[0].values for target in (0, 1))
    assert agree(first, second) != explainer.class_specific


SIGNED = {name: signed_parameters(explainer) for name, explainer in explainers().items()}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [pair for pair in PAIRS if SIGNED[pair[0]] is not None])
def test_swapping_target_and_contrast_flips_the_sign_of_signed_maps(name: str, kind: str) -> None:
    explainer, parameters = explainers()[name], SIGNED[name]
    bound, image = explainer.bind(classifier_of(kind)), pictures(1, (32, 32))
    forth = bound.explain(image, [1], parameters, contrasts=[2])[0]
    back = bound.explain(image, [2], parameters, contrasts=[1])[0]
    assert agree(forth.values, -back.values, 1e-4)
    assert (forth.target, forth.contrast) == (1, 2)
    if hasattr(parameters, "shrink"):  # how far values are pulled is found out for each score anew
        parameters = quick(explainer, shrink=False)
        forth = bound.explain(image, [1], parameters, contrasts=[2])[0]
    alone = [bound.explain(image, [target], parameters)[0].values for target in (1, 2)]
    assert agree(forth.values, alone[0] - alone[1], 1e-4)


@every_explainer
def test_each_step_may_run_on_another_thread(name: str, chunk_of: Callable[[int], None]) -> None:
    explainer = explainers()[name]
    bound, image = explainer.bind(home_of(name)), pictures(1, (32, 32))
    expected = bound.explain(image, [1], quick(explainer))[0].values
    chunk_of(2)
    steps, got = bound.steps(image, [1], quick(explainer)), []

    def advance() -> None:
        got.append((next(steps, None), modes()))

    while not got or got[-1][0] is not None:
        thread = threading.Thread(target=advance)
        thread.start()
        thread.join()
        assert len(got) < 100
    assert agree(got[-2][0][0].values, expected)
    assert {mode for _, mode in got} == {(True, False, False)}


@pytest.mark.slow
@every_pair
def test_closing_after_the_first_step_leaves_nothing(name: str, kind: str, chunk_of: Callable[[int], None]) -> None:
    explainer, classifier = explainers()[name], classifier_of(kind)
    chunk_of(1)
    before = (flags(classifier.module), modes())
    steps = explainer.bind(classifier).steps(pictures(2, (32, 32)), [1], quick(explainer))
    next(steps)
    steps.close()  # ty: ignore[missing-attribute]
    assert hooks(classifier) == 0
    assert (flags(classifier.module), modes()) == before
    assert next(steps, None) is None


@pytest.mark.slow
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@every_explainer
def test_the_callers_mode_does_not_matter(name: str, mode: Callable[[], AbstractContextManager[object]]) -> None:
    explainer = explainers()[name]
    bound, parameters = explainer.bind(home_of(name)), quick(explainer)
    expected = bound.explain(pictures(1, (32, 32)), [1], parameters)[0].values
    with mode():
        before = modes()
        got = bound.explain(pictures(1, (32, 32)), [1], parameters)[0].values
        assert modes() == before
    assert agree(got, expected)


@pytest.mark.slow
@every_pair
def test_the_callers_module_is_never_touched(name: str, kind: str) -> None:
    module = small_module(kind).train()
    before, state = flags(module), {key: value.clone() for key, value in module.state_dict().items()}
    preprocessing = Preprocessing(resize=(32, 32), crop=(32, 32))
    classifier, explainer = Classifier(module, preprocessing=preprocessing, device="cpu"), explainers()[name]
    explainer.bind(classifier).explain(pictures(1, (32, 32)), [1], quick(explainer))
    assert flags(module) == before
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._backward_hooks for part in module.modules())


@pytest.mark.slow
@every_explainer
def test_every_choice_works(name: str) -> None:
    explainer = explainers()[name]
    bound, image = explainer.bind(home_of(name)), pictures(1, (32, 32))
    for parameters in variants(explainer):
        (one,) = bound.explain(image, [1], parameters, regions=thirds((32, 32)))
        assert torch.isfinite(one.values).all()
        assert (one.signed, one.unit) == (explainer.is_signed(parameters), explainer.unit_of(parameters))
        assert one.players is not None or not explainer.wants_regions(parameters)
        assert one.signed or (one.values >= 0).all()


def additive() -> Classifier:
    """A model of which the score is a sum over pixels, each with a weight of its own."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))
    with torch.no_grad():
        module[1].weight.copy_(torch.randn(3, 768, generator=torch.Generator().manual_seed(5)) / 8)
    return plain(module, 16)


@every_explainer
def test_a_density_sums_to_the_change_of_the_score(name: str) -> None:
    """Where the score is a sum over pixels there is one thing that it can sum to: the change from the plate."""
    explainer, classifier, image = explainers()[name], additive(), pictures(1, (16, 16))
    claiming = [p for p in (explainer.parameters(), *variants(explainer)) if explainer.unit_of(p) == "density"]
    if explainer.family == "learned":
        return  # its sum is that of its own prediction: `tests/explainers/test_salvage.py`
    for parameters in claiming:
        plate = fill_plate(image, getattr(parameters, "fill", "mean"))
        arguments = {"contrasts": [2], "regions": thirds((16, 16)), "references": plate}
        (one,) = explainer.bind(classifier).explain(image, [1], parameters, **arguments)
        scale = getattr(parameters, "scale", "logit")
        with torch.no_grad():
            logits = classifier.logits(torch.cat([image, plate]))
            whole, bare = classifier.score(logits, torch.tensor([1, 1]), torch.tensor([2, 2]), scale).tolist()
        assert abs(whole - bare) > 0.01
        error = 0.0 if one.standard_error is None else 4 * float(one.standard_error.sum())
        assert float(one.values.sum()) == pytest.approx(whole - bare, abs=1e-3 * abs(whole - bare) + error)
    known = {"integrated-gradients", "expected-gradients", "occlusion"}
    known |= {"kernel-shap", "permutation-shapley", "exact-shapley", "salvage-single"}
    assert bool(claiming) == (name in known)


@every_explainer
def test_a_refusal_is_raised_at_bind(name: str) -> None:
    """A model without any map over the picture: whoever needs one says so in one sentence."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    classifier = Classifier(module, preprocessing=Preprocessing(resize=(8, 8), crop=(8, 8)), device="cpu")
    explainer = explainers()[name]
    reason = explainer.supports(classifier)
    assert (reason is not None) == (explainer.family in ("cam", "attention", "learned"))
    if reason is None:
        (one,) = explainer.bind(classifier).explain(pictures(1, (8, 8)), [1], quick(explainer))
        assert one.values.shape == (8, 8)
    else:
        assert reason.endswith(".")
        with pytest.raises(UserError, match=r"needs a|is trained for"):
            explainer.bind(classifier)


WRONG = {
    "no batch": {"images": torch.zeros(3, 32, 32)},
    "empty batch": {"images": torch.zeros(0, 3, 32, 32)},
    "grey": {"images": torch.zeros(2, 1, 32, 32)},
    "too many targets": {"targets": [0, 1, 2]},
    "no such target": {"targets": [4]},
    "negative target": {"targets": [-1]},
    "target is contrast": {"contrasts": [1]},
    "too many seeds": {"seeds": [1, 2, 3]},
    "regions of another size": {"regions": torch.ones(2, 16, 16)},
}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG)
@every_explainer
def test_what_does_not_fit_is_refused_before_any_pass(name: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = explainers()[name].bind(home_of(name))
    monkeypatch.setattr(Classifier, "logits", lambda self, images: pytest.fail("a pass was made"))
    arguments = {"images": torch.zeros(2, 3, 32, 32), "targets": [1], **WRONG[wrong]}
    with pytest.raises(UserError):
        bound.steps(**arguments)


@every_explainer
def test_parameters_of_another_explainer_are_refused(name: str) -> None:
    @dataclass(frozen=True)
    class Strange:
        pass

    with pytest.raises(UserError, match="takes"):
        explainers()[name].bind(home_of(name)).steps(torch.zeros(1, 3, 32, 32), [1], Strange())


@every_explainer
def test_parameters_describe_themselves(name: str) -> None:
    parameters = explainers()[name].parameters
    for spec in parameters.specs():
        assert spec.help
        assert spec.kind in ("int", "float", "bool", "choice")
        if spec.kind == "choice":
            assert spec.default in (spec.choices or ())
            with pytest.raises(UserError, match="one of"):
                parameters.parse({spec.name: "no such choice"})
        elif spec.kind != "bool":
            assert spec.low is not None
            assert spec.high is not None
            assert spec.low <= spec.default <= spec.high
            assert spec.step is not None
            for outside in (spec.low - spec.step, spec.high + spec.step):
                with pytest.raises(UserError, match="between"):
                    parameters.parse({spec.name: outside})
    with pytest.raises(UserError, match="no parameter"):
        parameters.parse({"no_such_parameter": 1})
    as_text = {key: str(value) for key, value in parameters().to_dict().items()}
    assert parameters.parse(as_text) == parameters()


def test_the_registry_names_what_a_person_needs() -> None:
    families = {"gradient", "cam", "attention", "relevance", "removal", "learned", "control"}
    for name, explainer in explainers().items():
        assert (explainer.name, explainer.family in families) == (name, True)
        assert explainer.title
        assert explainer.summary.endswith(".")
        assert explainer.is_signed(explainer.parameters()) == explainer.signed
        assert explainer.unit_of(explainer.parameters()) == explainer.unit
    never = {name for name, parameters in SIGNED.items() if parameters is None}
    assert never == {
        "random", "edges", "centre", "attention-rollout", "gradient-attention", "masking", "mask-optimisation"
    }  # fmt: skip
    chosen = {name for name, explainer in explainers().items() if explainer.default}
    assert {"integrated-gradients", "smoothgrad", "suppression", "grad-cam", "occlusion"} <= chosen
    assert not any(explainers()[name].family == "control" for name in chosen)


class NoGradient(nn.Module):
    """A model that answers without a history, as one behind another library does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_module("cnn")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.inner(x)


@pytest.mark.slow
@every_explainer
def test_a_model_that_lets_no_gradient_through_is_explained_without_or_refused(name: str) -> None:
    preprocessing = Preprocessing(resize=(32, 32), crop=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    classifier = Classifier(NoGradient().eval(), preprocessing=preprocessing, device="cpu", name="sealed")
    explainer = explainers()[name]
    problem, made = None, []
    try:
        made = explainer.bind(classifier).explain(pictures(1, (32, 32)), [1], quick(explainer))
    except UserError as error:
        problem = str(error)
    if problem is None:
        assert torch.isfinite(maps_of(made)).all()
        assert explainer.family != "gradient"
    else:
        assert "sealed" in problem
        assert problem.endswith(".")
        assert explainer.family not in {"removal", "control"}
