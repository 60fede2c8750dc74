"""What a model answers with, what it takes, and whether it holds still: found out once, when it is loaded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.choice import default_choices
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import explainers
from core.preprocessing import Preprocessing

SMALL = Preprocessing(resize=(16, 16), crop=None)
IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([0, 1, 2, 0])


class Net(nn.Module):
    """A small convolutional network with a last step of its own, over logits of about -6 to 6."""

    def __init__(self, last: Callable[[Tensor], Tensor] = lambda x: x, classes: int = 3, channels: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.norm = nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6)
            self.head = nn.Linear(24, classes)
        with torch.no_grad():
            self.head.weight.mul_(8)
            self.head.bias.sub_(1)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.norm(self.first(x)).relu(), 2)
        return self.last(self.head(x.flatten(1)))


class Viewing(nn.Module):
    """`x.view` after convolutions, which no picture in channels-last order survives."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 32 * 32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).relu().view(x.size(0), -1))


def classifier(module: nn.Module, **options) -> Classifier:
    module = module if isinstance(module, torch.jit.ScriptModule) else module.eval()
    return Classifier(module, **{"preprocessing": SMALL, "device": "cpu", "name": "it"} | options)


def only_note(made: Classifier, words: str) -> None:
    assert len(made.notes) == 1
    assert words in made.notes[0]


def refused(module: nn.Module, *words: str, **options) -> None:
    with pytest.raises(UserError) as caught:
        classifier(module, **options)
    for word in ("it", *words):
        assert word in str(caught.value)


# --- probabilities -------------------------------------------------------------------------------------------------


def by_hand(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum(1, keepdim=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last", "words"),
    [
        (nn.Softmax(1), "softmax layer, which was taken off"),
        (nn.LogSoftmax(1), "log-softmax layer, which was taken off"),
        (lambda x: F.softmax(x, 1), "probabilities (a softmax)"),
        (lambda x: F.log_softmax(x, 1), "log-probabilities, which are taken"),
        (lambda x: torch.log(torch.softmax(x, 1)), "log-probabilities, which are taken"),
        (by_hand, "probabilities (a softmax)"),
    ],
    ids=["layer", "log layer", "function", "log function", "log of it", "by hand"],
)
def test_a_softmax_at_the_end_changes_no_probability_and_no_margin(last, words):
    plain, made = classifier(Net()), classifier(Net(last))
    only_note(made, words)
    assert made.output == "softmax"
    wanted, found = plain.logits(IMAGES), made.logits(IMAGES)
    torch.testing.assert_close(made.probabilities(found), plain.probabilities(wanted), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(made.margin(found, TARGETS), plain.margin(wanted, TARGETS), rtol=1e-4, atol=1e-4)
    if isinstance(last, nn.Module):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (nn.Sigmoid(), "sigmoid layer, which was taken off"),
        (torch.sigmoid, "a probability a class (a sigmoid)"),
        (lambda x: torch.sigmoid(x).clamp(1e-7, 1 - 1e-7), "a probability a class"),
        (F.logsigmoid, "log-probabilities (of a sigmoid)"),
    ],
    ids=["layer", "function", "clamped", "logarithm"],
)
def test_sigmoids_at_the_end_stand_on_their_own(last, words):
    plain, made = classifier(Net(), output="sigmoid"), classifier(Net(last))
    only_note(made, words)
    assert made.output == "sigmoid"
    torch.testing.assert_close(made.logits(IMAGES), plain.logits(IMAGES), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "last", [nn.Sigmoid(), torch.sigmoid, lambda x: torch.sigmoid(x).squeeze(1), lambda x: torch.sigmoid(x).squeeze()]
)
def test_one_sigmoid_keeps_its_probability(last):
    module = Net(last, classes=1).eval()
    with torch.no_grad():
        logit = float(Net(classes=1).eval()((IMAGES[:1] - mean()) / std()))
        module.head.bias.add_(torch.logit(torch.tensor(0.0067)) - logit)
    probabilities = [p.probability for p in classifier(module, labels=["well", "ill"]).predict(IMAGES[:1])[0]]
    assert probabilities == pytest.approx([0.9933, 0.0067], abs=1e-5)


def mean() -> Tensor:
    return torch.tensor(SMALL.mean).view(1, 3, 1, 1)


def std() -> Tensor:
    return torch.tensor(SMALL.std).view(1, 3, 1, 1)


def test_two_probabilities_made_of_one():
    one = classifier(Net(classes=1))
    made = classifier(Net(lambda x: torch.cat([1 - x.sigmoid(), x.sigmoid()], 1), classes=1))
    wanted = one.probabilities(one.logits(IMAGES))
    torch.testing.assert_close(made.probabilities(made.logits(IMAGES)), wanted, rtol=1e-4, atol=1e-6)


def test_an_average_of_two_models_probabilities():
    made = classifier(Net(lambda x: (x.softmax(1) + (x / 2).softmax(1)) / 2))
    logits = classifier(Net()).logits(IMAGES)
    wanted = (logits.softmax(1) + (logits / 2).softmax(1)) / 2
    torch.testing.assert_close(made.probabilities(made.logits(IMAGES)), wanted, rtol=1e-4, atol=1e-6)


def test_gradients_through_tiny_probabilities_are_of_full_size():
    steep = Net(lambda x: F.softmax(30 * x, 1))
    plain, made = classifier(Net(lambda x: 30 * x)), classifier(steep)
    images = IMAGES.clone().requires_grad_(True)
    assert float(made.probabilities(made.logits(IMAGES)).min()) < 1e-20
    (found,) = torch.autograd.grad(made.margin(made.logits(images), TARGETS).sum(), images)
    (wanted,) = torch.autograd.grad(plain.margin(plain.logits(images), TARGETS).sum(), images)
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-2 * float(wanted.abs().max()))


def test_what_is_stated_comes_first():
    softmax = classifier(Net(nn.Softmax(1)), output="sigmoid")
    plain = classifier(Net())
    wanted = plain.probabilities(plain.logits(IMAGES))
    assert softmax.output == "sigmoid"
    torch.testing.assert_close(softmax.probabilities(softmax.logits(IMAGES)), wanted, rtol=1e-4, atol=1e-6)
    exclusive = classifier(Net(nn.Sigmoid()), output="softmax")
    torch.testing.assert_close(exclusive.probabilities(exclusive.logits(IMAGES)), wanted, rtol=1e-4, atol=1e-6)
    in_doubt = classifier(Net(lambda x: 1 / (1 + torch.exp(-x))), output="sigmoid")
    torch.testing.assert_close(in_doubt.logits(IMAGES), plain.logits(IMAGES), rtol=1e-3, atol=1e-3)


def test_softmax_over_something_else_than_the_classes_is_refused():
    refused(Net(lambda x: F.softmax(x, 0)), "not taken over its classes", "dimension 1")
    refused(Net(nn.Softmax(1), classes=1), "not taken over its classes", "sigmoid")


class Averages(nn.Module):
    """Logits that lie between 0 and 1 by chance: mean colours of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight.data = 0.1 * torch.eye(3)
        self.head.bias = nn.Parameter(torch.full((3,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    "last", [lambda x: x, F.relu, lambda x: F.normalize(x, dim=1)], ids=["plain", "relu", "cosine"]
)
def test_logits_stay_logits(last):
    made = classifier(Net(last))
    assert made.notes == ()
    module = Net(last).eval()
    torch.testing.assert_close(made.logits(IMAGES), module((IMAGES - mean()) / std()), rtol=1e-4, atol=1e-5)


def test_logits_between_0_and_1_by_chance_stay_logits():
    made = classifier(Averages())
    logits = made.logits(IMAGES)
    assert 0 < float(logits.min()) < float(logits.max()) < 1
    assert made.notes == ()
    assert made.output == "softmax"
    torch.testing.assert_close(logits, Averages()((IMAGES - mean()) / std()), rtol=1e-4, atol=1e-5)


def test_doubt_is_said_and_changes_nothing():
    made = classifier(Net(lambda x: (torch.tanh(x) + 1) / 2))
    only_note(made, "taken as logits")
    assert 0 <= float(made.logits(IMAGES).min()) <= float(made.logits(IMAGES).max()) <= 1


def test_a_layer_that_is_used_inside_as_well_is_left():
    class Gated(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.head(F.adaptive_avg_pool2d(self.last(self.first(x)), 2).flatten(1)))

    module = Gated(nn.Softmax(1)).eval()
    made = classifier(module)
    only_note(made, "probabilities (a softmax)")
    wanted = module((IMAGES - mean()) / std())
    torch.testing.assert_close(made.probabilities(made.logits(IMAGES)), wanted, rtol=1e-4, atol=1e-6)
    assert type(module.last) is nn.Softmax


def test_sigmoids_are_computed_in_full_precision():
    steep = [classifier(Net(lambda x: torch.sigmoid(x + 7), classes=1), precision=p) for p in ("float32", "bfloat16")]
    exact, low = (made.logits(IMAGES) for made in steep)
    assert float(exact.max()) > 6.5
    torch.testing.assert_close(low, exact)


def test_the_fingerprint_tells_a_model_from_the_same_one_behind_a_softmax():
    prints = {classifier(Net(last)).fingerprint for last in (lambda x: x, nn.Softmax(1), lambda x: F.softmax(x, 1))}
    assert len(prints) == 3


# --- pictures ------------------------------------------------------------------------------------------------------


def test_the_layout_is_changed_only_where_the_model_allows_it():
    frame = Preprocessing(resize=(32, 32), crop=None)
    viewing = classifier(Viewing(), preprocessing=frame)
    assert viewing.memory_format == torch.contiguous_format
    assert viewing.notes == ()
    assert viewing.logits(torch.rand(1, 3, 32, 32)).shape == (1, 3)
    assert classifier(Net()).memory_format == torch.channels_last


def test_another_size_is_named():
    refused(Viewing(), "does not take pictures of 16x16", "it takes 32x32", "--size 32x32")
    refused(Viewing(), "it takes 32x32", preprocessing=Preprocessing())


def test_one_channel_gets_grey():
    frame = Preprocessing(resize=(16, 16), crop=None, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    made, module = classifier(Net(channels=1), preprocessing=frame), Net(channels=1).eval()
    only_note(made, "one channel; grey is made")
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey, mean_, std_ = ((weights * v).sum(1, keepdim=True) for v in (IMAGES, *(
        torch.tensor(v).view(1, 3, 1, 1) for v in (frame.mean, frame.std))))  # fmt: skip
    torch.testing.assert_close(made.logits(IMAGES), module((grey - mean_) / std_), rtol=1e-4, atol=1e-5)
    images = IMAGES.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(made.logits(images).sum(), images)
    torch.testing.assert_close(gradient / weights, (gradient / weights).mean(1, keepdim=True).expand_as(gradient))


def test_a_flat_model_of_one_channel_does_not_take_colours_for_pictures():
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(784, 10)

        def forward(self, x: Tensor) -> Tensor:
            return F.log_softmax(self.head(x.view(-1, 784)), dim=1)

    made = classifier(Flat(), preprocessing=Preprocessing(resize=(28, 28), crop=None))
    assert made.logits(torch.rand(2, 3, 28, 28)).shape == (2, 10)
    assert [note.split()[2] for note in made.notes] == ["takes", "answers"]
    refused(Flat(), "it takes 28x28")


def test_other_channels_and_single_pictures_are_told():
    refused(Net(channels=4), "takes pictures of 4 channels", "photos have 3")
    refused(Net(lambda x: x.view(1, 3)), "only one picture at a time")


# --- what does not hold still, and what is no plain float module ----------------------------------------------------


def test_answers_that_change_are_told():
    only_note(classifier(Net(lambda x: F.dropout(x, 0.5, training=True))), "differently each time")
    module = Net()
    module.norm = nn.BatchNorm2d(6, track_running_stats=False)
    only_note(classifier(module), "depends on which others")
    only_note(classifier(Net(lambda x: (x, x))), "2 tensors; the first")


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    classifier(Net(lambda x: F.dropout(x, 0.5, training=True)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_copied(dtype):
    module = Net().to(dtype)
    made = classifier(module)
    only_note(made, f"{dtype}".removeprefix("torch."))
    assert module.head.weight.dtype == dtype
    torch.testing.assert_close(made.logits(IMAGES), classifier(Net()).logits(IMAGES), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, IMAGES)], ids=["scripted", "traced"])
def test_torchscript_works_where_it_has_weights(make):
    module = make(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(784, 3)).eval())
    for _ in range(3):
        module(IMAGES)  # optimised by now
    made = classifier(module)
    assert made.notes == ()
    torch.testing.assert_close(made.logits(IMAGES), module((IMAGES - mean()) / std()), rtol=1e-4, atol=1e-5)
    refusing = {name: method.supports(made) for name, method in explainers().items() if "captum" not in name}
    assert refusing["gradient"] is None
    assert "layer" in refusing["grad-cam"]
    assert default_choices(made)
    (found,) = explainers()["gradient"].bind(made).explain(IMAGES[:1], [0], seeds=[0])
    assert float(found.values.abs().sum()) > 0


def test_what_has_no_gradients_or_no_weights_is_refused():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(768, 3)).eval()
    refused(torch.ao.quantization.quantize_dynamic(flat, {nn.Linear}), "integer-quantised layers (first '1'")  # ty: ignore[deprecated]
    refused(torch.jit.freeze(torch.jit.script(flat)), "frozen TorchScript")
    refused(nn.Sequential(nn.Flatten(), nn.Linear(768, 3, device="meta")), "meta device")


@pytest.mark.slow
def test_wrappers_are_taken_off_and_computed_weights_copied():
    wanted = classifier(Net())
    assert classifier(nn.DataParallel(Net())).fingerprint == wanted.fingerprint
    assert classifier(torch.compile(Net())).fingerprint == wanted.fingerprint
    module = Net()
    module.head = torch.nn.utils.weight_norm(module.head)
    torch.testing.assert_close(classifier(module).logits(IMAGES), wanted.logits(IMAGES), rtol=1e-4, atol=1e-4)
