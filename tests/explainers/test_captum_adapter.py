"""captum's classes as explainers: the right numbers, the whole list, and nothing left behind."""

from __future__ import annotations

import inspect
import random
from dataclasses import fields

import captum.attr
import numpy as np
import pytest
import torch
from captum.attr import KernelShap, Occlusion, PerturbationAttribution, Saliency
from torch import Tensor, nn

from core.attribution import Attribution
from core.choice import Choice
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import explainers, get_explainer
from core.explainers import captum_adapter
from core.explainers.captum_adapter import captum_explainers
from core.explainers.captum_source import NO_LITERAL, captum_classes
from core.fills import PLATES, fill_plate
from core.preprocessing import Preprocessing
from tests.explainers.conftest import agree, classifier_of, pictures, thirds
from tests.explainers.test_contract import additive, flags, hooks, modes

FRAME = (32, 32)
QUICK = {"n_steps": 4, "n_samples": 6, "patches": 3, "window": 0.5, "stride": 0.75}
NAMES = list(captum_explainers())
every_class = pytest.mark.parametrize("name", NAMES)


class PlainCNN(nn.Module):
    """No layer is used twice, and all are of kinds that captum's LRP knows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.one, self.two, self.pool, self.head = nn.ReLU(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.second(self.one(self.first(x))))
        return self.head(torch.flatten(self.pool(x), 1))


@pytest.fixture(scope="module")
def plain_cnn() -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = PlainCNN()
        nn.init.normal_(module.head.weight)
    return Classifier(module, preprocessing=Preprocessing(resize=FRAME, crop=FRAME), name="plain", device="cpu")


def explain(
    name: str, classifier: Classifier, images: Tensor, targets: list[int], **options: object
) -> list[Attribution]:
    explainer = get_explainer(name)
    seeds, contrasts, regions = options.pop("seeds", (0,)), options.pop("contrasts", None), options.pop("given", None)
    known = {field.name for field in fields(explainer.parameters)}
    quick = {key: value for key, value in QUICK.items() if key in known}
    parameters = explainer.parameters.parse({**quick, **options})
    bound = explainer.bind(classifier)
    return bound.explain(images, targets, parameters, seeds=seeds, contrasts=contrasts, regions=regions)


@pytest.mark.slow
@every_class
def test_every_class_makes_a_map_and_leaves_nothing(name: str, plain_cnn: Classifier) -> None:
    images = pictures(2, FRAME)
    before, states = (flags(plain_cnn.module), modes()), (torch.get_rng_state(), random.getstate())
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is watched
    weights = {key: value.clone() for key, value in plain_cnn.module.state_dict().items()}
    maps = explain(name, plain_cnn, images, [1, 2], seeds=[3, 4])
    for one in maps:
        assert one.values.shape == FRAME
        assert torch.isfinite(one.values).all()
        assert one.signed or (one.values >= 0).all()
        assert one.backward_passes in (0, one.forward_passes) or "Layer" in name
        assert one.forward_passes > 0
    assert (flags(plain_cnn.module), modes()) == before
    assert hooks(plain_cnn) == 0
    assert all(torch.equal(value, weights[key]) for key, value in plain_cnn.module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


@pytest.mark.slow
@every_class
def test_same_seed_same_map_whatever_the_neighbours(name: str, plain_cnn: Classifier) -> None:
    images = pictures(2, FRAME)
    together = explain(name, plain_cnn, images, [1, 2], seeds=[3, 4])
    torch.manual_seed(99)
    alone = explain(name, plain_cnn, images[1:], [2], seeds=[4])
    assert agree(together[1].values, alone[0].values)


@pytest.mark.parametrize("name", [name for name in NAMES if get_explainer(name).random and not name.endswith("Lime")])
def test_another_seed_is_another_draw(name: str, plain_cnn: Classifier) -> None:
    maps = [explain(name, plain_cnn, pictures(1, FRAME), [1], seeds=[seed])[0].values for seed in (0, 1)]
    assert not agree(*maps)


@every_class
def test_parameters_describe_themselves(name: str) -> None:
    explainer = get_explainer(name)
    assert explainer.name == name
    assert explainer.summary.endswith(".")
    assert explainer.is_signed(explainer.parameters()) == explainer.signed
    for spec in explainer.parameters.specs():
        assert spec.help
        if spec.kind == "choice":
            assert spec.default in spec.choices
        else:
            assert spec.kind == "bool" or spec.low <= spec.default <= spec.high
    texts = {key: str(value) for key, value in explainer.parameters().to_dict().items()}
    assert explainer.parameters.parse(texts) == explainer.parameters()


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_saliency_is_the_gradient(kind: str) -> None:
    classifier, images = classifier_of(kind), pictures(2, FRAME)
    gradient = get_explainer("gradient").bind(classifier)
    for absolute, reduction in ((True, "absolute"), (False, "signed")):
        mine = gradient.explain(images, [1, 2], gradient.explainer.parameters(reduction=reduction))
        theirs = explain("captum:Saliency", classifier, images, [1, 2], abs=absolute)
        assert all(agree(a.values, b.values) for a, b in zip(mine, theirs))
        assert [one.signed for one in theirs] == [not absolute] * 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn", "vit", "swin"])
def test_integrated_gradients_are_the_projects_own(kind: str) -> None:
    classifier, images = classifier_of(kind), pictures(2, FRAME)
    mine = get_explainer("integrated-gradients").bind(classifier).explain(images, [1, 2], contrasts=[0, 0])
    theirs = explain("captum:IntegratedGradients", classifier, images, [1, 2], contrasts=[0, 0], n_steps=50)
    assert all(agree(a.values, b.values, 1e-4) for a, b in zip(mine, theirs))
    assert theirs[0].forward_passes == 50


def test_grad_cam_is_the_projects_own(plain_cnn: Classifier) -> None:
    images = pictures(2, FRAME)
    mine = get_explainer("grad-cam").bind(plain_cnn).explain(images, [1, 2])
    theirs = explain("captum:LayerGradCam", plain_cnn, images, [1, 2], relu_attributions=True)
    assert all(agree(a.values, b.values) for a, b in zip(mine, theirs))


def test_occlusion_is_captums_with_the_shares_in_pixels(plain_cnn: Classifier) -> None:
    image = pictures(1, FRAME)
    (mine,) = explain("captum:Occlusion", plain_cnn, image, [1], window=0.25, stride=0.5)
    theirs = Occlusion(plain_cnn.logits).attribute(
        image, (3, 8, 8), (3, 4, 4), target=1, baselines=fill_plate(image, "mean")
    )
    assert agree(mine.values, theirs.mean(1)[0].detach(), 1e-4)


def test_removing_regions_takes_the_jobs_regions(plain_cnn: Classifier) -> None:
    """Each part has one value: what the score loses when that part has the mean colour, divided by its area."""
    image, left = pictures(1, FRAME), torch.zeros(FRAME)
    left[:, :8] = 1
    regions = torch.stack([left, 1 - left])
    (one,) = explain("captum:FeatureAblation", plain_cnn, image, [1], given=regions, regions="segments")
    with torch.no_grad():
        for region in regions:
            covered = torch.lerp(image, fill_plate(image, "mean"), region)
            effect = plain_cnn.logits(image)[0, 1] - plain_cnn.logits(covered)[0, 1]
            assert torch.allclose(one.values[region > 0], effect / region.sum(), atol=1e-6)
    with pytest.raises(UserError, match="asked to remove segments"):
        explain("captum:FeatureAblation", plain_cnn, image, [1], regions="segments")


@pytest.mark.parametrize("name", ["captum:ShapleyValueSampling", "captum:DeepLift"])
def test_what_is_complete_sums_to_the_difference_of_scores(name: str, plain_cnn: Classifier) -> None:
    image, options = pictures(1, FRAME), {"regions": "segments"} if "Shapley" in name else {}
    given = torch.eye(4).repeat(1, 256).view(4, *FRAME)
    one = explain(name, plain_cnn, image, [1], contrasts=[2], given=given, **options)[0]
    with torch.no_grad():
        logits = plain_cnn.logits(image) - plain_cnn.logits(fill_plate(image, "mean"))
    assert float(one.values.sum()) == pytest.approx(float(logits[0, 1] - logits[0, 2]), abs=1e-4)


DENSE = {"DeepLift", "DeepLiftShap", "FeatureAblation", "GradientShap", "IntegratedGradients", "KernelShap", "Lime",
         "ShapleyValueSampling"}  # fmt: skip


def test_the_units_are_declared() -> None:
    assert {name.removeprefix("captum:") for name in NAMES if get_explainer(name).unit == "density"} == DENSE
    path = get_explainer("captum:IntegratedGradients")
    assert path.unit_of(path.parameters.parse({"multiply_by_inputs": False})) == "intensity"
    for explainer in map(get_explainer, NAMES):
        assert explainer.unit_of(explainer.parameters()) == explainer.unit


@pytest.mark.parametrize("name", sorted(DENSE - {"Lime"}))
def test_a_density_sums_to_the_change_of_the_score(name: str) -> None:
    """Where the score is a sum over pixels; those that insist on several baselines have the mean over all of them.
    Lime shrinks what it finds, and so its sum."""
    classifier, image = additive(), pictures(1, (16, 16))
    options = {key: value for key, value in (("n_samples", 300), ("regions", "segments"))
               if key in {field.name for field in fields(get_explainer(f"captum:{name}").parameters)}}  # fmt: skip
    (one,) = explain(f"captum:{name}", classifier, image, [1], given=thirds((16, 16)), **options)
    plates = PLATES if name in ("DeepLiftShap", "GradientShap") else ("mean",)
    with torch.no_grad():
        bare = torch.stack([classifier.logits(fill_plate(image, kind))[0, 1] for kind in plates])
        change = classifier.logits(image)[0, 1] - bare
    drawn = 4 * float(change.std()) / 300**0.5 if name == "GradientShap" else 0.0
    assert float(one.values.sum()) == pytest.approx(float(change.mean()), abs=1e-3 + drawn)


def test_what_captum_cannot_do_is_one_sentence(small_cnn: Classifier) -> None:
    """An activation that is used twice is beyond DeepLift's hooks, and attention beyond LRP's rules."""
    for name, classifier in (("captum:DeepLift", small_cnn), ("captum:LRP", classifier_of("vit"))):
        with pytest.raises(
            UserError, match=r"cannot explain small .* \(captum says: .*\); choose another explainer\.$"
        ):
            explain(name, classifier, pictures(1, FRAME), [1])
        assert hooks(classifier) == 0


def test_a_class_activation_map_needs_channels_first() -> None:
    for name in ("captum:LayerGradCam", "captum:GuidedGradCam"):
        assert "channels first" in get_explainer(name).supports(classifier_of("vit"))


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, small_cnn: Classifier) -> None:
    with pytest.raises(UserError, match="did you mean 'captum:Saliency'"):
        get_explainer("captum:Salience")
    for name in ("NoiseTunnel", "NeuronGradient", "ShapleyValues", "FeaturePermutation", "LLMAttribution"):
        assert f"captum:{name}" not in NAMES
        with pytest.raises(UserError, match=r"cannot be used here: .*\.$"):
            get_explainer(f"captum:{name}")
    found = captum_adapter.importlib.util.find_spec
    with monkeypatch.context() as patch:
        patch.setattr(captum_adapter.importlib.util, "find_spec", lambda n: None if n == "sklearn" else found(n))
        for name in ("captum:Lime", "captum:KernelShap"):
            assert "pip install scikit-learn" in get_explainer(name).supports(small_cnn)
        assert get_explainer("captum:Saliency").supports(small_cnn) is None
    monkeypatch.setattr(captum_adapter, "captum_explainers", dict)
    with pytest.raises(UserError, match="pip install captum"):
        get_explainer("captum:Saliency")


def test_the_list_is_captums_own_and_the_registry_stays_without() -> None:
    assert {f"captum:{one.__name__}" for one in (Saliency, Occlusion, KernelShap)} <= set(NAMES)
    assert len(NAMES) >= 20
    assert not any(name.startswith("captum:") for name in explainers())


def test_options_are_read_after_the_second_colon() -> None:
    choice = Choice.parse("captum:Occlusion:window=0.3,stride=0.5")
    assert (choice.explainer, choice.parameters.to_dict()) == ("captum:Occlusion", {"window": 0.3, "stride": 0.5})
    assert Choice.parse("captum:Saliency").parameters.to_dict() == {"abs": True}
    with pytest.raises(UserError, match="no parameter 'widow'"):
        Choice.parse("captum:Occlusion:widow=0.3")


def test_what_is_read_off_captums_source_is_what_its_classes_ask_for() -> None:
    known = {name: one for name, one in inspect.getmembers(captum.attr, inspect.isclass) if hasattr(one, "attribute")}
    described = captum_classes()
    assert {name for name, one in known.items() if not inspect.isabstract(one)} == set(described)
    for name, one in described.items():
        for method, asked in (("__init__", one.made_with), ("attribute", one.asked)):
            theirs = inspect.signature(getattr(known[name], method)).parameters
            assert [key for key in theirs if key not in ("self", "inputs", "args", "kwargs")] == list(asked)
            for key, parameter in asked.items():
                assert parameter.default in (theirs[key].default, NO_LITERAL)
                assert parameter.default is not NO_LITERAL or not isinstance(theirs[key].default, (int, float))
        assert one.of_inputs == ("inputs" in inspect.signature(known[name].attribute).parameters)
        assert one.bases <= {base.__name__ for base in known[name].__mro__}
        assert ("PerturbationAttribution" in one.bases) == issubclass(known[name], PerturbationAttribution)
