"""A network rewritten so that relevance can flow through it: same numbers, but every sum is a layer of its own."""

from __future__ import annotations

import copy
import operator
import threading
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from core.runtime.folding import Folded, merged

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.AdaptiveMaxPool2d)
MODULES = (*CONVOLUTIONS, *NORMS, *POOLS, nn.Linear, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Flatten, nn.ZeroPad2d)
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)  # in evaluation mode

ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
DROPOUTS = (F.dropout, F.dropout2d)
# what moves values about, or picks some of them: relevance goes where the value came from, as the gradient does
MOVES = (
    *(torch.cat, torch.flatten, torch.chunk, torch.split, torch.transpose, torch.permute, torch.squeeze),
    *(torch.reshape, torch.unsqueeze, torch.stack, operator.getitem, F.max_pool2d, F.adaptive_max_pool2d),
    *("flatten", "view", "reshape", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "chunk", "split"),
)
BATCH_STATISTICS = "batch normalisation with the statistics of the batch"

_tracing = threading.Lock()


class CannotRewriteError(Exception):
    """The message names the part of the network that stands in the way."""


class Mean(nn.Module):
    """A mean over some axes as a layer."""

    def __init__(self, dim: int | tuple[int, ...] | list[int], keepdim: bool = False) -> None:
        super().__init__()
        self.dim, self.keepdim = dim, keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.dim, self.keepdim)


class Sum(nn.Module):
    """Two maps as one sum; `make_sum` makes the layer that adds up what is stacked along the last axis."""

    def __init__(self, make_sum: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.sum = make_sum()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.sum(torch.stack([x, y], -1))


AS_MODULES: dict[Any, Callable[..., nn.Module]] = {
    F.relu: lambda inplace=False: nn.ReLU(),
    torch.relu: nn.ReLU,
    "relu": nn.ReLU,
    "relu_": nn.ReLU,
    F.relu6: lambda inplace=False: nn.ReLU6(),
    F.leaky_relu: lambda negative_slope=0.01, inplace=False: nn.LeakyReLU(negative_slope),
    torch.mean: Mean,
    "mean": Mean,
    F.avg_pool2d: nn.AvgPool2d,
    F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
}


def canonical(module: nn.Module, probe: Tensor, make_sum: Callable[[], nn.Module]) -> fx.GraphModule:
    """A private twin of a network, made of layers that relevance has a rule for.

    Batch normalisation is merged into the convolution or linear layer before it, additions become layers, a layer that
    is used twice becomes two, and what does nothing in evaluation is gone. The layers are named in order of execution.

    Args:
        module: in evaluation mode; not changed. Weights that stay as they are are shared, not copied.
        probe: [B, 3, H, W], as the network takes it: the twin is compared with it on these.
        make_sum: makes a layer that sums over the last axis.

    Raises:
        CannotRewriteError: the network has a part that has no rule, or cannot be traced.
    """
    traced = _trace(module)
    graph = traced.graph
    _drop_what_does_nothing(traced)
    shapes = _Shapes(traced).of(probe)
    try:
        for node in list(graph.nodes):
            _rewrite(traced, node, shapes, make_sum)
    except CannotRewriteError as error:
        raise _plainer(error, module) from error
    _merge_norms(traced)
    graph.eliminate_dead_code()
    if any(node.op == "get_attr" for node in graph.nodes):
        raise CannotRewriteError("learned constants outside of layers")
    result = _flat(traced)
    with torch.no_grad():
        wanted, got = module(probe), result(probe)
    if not torch.allclose(got, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max())):
        raise CannotRewriteError("a part that acts differently from picture to picture")
    return result


class _Tracer(fx.Tracer):
    """torch.fx watches the calls of all modules of the process while it traces; those of other threads pass by."""

    def __init__(self) -> None:
        super().__init__()
        self._mine = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._mine:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._mine:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def _trace(module: nn.Module) -> fx.GraphModule:
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    twin = copy.deepcopy(module, shared)
    try:
        with _tracing:
            traced = fx.GraphModule(twin, _Tracer().trace(twin))
    except Exception as error:
        raise _plainer(CannotRewriteError("code that cannot be traced"), module) from error
    (answer,) = (node.args[0] for node in traced.graph.nodes if node.op == "output")
    if not isinstance(answer, fx.Node):
        raise CannotRewriteError("an answer that is not one tensor")
    return traced


def _plainer(error: CannotRewriteError, module: nn.Module) -> CannotRewriteError:
    """Code that is in the way mostly comes with layers of PyTorch without a rule, which say more to a person."""
    for part in module.modules():
        known = any(base is not nn.Module and base.__module__.startswith("torch.nn") for base in type(part).__mro__)
        if known and not isinstance(part, (*MODULES, *NOTHING, Folded)) and not list(part.children()):
            return CannotRewriteError(_kind(part))
    return error


def _has_rule(module: nn.Module) -> bool:
    return isinstance(module, (*MODULES, *NOTHING)) and type(module).__module__.startswith("torch.nn")


def _kind(module: nn.Module) -> str:
    return f"{type(module).__name__} layers"


def _drop_what_does_nothing(traced: fx.GraphModule) -> None:
    graph = traced.graph
    for node in list(graph.nodes):
        idle = node.op == "call_module" and isinstance(traced.get_submodule(node.target), NOTHING)
        if idle or node.target in DROPOUTS:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif node.target is torch._assert:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    traced.recompile()


class _Shapes(fx.Interpreter):
    """What each node answers to a probe: a tensor's shape, and None for what is no tensor."""

    def of(self, probe: Tensor) -> dict[fx.Node, tuple[int, ...] | None]:
        self.shapes: dict[fx.Node, tuple[int, ...] | None] = {}
        with torch.no_grad():
            self.run(probe)
        return self.shapes

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        parts = value if isinstance(value, (tuple, list)) else [value]
        tensors = [part for part in parts if isinstance(part, Tensor)]
        self.shapes[n] = tuple(tensors[0].shape) if tensors else None
        return value


def _rewrite(
    traced: fx.GraphModule,
    node: fx.Node,
    shapes: dict[fx.Node, tuple[int, ...] | None],
    make_sum: Callable[[], nn.Module],
) -> None:
    """Put a layer in the place of one operation, or leave it where it is right as it is.

    Raises:
        CannotRewriteError: there is no rule for it.
    """
    if node.op in ("placeholder", "output", "get_attr") or shapes[node] is None:
        return
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        if not _has_rule(module):
            raise CannotRewriteError(_kind(module))
        new = _replace(traced, node, copy.copy(module), node.args)
    elif node.target in ADDITIONS:
        if [shapes.get(arg) for arg in node.args if isinstance(arg, fx.Node)] != [shapes[node]] * 2:
            raise CannotRewriteError("additions of something else than two maps of the same shape")
        new = _replace(traced, node, Sum(make_sum), node.args)
    elif node.target in AS_MODULES:
        new = _replace(traced, node, _as_module(node), node.args[:1])
    elif node.target is F.batch_norm:
        new = _replace(traced, node, _norm(traced, node), node.args[:1])
    elif node.target in MOVES:
        return
    else:
        raise CannotRewriteError(f"the operation {getattr(node.target, '__name__', node.target)!r}")
    shapes[new] = shapes[node]


def _as_module(node: fx.Node) -> nn.Module:
    """The layer that does what a function was called to do."""
    options = {key: value for key, value in node.kwargs.items() if key not in ("inplace", "dtype", "input")}
    given = (*node.args[1:], *options.values())
    try:
        if node.args and not any(isinstance(value, fx.Node) for value in given):
            return AS_MODULES[node.target](*node.args[1:], **options)
    except TypeError:  # a mean over everything, for one
        pass
    raise CannotRewriteError(f"the operation {getattr(node.target, '__name__', node.target)!r} as it is used")


def _replace(traced: fx.GraphModule, node: fx.Node, module: nn.Module, args: Any) -> fx.Node:
    """A node that calls a layer of its own, named in order of execution."""
    name = f"layer_{sum(key.startswith('layer_') for key in traced._modules):04d}"
    traced.add_submodule(name, module)
    with traced.graph.inserting_after(node):
        new = traced.graph.call_module(name, tuple(args))
    node.replace_all_uses_with(new)
    traced.graph.erase_node(node)
    return new


def _norm(traced: fx.GraphModule, node: fx.Node) -> nn.Module:
    """The layer behind a call of F.batch_norm."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given: dict[str, Any] = {**dict(zip(names, node.args)), **node.kwargs}
    found = {}
    for name in names[1:5]:
        source = given.get(name)
        if source is not None and source.op != "get_attr":
            raise CannotRewriteError("batch normalisation with computed statistics")
        found[name] = None if source is None else operator.attrgetter(str(source.target))(traced)
    if found["running_mean"] is None or found["running_var"] is None or given.get("training"):
        raise CannotRewriteError(BATCH_STATISTICS)
    norm = nn.BatchNorm2d(len(found["running_mean"]), eps=given.get("eps", 1e-5), affine=False).eval()
    norm.running_mean, norm.running_var = found["running_mean"], found["running_var"]
    for name in ("weight", "bias"):
        value = found[name]
        setattr(norm, name, None if value is None else nn.Parameter(value.detach(), requires_grad=False))
    return norm


def _merge_norms(traced: fx.GraphModule) -> None:
    """Batch normalisation after a convolution or linear layer that feeds nothing else becomes a part of it."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        norm = modules.get(str(node.target))
        if not isinstance(norm, NORMS):
            continue
        if norm.running_var is None:
            raise CannotRewriteError(BATCH_STATISTICS)
        before = node.args[0]
        source = modules.get(str(before.target)) if len(before.users) == 1 else None
        one = None if source is None else merged(source, norm)
        if one is None:
            continue
        modules[str(before.target)] = one
        setattr(traced, str(before.target), one)
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)


def _flat(traced: fx.GraphModule) -> fx.GraphModule:
    """Only the layers that are used, in order of execution."""
    used = {
        str(node.target): traced.get_submodule(str(node.target))
        for node in traced.graph.nodes
        if node.op == "call_module"
    }
    return fx.GraphModule(used, traced.graph).eval()
