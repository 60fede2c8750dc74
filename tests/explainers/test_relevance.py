"""Relevance propagation: known answers, conservation, zennit's own canonisers, and networks that are refused."""

from __future__ import annotations

import copy
import sys
import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import DenseNet, MobileNetV2, ResNet, ShuffleNetV2, efficientnet_b0
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.vgg import VGG, make_layers
from zennit.composites import COMPOSITES as THEIR_COMPOSITES
from zennit.core import Composite
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer, VGGCanonizer

from core.classifier import Classifier
from core.errors import UserError
from core.explainer import get_explainer
from core.explainers.canonical import canonical
from core.explainers.relevance import COMPOSITES
from core.images import read_picture
from core.loading import load_classifier
from core.preprocessing import Preprocessing
from tests.explainers.conftest import agree, classifier_of, pictures

FRAME = (32, 32)
every_composite = pytest.mark.parametrize("composite", COMPOSITES)


def lively(module: nn.Module, biases: bool = True) -> Classifier:
    """Weights and statistics of a network that has seen something; without biases if wished."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(part.weight)
                if part.bias is not None:
                    part.bias.uniform_(-0.1, 0.1)
            elif isinstance(part, nn.BatchNorm2d):
                part.running_var.uniform_(0.5, 2)
                part.weight.uniform_(0.5, 1.5)
                part.running_mean.uniform_(-0.2, 0.2)
                part.bias.uniform_(-0.2, 0.2)
    return classifier_from(module if biases else unbiased(module), FRAME)


@torch.no_grad()
def unbiased(module: nn.Module) -> nn.Module:
    """The same network where nothing is ever added but what comes from the picture."""
    for part in module.modules():
        for name in ("bias", "running_mean"):
            if isinstance(getattr(part, name, None), Tensor):
                getattr(part, name).zero_()
    return module


def classifier_from(module: nn.Module, frame: tuple[int, int]) -> Classifier:
    return Classifier(module, preprocessing=Preprocessing(resize=frame, crop=frame), name="it", device="cpu")


def explain(classifier: Classifier, images: Tensor, targets: list[int], **options: object) -> Tensor:
    explainer = get_explainer("lrp")
    contrasts = options.pop("contrasts", None)
    parameters = explainer.parameters.parse(options)
    maps = explainer.bind(classifier).explain(images, targets, parameters, contrasts=contrasts)
    return torch.stack([one.values for one in maps])


class Colours(nn.Module):
    """A 1 x 1 convolution, an activation, a mean over the picture and a head: relevance can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Conv2d(3, 5, 1, bias=False), nn.Linear(5, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.mix(x), inplace=True).mean((2, 3)))


def test_a_known_answer() -> None:
    """Each pixel gets what its own features bring: head @ relu(mix @ pixel) / pixels, of the normalised picture."""
    classifier, images = lively(Colours()), pictures(2, FRAME)
    normalised = (images - torch.tensor(classifier.preprocessing.mean).view(1, 3, 1, 1)) / torch.tensor(
        classifier.preprocessing.std
    ).view(1, 3, 1, 1)
    features = classifier.module.mix(normalised).relu()
    wanted = torch.einsum("tc,bchw->bthw", classifier.module.head.weight, features) / (FRAME[0] * FRAME[1])
    got = explain(classifier, images, [1, 2], composite="epsilon")
    assert agree(got, torch.stack([wanted[0, 1], wanted[1, 2]]), 1e-3)
    against = explain(classifier, images, [1, 2], composite="epsilon", contrasts=[3, 0])
    assert agree(against, torch.stack([wanted[0, 1] - wanted[0, 3], wanted[1, 2] - wanted[1, 0]]), 1e-3)


def small_mobilenet() -> nn.Module:
    return MobileNetV2(num_classes=4, width_mult=0.25, inverted_residual_setting=[[1, 32, 1, 1], [2, 32, 3, 2]])


def small_densenet() -> nn.Module:
    return DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=4)


def small_resnet(block: type = BasicBlock) -> nn.Module:
    return ResNet(block, [1, 1, 1, 1], num_classes=4)


class Fires(nn.Module):
    """As SqueezeNet: two branches side by side, concatenated, and a map of one channel a class at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(6, 4, 1), nn.Conv2d(6, 4, 3, padding=1)
        self.activation, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.head = nn.Sequential(nn.Dropout(), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.activation(self.stem(x)))
        x = torch.cat([self.activation(self.left(x)), self.activation(self.right(x))], 1)
        return torch.flatten(self.head(x), 1)


def small_shufflenet() -> nn.Module:
    return ShuffleNetV2([1, 1, 1], [8, 8, 16, 16, 16], num_classes=4)


NETWORKS = {
    "mobilenet": small_mobilenet,
    "densenet": small_densenet,
    "resnet": small_resnet,
    "bottlenecks": lambda: small_resnet(Bottleneck),
    "squeezenet": Fires,
    "shufflenet": small_shufflenet,
}


@pytest.mark.slow
@pytest.mark.parametrize("which", NETWORKS)
def test_the_sum_is_the_logit_where_there_are_no_biases(which: str) -> None:
    classifier, images = lively(NETWORKS[which](), biases=False), pictures(2, FRAME)
    got = explain(classifier, images, [1, 2], composite="epsilon").sum((1, 2))
    assert torch.allclose(got, classifier.logits(images)[[0, 1], [1, 2]], rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("which", NETWORKS)
def test_the_twin_answers_as_the_network(which: str) -> None:
    classifier = lively(NETWORKS[which]())
    twin = get_explainer("lrp").prepare(classifier, None).classifier
    images = pictures(3, FRAME, seed=4)
    assert agree(twin.logits(images).detach(), classifier.logits(images).detach(), 1e-4)
    # a DenseNet normalises what it has concatenated; elsewhere there is a convolution to merge into
    assert any(isinstance(part, nn.BatchNorm2d) for part in twin.module.modules()) == (which == "densenet")


def small_vgg() -> nn.Module:
    network = VGG(make_layers([8, "M", 12, "M"], batch_norm=True), num_classes=4, init_weights=False)
    network.classifier = nn.Sequential(nn.Linear(12 * 49, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 4))
    return network


THEIRS = {
    "resnet": (small_resnet, ResNetCanonizer),
    "bottlenecks": (lambda: small_resnet(Bottleneck), ResNetCanonizer),
    "vgg": (small_vgg, VGGCanonizer),
}


def their_composite(name: str, canonizer: object, low: Tensor, high: Tensor) -> Composite:
    box = {"low": low, "high": high} if "box" in name else {}
    return THEIR_COMPOSITES[name.replace("-", "_")](canonizers=[canonizer], **box)


@pytest.mark.slow
@pytest.mark.parametrize("composite", [name for name in COMPOSITES if name != "epsilon"])
@pytest.mark.parametrize("which", THEIRS)
def test_relevance_is_zennits_with_its_own_canoniser(which: str, composite: str) -> None:
    make, canonizer = THEIRS[which]
    classifier, images = lively(make()), pictures(2, FRAME)
    mean = torch.tensor(classifier.preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(classifier.preprocessing.std).view(1, 3, 1, 1)
    got = explain(classifier, images, [1, 2], composite=composite)
    theirs = their_composite(composite, canonizer(), -mean / std, (1 - mean) / std)
    leaf = ((images - mean) / std).requires_grad_()
    with theirs.context(classifier.module) as module:
        logits = module(leaf)
        (reference,) = torch.autograd.grad(logits, leaf, logits.detach() * torch.eye(4)[[1, 2]])
    assert agree(got, reference.sum(1), 1e-3)


@pytest.mark.slow
@every_composite
def test_an_added_branch_shares_relevance_and_does_not_double_it(composite: str) -> None:
    """x + x is 2 x: whatever the rule, the picture of a network that ends in it gets as much as before."""

    class Twice(nn.Module):
        def __init__(self, doubled: bool) -> None:
            super().__init__()
            self.first, self.head, self.doubled = nn.Conv2d(3, 6, 3), nn.Linear(6, 4, bias=False), doubled

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x).relu()
            x = x + x if self.doubled else x
            return self.head(x.mean((2, 3)))

    images = pictures(1, FRAME)
    once, twice = (explain(lively(Twice(doubled)), images, [1], composite=composite) for doubled in (False, True))
    assert agree(twice, 2 * once, 1e-2)


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.head((x * x.mean((2, 3), keepdim=True)).mean((2, 3)))


class Undecided(Gate):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x if x.mean() > 0 else -x).relu().mean((2, 3)))


class Offset(Gate):
    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.ones(1, 6, 30, 30))

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.first(x) + self.offset).relu().mean((2, 3)))


REFUSED = {
    "efficientnet": (lambda: efficientnet_b0(num_classes=4), "SiLU layers"),
    "vit": (lambda: classifier_of("vit").module, "LayerNorm layers"),
    "swin": (lambda: classifier_of("swin").module, "LayerNorm layers"),
    "gate": (Gate, "the operation 'mul'"),
    "control flow": (Undecided, "code that cannot be traced"),
    "learned offset": (Offset, "additions of something else"),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", REFUSED)
def test_what_has_no_rule_is_refused_by_name(which: str) -> None:
    make, part = REFUSED[which]
    classifier = classifier_from(make(), FRAME)
    reason = get_explainer("lrp").supports(classifier)
    assert reason.startswith(f"LRP has no rule for {part}")
    assert reason.endswith(".")
    with pytest.raises(UserError, match="has no rule"):
        get_explainer("lrp").bind(classifier)


def test_without_zennit_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, small_cnn: Classifier) -> None:
    monkeypatch.setitem(sys.modules, "zennit", None)
    assert "pip install zennit" in get_explainer("lrp").supports(small_cnn)


@pytest.mark.slow
def test_other_threads_may_use_any_model_while_one_is_rewritten(small_cnn: Classifier) -> None:
    """torch.fx hooks into the calls of all modules of the process; only the tracing thread may notice."""
    images, wanted, wrong, done = pictures(1, FRAME), small_cnn.logits(pictures(1, FRAME)), [], threading.Event()

    def work() -> None:
        while not done.is_set():
            try:
                if not torch.equal(small_cnn.logits(images), wanted):
                    wrong.append("another answer")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                wrong.append(repr(error))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            canonical(small_densenet().eval(), torch.rand(1, 3, 32, 32), Sum)
    finally:
        done.set()
        thread.join()
    assert wrong == []


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    "spec", ["torchvision:squeezenet1_1@squeezenet1_1.pth", "torchvision:mobilenet_v2@mobilenet_v2.pth"]
)
def test_published_weights_run_and_conserve(spec: str, data: Path) -> None:
    """As they are, biases absorb a part (of a MobileNet nearly all); with them taken away, nothing is lost."""
    name, _, file = spec.partition("@")
    classifier = load_classifier(f"{name}@{data / 'weights' / file}", device="cpu")
    photo = classifier.prepare(read_picture(next(iter(sorted(data.glob("imagenet100/images/*")))))).tensor.unsqueeze(0)
    got = explain(classifier, photo, [classifier.predict(photo, 1)[0][0].index])
    assert torch.isfinite(got).all()
    assert got.abs().max() > 0
    plain = classifier_from(unbiased(copy.deepcopy(classifier.module)), classifier.input_size)
    top = plain.predict(photo, 1)[0][0].index
    logit = float(plain.logits(photo)[0, top])
    assert float(explain(plain, photo, [top], composite="epsilon").sum()) == pytest.approx(logit, rel=0.02)
