"""Norms that become part of the layer before them: the same answers, and everything that looks inside still works."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import DenseNet, MobileNetV2, ResNet
from torchvision.models.resnet import BasicBlock

from core.classifier import Classifier
from core.explainer import get_explainer
from core.explainers.layers import find_last_map
from core.preprocessing import Preprocessing
from core.randomised import randomised
from core.runtime.capture import captured
from core.runtime.folding import Folded, fold_norms, unfolded
from tests.explainers.conftest import agree, pictures

FRAME = (32, 32)


def lively(module: nn.Module) -> nn.Module:
    """In evaluation mode, with the statistics of a network that has seen something."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, _BatchNorm) and part.running_var is not None:
                part.running_var.uniform_(0.5, 2, generator=generator)
                part.running_mean.uniform_(-0.2, 0.2, generator=generator)
                part.weight.uniform_(0.5, 1.5, generator=generator)
                part.bias.uniform_(-0.2, 0.2, generator=generator)
    return module.eval().requires_grad_(False)


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return lively(make())


def probe(count: int = 2, seed: int = 5) -> Tensor:
    return torch.randn(count, 3, *FRAME, generator=torch.Generator().manual_seed(seed))


def mobilenet() -> nn.Module:
    return MobileNetV2(num_classes=4, width_mult=0.25, inverted_residual_setting=[[1, 32, 1, 1], [2, 32, 3, 2]])


def resnet() -> nn.Module:
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4)


def densenet() -> nn.Module:
    return DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=4)


def timm_efficientnet() -> nn.Module:
    """Its norms hold the activation."""
    import timm

    return timm.create_model("mobilenetv3_small_050", num_classes=4)


class Pair(nn.Module):
    """A convolution, a norm, and a head; what stands between is `middle`'s."""

    def __init__(self, middle: Callable[[Pair, Tensor], Tensor], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.norm, self.other = nn.Conv2d(3, 6, 3), norm or nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.head, self.middle = nn.Linear(6, 4), middle

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self, x).relu().mean((2, 3)))


def choosing(pair: Pair, x: Tensor) -> Tensor:
    made = pair.conv(x)
    return pair.norm(made) if float(x.mean()) < 100 else made


def as_numpy(pair: Pair, x: Tensor) -> Tensor:
    """Code that no tracer follows."""
    return pair.norm(pair.conv(x)) * float(len(str(x.shape)) > 0)


LEFT_ALONE: dict[str, Callable[[], nn.Module]] = {
    "its answer is used twice": lambda: Pair(lambda p, x: p.norm(y := p.conv(x)) + y),
    "its answer is looked at": lambda: Pair(lambda p, x: p.norm(y := p.conv(x)) * (y.detach() > 0)),
    "a view of its answer is used": lambda: Pair(lambda p, x: p.norm(y := p.conv(x)) + y[:, :1]),
    "used twice": lambda: Pair(lambda p, x: p.norm(p.conv(x)) + F.pad(p.conv(x[..., :-2]), (0, 2))),
    "before two norms": lambda: Pair(lambda p, x: p.norm(y := p.conv(x)) + p.other(y)),
    "a norm used twice": lambda: Pair(lambda p, x: p.norm(p.norm(p.conv(x)))),
    "an activation between": lambda: Pair(lambda p, x: p.norm(p.conv(x).relu())),
    "its weights are used elsewhere": lambda: Pair(lambda p, x: p.norm(p.conv(x)) + F.conv2d(x, p.conv.weight)),
    "the statistics of the batch": lambda: Pair(
        lambda p, x: p.norm(p.conv(x)), nn.BatchNorm2d(6, track_running_stats=False)
    ),
    "values decide": lambda: Pair(choosing),
    "computed weights": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3)), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(5400, 4)
    ),
}


def answers(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_(True)
    out = module(leaf)
    return out.detach(), torch.autograd.grad(out[:, 1].sum(), leaf)[0]


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, _BatchNorm) for part in module.modules())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "left"),
    [(mobilenet, 0), (resnet, 0), (densenet, 6), (timm_efficientnet, 0), (lambda: Pair(as_numpy), 1)],
    ids=["mobilenet", "resnet", "densenet", "timm", "code that cannot be traced"],
)
def test_answers_and_gradients_stay_and_all_comes_back(make: Callable[[], nn.Module], left: int) -> None:
    module = made(make)
    before, names = copy.deepcopy(module), [name for name, _ in module.named_modules()]
    folded = fold_norms(module, probe())
    assert folded == norms(before) - left > 0
    assert norms(module) == left
    assert [name for name, _ in module.named_modules()] == names
    assert not any(value.requires_grad for value in module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    for seed in range(3):
        (wanted, slope), (got, other) = (answers(one, probe(3, seed)) for one in (before, module))
        assert agree(wanted, got, 1e-4)
        # rounding may move a unit across the kink of a ReLU
        assert float((slope - other).norm()) <= 2e-2 * float(slope.norm())
    back = unfolded(module)
    assert str(back) == str(before)
    assert list(back.state_dict()) == list(before.state_dict())
    assert all(torch.equal(value, back.state_dict()[key]) for key, value in before.state_dict().items())
    assert norms(module) == left  # a copy was unfolded


def test_a_linear_layer_takes_its_norm_in() -> None:
    module = made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)))
    before = copy.deepcopy(module)
    assert fold_norms(module, probe()) == 1
    assert agree(module(probe(3)), before(probe(3)), 1e-4)


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_what_is_more_than_a_layer_and_its_norm_is_left_alone(case: str) -> None:
    module = made(LEFT_ALONE[case])
    before = copy.deepcopy(module.state_dict())
    assert fold_norms(module, probe()) == 0
    assert not any(isinstance(part, Folded) for part in module.modules())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_a_shared_layer_a_hooked_one_and_one_that_fails_are_left_alone() -> None:
    shared = made(lambda: Pair(lambda p, x: p.norm(p.conv(x))))
    shared.again = shared.conv
    hooked = made(lambda: Pair(lambda p, x: p.norm(p.conv(x))))
    hooked.conv.register_forward_hook(lambda *_: None)
    assert (fold_norms(shared, probe()), fold_norms(hooked, probe())) == (0, 0)
    broken = made(lambda: Pair(lambda p, x: p.norm(p.conv(x[:, :2]))))
    assert fold_norms(broken, probe()) == 0
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in broken.modules())


def test_only_the_pair_that_differs_is_left_when_a_layer_does_more_than_its_weights_say() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return F.conv2d(input, self.weight / self.weight.std(), self.bias)

    module = made(
        lambda: nn.Sequential(
            *(Standardised(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
            *(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(4704, 4)),
        )
    )
    assert fold_norms(module, probe()) == 1
    assert isinstance(module[1], nn.BatchNorm2d)
    assert isinstance(module[4], Folded)


def classifier_of(module: nn.Module) -> Classifier:
    return Classifier(module, preprocessing=Preprocessing(resize=FRAME, crop=FRAME), name="it", device="cpu")


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> tuple[Classifier, Classifier]:
    """The same ResNet, folded as always and left as it is."""
    folded = classifier_of(made(resnet))
    with monkeypatch.context() as patch:
        patch.setattr("core.classifier.fold_norms", lambda module, probe: 0)
        return folded, classifier_of(made(resnet))


@pytest.mark.slow
def test_a_classifier_is_folded_and_keeps_its_name_and_answers(both: tuple[Classifier, Classifier]) -> None:
    folded, plain = both
    assert (norms(folded.module), norms(plain.module)) == (0, 20 - 8)
    assert folded.fingerprint == plain.fingerprint
    assert agree(folded.logits(pictures(3, FRAME)), plain.logits(pictures(3, FRAME)), 1e-4)
    low = Classifier(made(resnet), preprocessing=folded.preprocessing, device="cpu", precision="bfloat16")
    assert norms(low.module) == 0
    torch.testing.assert_close(low.logits(pictures(2, FRAME)), plain.logits(pictures(2, FRAME)), rtol=0.05, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["integrated-gradients", "grad-cam", "layer-cam", "lrp", "occlusion", "captum:LRP", "captum:LayerGradCam"]
)
def test_maps_are_those_of_the_plain_model(name: str, both: tuple[Classifier, Classifier]) -> None:
    method = get_explainer(name)
    if any(method.supports(one) for one in both):
        assert method.supports(both[0]) == method.supports(both[1])
        return
    samples = {"samples": 4} if "samples" in {spec.name for spec in method.parameters.specs()} else {}
    parameters = method.parameters.parse(samples)
    folded, plain = (method.bind(one).explain(pictures(2, FRAME), [1, 2], parameters) for one in both)
    for one, other in zip(folded, plain):
        assert agree(one.values, other.values, 1e-3)


@pytest.mark.slow
def test_a_norm_still_answers_under_its_name(both: tuple[Classifier, Classifier]) -> None:
    assert find_last_map(both[0]) == find_last_map(both[1])
    name, seen = "layer4.0.bn2", []
    for one in both:
        with captured([(name, one.module.get_submodule(name))]) as found:
            one.logits(pictures(2, FRAME))
        seen.append(found[name])
    assert agree(*seen, 1e-4)


@pytest.mark.slow
def test_randomised_twins_are_those_of_the_plain_model(both: tuple[Classifier, Classifier]) -> None:
    folded, plain = (randomised(one, pictures(4, FRAME), seed=3) for one in both)
    assert folded.fingerprint == plain.fingerprint != both[0].fingerprint
    assert norms(folded.module) == 0
    wanted, got = (unfolded(one.module).state_dict() for one in (plain, folded))
    assert all(torch.equal(value, got[key]) for key, value in wanted.items())
    assert agree(folded.logits(pictures(3, FRAME)), plain.logits(pictures(3, FRAME)), 1e-4)
