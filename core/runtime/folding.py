"""Batch normalisation made part of the convolution or linear layer before it: the same answers in fewer passes."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from core.runtime.capture import tensors_in

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
SAME = 1e-4  # of the largest value: what answers may differ by
# A unit that rounding moves across the kink of a ReLU changes single gradients much, but their sum little.
SAME_GRADIENT = 5e-2
# operations by which code asks for a value, as it does before it chooses what to do next
DECISIONS = tuple(getattr(torch.ops.aten, name) for name in ("_local_scalar_dense", "is_nonzero", "equal"))


@dataclass(frozen=True)
class Apart:
    """What a layer and its norm were before they became one.

    Attributes:
        source: path of the layer from the module that was folded.
    """

    source: str
    weight: nn.Parameter
    bias: nn.Parameter | None
    norm: _BatchNorm


class Folded(nn.Sequential):
    """Stands where a norm stood: it passes on what it is given, through what the norm had besides (an activation)."""

    def __init__(self, apart: Apart) -> None:
        super().__init__(OrderedDict(apart.norm.named_children()))
        self.apart = apart


Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear


def merged(source: nn.Module, norm: nn.Module) -> Layer | None:
    """One layer that does what `source` and then the statistics of `norm` do; None where there is no such layer."""
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None or norm.training:
        return None
    if isinstance(source, CONVOLUTIONS) and source.out_channels == norm.num_features:
        return fuse_conv_bn_eval(source, norm).requires_grad_(False)
    if isinstance(source, nn.Linear) and isinstance(norm, nn.BatchNorm1d) and source.out_features == norm.num_features:
        return fuse_linear_bn_eval(source, norm).requires_grad_(False)
    return None


def fold_norms(module: nn.Module, probe: Tensor) -> int:
    """Fold every norm of a private module that can be, in place; names of modules stay, `unfolded` gives it all back.

    A norm is folded where one layer feeds nothing but it, which is watched as the probe goes through: not what code
    looks like, but every operation on the layer's answer. The folded layer must answer the same on the probe; at the
    end the module's answers and gradients are compared, and if they differ everything is put back. A module that looks
    at values to choose its way is left as it is, and so is one that cannot be run this way.

    Args:
        module: in evaluation mode, without parameter gradients.
        probe: [B, ...], as the module takes it; several pictures, unlike each other.

    Returns:
        How many norms were folded.
    """
    if not any(isinstance(part, _BatchNorm) for part in module.modules()):
        return 0
    folds: list[tuple[str, Folded]] = []
    try:
        own = torch.random.fork_rng(devices=[probe.device] if probe.is_cuda else [])  # a module may draw numbers
        with own, torch.inference_mode(False), _full_precision(probe.device):
            layers = {pair: layer for pair in _pairs(module, probe)
                      if (layer := merged(*map(module.get_submodule, pair))) is not None}  # fmt: skip
            if not layers:
                return 0
            before, wrong = _answer(module, probe, layers)
            for (source, norm), layer in layers.items():
                if (source, norm) not in wrong:
                    folds.append((norm, _fold(module, source, norm, layer)))
            if folds and not _alike(before, _answer(module, probe, {})[0]):
                raise ValueError("the folded module answers differently")
    except Exception:  # noqa: BLE001 - folding saves time only: what stands in its way leaves the module as it was
        for name, folded in folds:
            _unfold(module, name, folded)
        return 0
    return len(folds)


def unfolded(module: nn.Module) -> nn.Module:
    """A copy with every norm that was folded in its place again, to the last bit."""
    twin = copy.deepcopy(module)
    for name, part in list(twin.named_modules()):
        if isinstance(part, Folded):
            _unfold(twin, name, part)
    return twin


def _fold(module: nn.Module, source: str, norm: str, layer: Layer) -> Folded:
    found, before = module.get_submodule(source), module.get_submodule(norm)
    assert isinstance(before, _BatchNorm)
    folded = Folded(Apart(source, found._parameters["weight"], found._parameters["bias"], before)).eval()  # ty: ignore[invalid-argument-type]
    # not the layer that was made: what refers to this one must find the new weights
    weight = torch.empty_like(folded.apart.weight).copy_(layer.weight.detach())  # in the same memory format
    found._parameters["weight"] = nn.Parameter(weight, requires_grad=False)
    assert isinstance(layer.bias, nn.Parameter)
    found._parameters["bias"] = layer.bias
    _put(module, norm, folded)
    return folded


def _unfold(module: nn.Module, name: str, folded: Folded) -> None:
    apart, source = folded.apart, module.get_submodule(folded.apart.source)
    source._parameters["weight"], source._parameters["bias"] = apart.weight, apart.bias
    _put(module, name, apart.norm)


def _put(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    module.get_submodule(parent)._modules[last] = part


def _pairs(module: nn.Module, probe: Tensor) -> list[tuple[str, str]]:
    """(layer, norm) by name: each called once, the norm with the layer's answer, which nothing else ever touches."""
    names = {part: name for name, part in _single(module)}
    watch = _Watch(names)
    with ExitStack() as hooks, torch.no_grad(), watch:
        for hook in watch.hooks():
            hooks.callback(hook.remove)
        module(probe)
    if watch.decided:
        return []
    calls = Counter(name for name, _ in watch.layers) + Counter(name for name, _ in watch.norms)
    pairs = []
    for source, answer in watch.layers:
        users = watch.users[id(answer)]
        norm = users[0] if len(set(users)) == 1 else None
        given = [one for name, one in watch.norms if name == norm]
        if norm and calls[norm] == calls[source] == 1 and given[0] is answer:
            pairs.append((source, norm))
    return pairs


def _single(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers and norms with one name, weights of their own and no hooks of somebody who wants to see their answers."""
    parts = list(module.named_modules(remove_duplicate=False))
    times = Counter(part for _, part in parts)
    owners = Counter(id(value) for part in times for value in part._parameters.values())
    for name, part in parts:
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
        own = all(owners[id(value)] == 1 for value in part._parameters.values() if value is not None)
        if name and times[part] == 1 and own and not any(hooks):
            # weights that are computed (weight_norm and its like) are no parameters
            layer = isinstance(part, (*CONVOLUTIONS, nn.Linear)) and part._parameters.get("weight") is not None
            if layer or isinstance(part, _BatchNorm):
                yield name, part


class _Watch(TorchDispatchMode):
    """Every operation of one pass, as far as it touches a layer's answer.

    Attributes:
        layers: (name, answer) of each call.
        norms: (name, what it was given) of each call.
        users: by the id of an answer, the norm in which each operation on it took place, None outside of any.
        decided: whether the code looked at a value.
    """

    def __init__(self, names: dict[nn.Module, str]) -> None:
        super().__init__()
        self.layers: list[tuple[str, Any]] = []
        self.norms: list[tuple[str, Any]] = []
        self.users: dict[int, list[str | None]] = {}
        self.decided = False
        self._inside: list[str] = []
        self._names = names

    def hooks(self) -> Iterator[RemovableHandle]:
        for part in self._names:
            if isinstance(part, _BatchNorm):
                yield part.register_forward_pre_hook(self._enter)
                yield part.register_forward_hook(self._leave)
            else:
                yield part.register_forward_hook(self._answered)

    def _enter(self, part: nn.Module, inputs: Any) -> None:
        self._inside.append(self._names[part])
        self.norms.append((self._names[part], inputs[0] if len(inputs) == 1 else None))

    def _leave(self, part: nn.Module, inputs: Any, output: Any) -> None:
        self._inside.pop()

    def _answered(self, part: nn.Module, inputs: Any, output: Any) -> None:
        self.layers.append((self._names[part], output))  # kept, so that its id stays its own
        self.users[id(output)] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.decided = self.decided or func.overloadpacket in DECISIONS
        for value in tree_leaves((args, kwargs or {})):
            if id(value) in self.users:
                self.users[id(value)].append(self._inside[-1] if self._inside else None)
        return func(*args, **(kwargs or {}))


Answers = tuple[list[Tensor], Tensor | None]


def _answer(
    module: nn.Module, probe: Tensor, layers: dict[tuple[str, str], Layer]
) -> tuple[Answers, set[tuple[str, str]]]:
    """The module's answers and the gradient of a sum of them, and the pairs for which their one layer is wrong."""
    given: dict[str, Tensor] = {}
    wrong: set[tuple[str, str]] = set()

    def compare(pair: tuple[str, str], output: Tensor) -> None:
        with torch.no_grad():
            value = layers[pair](given.pop(pair[0]))
            for child in module.get_submodule(pair[1]).children():
                value = child(value)
            if not _close(output, value, SAME):
                wrong.add(pair)

    with ExitStack() as hooks, torch.enable_grad():
        for pair in layers:
            source, norm = (module.get_submodule(name) for name in pair)
            keep = source.register_forward_pre_hook(lambda _, x, name=pair[0]: given.update({name: x[0].detach()}))
            seen = norm.register_forward_hook(lambda _, x, output, pair=pair: compare(pair, output))
            for hook in (keep, seen):
                hooks.callback(hook.remove)
        leaf = probe.detach().clone().requires_grad_(True)
        output = module(leaf)
        answers = [one for one in [*tensors_in(output), getattr(output, "logits", None)] if isinstance(one, Tensor)]
        # a slope of their own for each class, so that what softmax takes from one it does not give to another
        score = sum(((one * _slopes(one)).sum() for one in answers if one.requires_grad), start=leaf.new_zeros(()))
        gradient = torch.autograd.grad(score, leaf, allow_unused=True)[0] if score.requires_grad else None
    if not answers:
        raise ValueError("an answer without tensors cannot be compared")
    return ([one.detach() for one in answers], gradient), wrong


def _slopes(answer: Tensor) -> Tensor:
    return torch.linspace(-1, 1, max(2, answer[0].numel()), device=answer.device)[: answer[0].numel()].view_as(
        answer[0]
    )


def _alike(one: Answers, other: Answers) -> bool:
    if len(one[0]) != len(other[0]) or (one[1] is None) != (other[1] is None):
        return False
    same = all(_close(a, b, SAME) for a, b in zip(one[0], other[0]))
    return same and (
        one[1] is None or other[1] is None or bool((one[1] - other[1]).norm() <= SAME_GRADIENT * one[1].norm())
    )


def _close(wanted: Tensor, got: Tensor, relative: float) -> bool:
    return wanted.shape == got.shape and bool((wanted - got).abs().max() <= relative * wanted.abs().max())


@contextmanager
def _full_precision(device: torch.device) -> Generator[None]:
    """A GPU's convolutions in full float32 while answers are compared, whatever the setting is."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = False
        with torch.autocast("cuda", enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
