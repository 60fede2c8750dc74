"""Small networks as people write them: the probabilities that one computes from the module by hand, or a word."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.classifier import Classifier
from core.errors import UserError
from core.preprocessing import Preprocessing

from .harness import Case, Family, Wrong

SIDE = 16
ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda out: out,
    "softmax": lambda out: out.softmax(-1),
    "log-softmax": lambda out: out.log_softmax(-1),
    "sigmoid": lambda out: out.sigmoid(),
}


class Net(nn.Module):
    """Convolutions, a way to flatten, a head, an end."""

    def __init__(self, channels: int, classes: int, flatten: str, end: str) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(channels, 4, 3, stride=2, padding=1),
            nn.Conv2d(4, 6, 3, stride=2, padding=1),
        )
        self.norm = nn.BatchNorm2d(4)
        self.flatten, self.end, self.drop = flatten, end, 0.0
        self.head = nn.Linear(6 if flatten == "mean" else 6 * (SIDE // 4) ** 2, classes)
        nn.init.normal_(self.head.weight, std=0.7)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = F.relu(self.second(x))
        if self.flatten == "view":
            x = x.view(x.size(0), -1)
        elif self.flatten == "flatten":
            x = x.flatten(1)
        else:
            x = x.mean((2, 3))
        if self.drop > 0.0:
            x = F.dropout(x, self.drop, training=True)
        x = self.head(x)
        if self.end == "softmax":
            return x.softmax(-1)
        if self.end == "log-softmax":
            return x.log_softmax(-1)
        if self.end == "sigmoid":
            return x.sigmoid()
        return x


class InADictionary(nn.Module):
    def __init__(self, net: nn.Module, how: str) -> None:
        super().__init__()
        self.net, self.how = net, how

    def forward(self, x: Tensor) -> object:
        out = self.net(x)
        return {"logits": out} if self.how == "dictionary" else (out, x)


def by_hand(out: Tensor, end: str) -> Tensor:
    """Probabilities [B, C] of what the module answers, as a person who wrote it would take them."""
    if end in ("softmax", "sigmoid"):
        chances = out
    else:
        chances = out.exp() if end == "log-softmax" else out.sigmoid() if out.shape[1] == 1 else out.softmax(-1)
    return torch.cat([1 - chances, chances], 1) if out.shape[1] == 1 else chances


def attempt(case: Case) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.number(0, 2**31))
        _attempt(case)


def _attempt(case: Case) -> None:
    end = case.pick(list(ENDS))
    classes = case.pick((1, 2, 3, 10)) if end in ("logits", "sigmoid") else case.pick((2, 3, 10))
    channels = case.pick((3, 3, 3, 3, 1, 4))
    flatten = case.pick(("view", "flatten", "mean"))
    net = Net(channels, classes, flatten, end).eval()
    body: nn.Module = net
    form = case.pick(("plain",) * 6 + ("half", "double", "scripted", "traced", "dictionary", "tuple", "undetermined"))
    odd = [f"{'one ' if classes == 1 else ''}{end}", "1 channel" if channels == 1 else "", flatten, form]
    case.kind = ", ".join(part for part in odd if part not in ("", "plain", "mean", "flatten"))
    normal = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    picture = torch.from_numpy(case.rng.random((2, 1 if channels == 1 else 3, SIDE, SIDE), dtype=np.float32))
    shown = (picture - 0.5) / 0.25
    with torch.no_grad():
        truth = by_hand(net(shown), end) if channels != 4 else None
    if form in ("half", "double"):
        body = net.half() if form == "half" else net.double()
    elif form == "scripted":
        body = torch.jit.script(net)
    elif form == "traced":
        body = torch.jit.trace(net, torch.zeros(1, channels, SIDE, SIDE), check_trace=False)
    elif form in ("dictionary", "tuple"):
        body = InADictionary(net, form)
    elif form == "undetermined":
        net.drop = 0.5
    preprocessing = Preprocessing(resize=(SIDE, SIDE), crop=None, mean=normal[0], std=normal[1])
    try:
        made = Classifier(body, preprocessing=preprocessing, device="cpu", precision="float32")
    except UserError as error:
        # a program or four channels may be refused, the rest is what every tutorial writes
        text = str(error)
        if form in ("scripted", "traced") or channels == 4 or (end in ("softmax", "sigmoid") and "probabilit" in text):
            raise
        raise Wrong(f"refused, though sound: {text}") from error
    notes = getattr(made, "notes", ())
    case.expect(truth is not None, "a network of four channels was taken")
    assert truth is not None
    with torch.no_grad():
        got = made.probabilities(made.logits(picture.expand(2, 3, SIDE, SIDE)))
    if form == "undetermined":
        case.expect(notes, "that the same picture gives two answers is not said")
        return
    case.expect(got.shape == truth.shape, f"{got.shape[1]} classes, {truth.shape[1]} expected")
    apart = float((got - truth).abs().max())
    case.expect(apart < (0.02 if form == "half" else 2e-3), f"a probability differs by {apart:.3f}")
    if end in ("softmax", "sigmoid"):
        case.expect(notes, "that the outputs are probabilities is not said")


FAMILY = Family("models", 0.018, attempt)
