"""A classifier's last layer, re-fit: features stay, what is made of them is learned anew.

Source: Kirichenko, Izmailov, Wilson (2023), Last Layer Re-Training is Sufficient for Robustness to Spurious
Correlations. Different here: the weights are held to those that were there instead of to zero, how strictly being
chosen by held-out pictures; and what a change does to the logits is held to nothing, without which answers become right
while the change still moves them far.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from core.classifier import Classifier
from core.errors import UserError
from core.loading import load_classifier
from core.loading.checkpoints import read_checkpoint
from core.loading.demo import weights_of
from core.loading.specs import taken_apart
from core.runtime.folding import unfolded
from core.runtime.whole_files import whole_file

SAMENESS = 3.0  # weight of what a change does to the logits, squared
STRICTNESS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # weight of the distance to the weights that were there
FOLDS = 5
STEPS = 200
SAME = 1e-3  # of the logits of a file that is read back
KEPT = ("torchvision", "timm")  # sources whose weights files can be written


@dataclass(frozen=True)
class LastLayer:
    """The layer whose answers are the logits.

    Attributes:
        path: its name in the module.
    """

    classifier: Classifier
    path: str

    @classmethod
    def of(cls, classifier: Classifier) -> LastLayer:
        """Found by watching one picture go through.

        Raises:
            UserError: no linear layer comes last.
        """
        answers: dict[str, Tensor] = {}
        hooks = [
            layer.register_forward_hook(lambda _, __, out, name=name: answers.__setitem__(name, out))
            for name, layer in classifier.module.named_modules()
            if isinstance(layer, nn.Linear)
        ]
        try:
            with torch.no_grad():
                logits = classifier.logits(torch.full((1, 3, *classifier.input_size), 0.5))
        finally:
            for hook in hooks:
                hook.remove()
        for name, out in answers.items():
            if out.dim() == 2 and torch.equal(out.float(), logits[:, -out.shape[1] :]):
                return cls(classifier, name)
        raise UserError(
            f"The last layer of {classifier.name} is not linear, so that it cannot be re-fit here; train on the "
            "changed pictures with your own code."
        )

    @property
    def layer(self) -> nn.Linear:
        found = self.classifier.module.get_submodule(self.path)
        assert isinstance(found, nn.Linear)
        return found

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, F]: what the layer is given."""
        given: list[Tensor] = []
        hook = self.layer.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
        try:
            self.classifier.logits(images)
        finally:
            hook.remove()
        return given[0].detach().float().cpu()

    def logits(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """[B, F], [C, F], [C] -> [B, C], as the classifier would answer with these weights."""
        out = features @ weight.T + bias
        return torch.cat([-out, out], 1) if len(weight) == 1 else out

    def now(self) -> tuple[Tensor, Tensor]:
        """(weight [C, F], bias [C]) as they are."""
        bias = self.layer.bias
        weight = self.layer.weight.detach().float().cpu()
        return weight, torch.zeros(len(weight)) if bias is None else bias.detach().float().cpu()

    def with_weights(self, weight: Tensor, bias: Tensor) -> nn.Module:
        """A copy of the module with others, as it was given."""
        module = unfolded(self.classifier.module)
        layer = module.get_submodule(self.path)
        assert isinstance(layer, nn.Linear)
        with torch.no_grad():
            layer.weight.copy_(weight)
            if layer.bias is not None:
                layer.bias.copy_(bias)
        return module


@dataclass(frozen=True)
class Lessons:
    """Pictures to learn from, and the same changed.

    Attributes:
        features: [N, F]. targets: [N] classes. weights: [N], how much each counts. groups: [N], numbers of what stays
            together. original: [N], the row of the picture before it was changed, or its own.
    """

    features: Tensor
    targets: Tensor
    weights: Tensor
    groups: Tensor
    original: Tensor

    def part(self, chosen: Tensor) -> Lessons:
        """[N] of booleans; whole groups, so that originals come along."""
        place = chosen.cumsum(0) - 1
        return Lessons(
            self.features[chosen], self.targets[chosen], self.weights[chosen], self.groups[chosen],
            place[self.original[chosen]],
        )  # fmt: skip

    def loss(self, last: LastLayer, weight: Tensor, bias: Tensor) -> Tensor:
        """A number: how wrong the answers are, and how far changes move them."""
        wrong = _loss(last, last.logits(self.features, weight, bias), self.targets)
        moved = (self.features - self.features[self.original]) @ weight.T
        if last.classifier.output == "softmax":
            moved = moved - moved.mean(1, keepdim=True)
        changed = self.original != torch.arange(len(self.original))
        apart = (moved.square().mean(1) * self.weights)[changed].sum() / self.weights[changed].sum().clamp(min=1e-9)
        return (wrong * self.weights).sum() / self.weights.sum() + SAMENESS * apart


def refit(last: LastLayer, lessons: Lessons) -> Iterator[tuple[Tensor, Tensor]]:
    """Fit weights anew, as near to those that are there as held-out groups advise; yields the best so far."""
    fold = lessons.groups % FOLDS
    folds = fold.unique().tolist()
    weight, bias = last.now()
    least = float(lessons.loss(last, weight, bias))
    yield weight, bias
    for strictness in STRICTNESS:
        total, count = 0.0, 0.0
        for number in folds if len(folds) > 1 else ():
            held = lessons.part(fold == number)
            found = _fitted(last, lessons.part(fold != number), strictness)
            share = float(held.weights.sum())
            total, count = total + float(held.loss(last, *found)) * share, count + share
        if count and total / count < least:
            least = total / count
            weight, bias = _fitted(last, lessons, strictness)
        yield weight, bias


def _fitted(last: LastLayer, lessons: Lessons, strictness: float) -> tuple[Tensor, Tensor]:
    before, bias_before = last.now()
    weight, bias = before.clone().requires_grad_(), bias_before.clone().requires_grad_()
    spread = lessons.features.std(0).clamp(min=1e-6)
    learned = [weight, bias] if last.layer.bias is not None else [weight]
    optimiser = torch.optim.LBFGS(learned, max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = lessons.loss(last, weight, bias) + strictness * (((weight - before) * spread) ** 2).sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return weight.detach(), bias.detach()


def _loss(last: LastLayer, logits: Tensor, targets: Tensor) -> Tensor:
    """[B]: cross-entropy, of each class by itself where classes do not exclude each other."""
    if last.classifier.output == "softmax":
        return F.cross_entropy(logits, targets, reduction="none")
    wanted = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1)


def write_classifier(last: LastLayer, weight: Tensor, bias: Tensor, out: Path) -> str:
    """A weights file that holds labels and preprocessing as well, and that was read back; returns its spec.

    Raises:
        UserError: the classifier's source has no such files, or the file does not give the same answers.
    """
    classifier = last.classifier
    source, _, rest = classifier.name.partition(":")
    if classifier.recipe is not None:
        source, rest = taken_apart(str(classifier.recipe["spec"]))
    name, _, file = rest.partition("@")
    metadata: dict[str, str] = {}
    if source == "demo":
        metadata = read_checkpoint(weights_of(name))[1]
        source, name = "torchvision", metadata["architecture"]
    elif file:
        metadata = read_checkpoint(file)[1]
    if source not in KEPT:
        raise UserError(
            f"{classifier.name} cannot be written as a weights file (only models of {' and '.join(KEPT)} can); train "
            "on the changed pictures with your own code."
        )
    metadata |= {
        "labels": json.dumps(list(classifier.labels)),
        "preprocessing": json.dumps(classifier.preprocessing.to_dict()),
        "output": classifier.output,
    }
    module = last.with_weights(weight, bias)
    state = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in module.state_dict().items()}
    with whole_file(out) as part:
        part.write_bytes(save(state, metadata))
    spec = f"{source}:{name}@{out}"
    _check(last, spec, weight, bias)
    return spec


def _check(last: LastLayer, spec: str, weight: Tensor, bias: Tensor) -> None:
    """What is on the disk is what was fitted."""
    classifier = last.classifier
    found = load_classifier(spec, device=classifier.device, precision=classifier.precision)
    images = torch.rand(2, 3, *classifier.input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, told = last.logits(last.features(images), weight, bias), found.logits(images).cpu()
    if wanted.shape != told.shape or not torch.allclose(wanted, told, rtol=SAME, atol=SAME * float(wanted.abs().max())):
        raise UserError(f"The repaired weights in {spec} do not answer as they should; tell us about this model.")
