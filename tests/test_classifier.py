"""The classifier: a private copy, honest numbers, plain errors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from core.classifier import Classifier, expand_targets
from core.errors import UserError
from core.preprocessing import Preprocessing

SMALL = Preprocessing(resize=(8, 8), crop=None, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def network(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(216, classes),
    )


def classifier(module: nn.Module | None = None, **options) -> Classifier:
    return Classifier(module or network(), **{"preprocessing": SMALL, "device": "cpu"} | options)


class Answering(nn.Module):
    """Answers with what `wrap` makes of its logits, or always with the given ones."""

    def __init__(self, wrap=lambda x: x, fixed=None):
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.wrap, self.fixed = wrap, fixed

    def forward(self, x):
        if self.fixed is not None:
            return self.wrap(torch.tensor(self.fixed).expand(len(x), -1))
        return self.wrap(self.head(x.mean((2, 3))))


def test_the_callers_module_is_untouched():
    module = network().train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    made = classifier(module)
    made.logits(torch.rand(2, 3, 8, 8))
    assert module.training
    assert all(p.requires_grad for p in module.parameters())
    assert module[2].inplace
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert not made.module.training
    assert not any(p.requires_grad for p in made.module.parameters())
    assert not any(getattr(m, "inplace", False) for m in made.module.modules())
    assert made.module is not module


def test_normalisation_is_inside_and_differentiable():
    module, images = network().eval(), torch.rand(2, 3, 8, 8, requires_grad=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (SMALL.mean, SMALL.std))
    made = classifier(module)
    torch.testing.assert_close(made.logits(images), module((images - mean) / std))
    made.logits(images)[:, 0].sum().backward()
    assert float(images.grad.abs().sum()) > 0
    assert all(p.grad is None for p in made.module.parameters())


def test_softmax_margin_is_the_log_odds_of_the_probability():
    made, images, targets = classifier(), torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    logits = made.logits(images)
    chosen = made.probabilities(logits).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(made.margin(logits, targets), torch.logit(chosen), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.probabilities(logits).sum(1), torch.ones(4))


def test_sigmoid_classes_stand_on_their_own():
    made, images, targets = classifier(output="sigmoid"), torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    logits = made.logits(images)
    chosen = made.probabilities(logits).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(chosen, logits.sigmoid().gather(1, targets[:, None])[:, 0])
    torch.testing.assert_close(made.margin(logits, targets), torch.logit(chosen), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.margin(logits, targets), made.score(logits, targets))


def test_score_is_the_logit_and_flips_with_the_contrast():
    made = classifier()
    logits, a, b = made.logits(torch.rand(2, 3, 8, 8)), torch.tensor([0, 1]), torch.tensor([2, 0])
    torch.testing.assert_close(made.score(logits, a), logits[[0, 1], [0, 1]])
    torch.testing.assert_close(made.score(logits, a, b), -made.score(logits, b, a))


def test_one_logit_becomes_two_labels():
    module = network(1).eval()
    made, images = classifier(module, labels=["ill"]), torch.rand(3, 3, 8, 8)
    assert made.labels == ("not ill", "ill")
    assert made.output == "sigmoid"
    logits = made.logits(images)
    torch.testing.assert_close(logits[:, 0], -logits[:, 1])
    torch.testing.assert_close(made.probabilities(logits).sum(1), torch.ones(3))
    assert classifier(module).labels == ("class 0", "class 1")
    assert classifier(module, labels=["well", "ill"]).labels == ("well", "ill")
    with pytest.raises(UserError, match="2 classes but 3 labels"):
        classifier(module, labels=["a", "b", "c"])


def test_the_fingerprint_follows_weights_and_preprocessing_only():
    module = network()
    first = classifier(module)
    assert len(first.fingerprint) == 64
    assert classifier(module, name="other", labels=["x", "y", "z"]).fingerprint == first.fingerprint
    changed = classifier(module, preprocessing=Preprocessing(resize=(8, 8), crop=None))
    assert changed.fingerprint != first.fingerprint
    assert classifier(module, output="sigmoid").fingerprint != first.fingerprint
    with torch.no_grad():
        module[5].bias[1] += 1e-6
    assert classifier(module).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: SimpleNamespace(logits=x, loss=None),
        lambda x: {"logits": x},
        lambda x: {"out": x, "aux": None},
        lambda x: (x, "auxiliary"),
    ],
    ids=["tensor", "object", "logits", "out", "tuple"],
)
def test_answers_of_every_form(wrap):
    plain = classifier(Answering())
    made = classifier(Answering(wrap))
    made.module.load_state_dict(plain.module.state_dict())
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(made.logits(images), plain.logits(images))


@pytest.mark.slow
def test_answers_that_are_none():
    with pytest.raises(UserError, match="answers with str"):
        classifier(Answering(lambda x: "cat"))
    with pytest.raises(UserError, match=r"shape \(6, 3, 1\); a classifier gives \[batch, classes\]"):
        classifier(Answering(lambda x: x[..., None]))
    with pytest.raises(UserError, match="does not take pictures of 4x4 pixels"):
        classifier(preprocessing=Preprocessing(resize=(4, 4), crop=None))


def test_labels_must_fit():
    assert classifier(labels=["a", "b", "c"]).labels == ("a", "b", "c")
    with pytest.raises(UserError, match="3 classes but 2 labels were given"):
        classifier(labels=["a", "b"])


def test_classes_by_label_and_number():
    made = classifier(Answering(fixed=[0.0] * 5), labels=["Cat", "dog", "crane", "crane", "7"])
    assert made.class_index("Cat") == made.class_index("cat") == made.class_index(0) == made.class_index(" 0 ") == 0
    assert made.class_index("7") == 4
    assert made.class_index("3") == 3
    with pytest.raises(UserError, match="'crane' is the label of classes 2, 3; give the number"):
        made.class_index("crane")
    with pytest.raises(UserError, match="did you mean 'dog'"):
        made.class_index("dogg")
    for wrong in (5, -1, "9", "²", ""):
        with pytest.raises(UserError, match="has no class"):
            made.class_index(wrong)


def test_top_five_are_sorted():
    made = classifier(Answering(fixed=[0.0, 3.0, 1.0, 2.0, -1.0, 4.0, 0.5]))
    top = made.predict(torch.rand(2, 3, 8, 8))
    assert [p.index for p in top[1]] == [5, 1, 3, 2, 6]
    assert [p.label for p in top[1]][:2] == ["class 5", "class 1"]
    expected = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.5]).exp() / torch.tensor([0.0, 3, 1, 2, -1, 4, 0.5]).exp().sum()
    assert [p.probability for p in top[0]] == pytest.approx(expected.tolist(), rel=1e-5)
    assert len(classifier().predict(torch.rand(1, 3, 8, 8))[0]) == 3


def test_nan_is_said_and_not_shown():
    made = classifier(Answering(fixed=[0.0, float("nan"), 1.0]))
    with pytest.raises(UserError, match="answers with NaN or infinity"):
        made.predict(torch.rand(1, 3, 8, 8))
    module = network()
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(UserError, match=r"weights hold NaN or infinity \(first in '0.weight'\)"):
        classifier(module)


def test_layers_without_weights_yet_are_named():
    lazy = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(UserError, match=r"toy has layers that have not seen a picture yet \(first '2'\)"):
        classifier(lazy, name="toy")
    lazy(torch.zeros(1, 3, 8, 8))
    assert len(classifier(lazy).labels) == 3


def test_devices_and_precisions():
    assert classifier(precision="auto").precision == "float32"
    low, high = classifier(precision="bfloat16"), classifier()
    images = torch.rand(2, 3, 8, 8)
    assert low.logits(images).dtype == torch.float32
    torch.testing.assert_close(low.logits(images), high.logits(images), rtol=0.05, atol=0.05)
    with pytest.raises(UserError, match="Precision must be"):
        classifier(precision="float8")
    with pytest.raises(UserError, match="no device"):
        classifier(device="abacus")


def test_one_target_serves_all_pictures():
    assert expand_targets(2, 3, torch.device("cpu")).tolist() == [2, 2, 2]
    assert expand_targets([0, 1], 2, torch.device("cpu")).tolist() == [0, 1]
