"""Where a model keeps its last spatial map: found by watching one probe go through it, for any architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.classifier import Classifier
from core.errors import UserError
from core.runtime.capture import captured, tensors_in
from core.runtime.found_once import FoundOnce
from core.runtime.randomness import normal, uniform

Layout = Literal["channels first", "channels last", "tokens"]
MAX_EXTRA_TOKENS = 16  # class, distillation and register tokens
POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True)
class SpatialLayer:
    """A module whose output is a map over the picture.

    Attributes:
        name: path of the module inside the classifier's module.
        part: which tensor of its output, if it answers with several.
        layout: "channels first" [B, C, h, w], "channels last" [B, h, w, C] or "tokens" [B, extra + h * w, C].
        grid: (h, w) for the classifier's own input size.
        extra: tokens before those of the patches.
    """

    name: str
    part: int
    layout: Layout
    grid: tuple[int, int]
    extra: int = 0

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> SpatialLayer:
        """Back from JSON."""
        return cls(given["name"], given["part"], given["layout"], tuple(given["grid"]), given["extra"])

    def map_of(self, output: Any) -> Tensor:
        """The module's answer -> the tensor that holds the map, as the model sees it."""
        return tensors_in(output)[self.part]

    def as_channels_first(self, tensor: Tensor) -> Tensor:
        """-> [B, C, h, w].

        Raises:
            UserError: the pictures are of another size than the classifier's, so that tokens make no grid.
        """
        if self.layout == "channels first":
            return tensor
        if self.layout == "channels last":
            return tensor.permute(0, 3, 1, 2)
        patches = tensor[:, self.extra :].transpose(1, 2)
        if patches.shape[-1] != self.grid[0] * self.grid[1]:
            raise UserError("The pictures are not of this classifier's input size; prepare them with it first.")
        return patches.reshape(*patches.shape[:2], *self.grid)


def find_last_map(classifier: Classifier) -> SpatialLayer | None:
    """The last spatial map, in order of execution, that the logits depend on nearly everywhere.

    In a CNN that is the final feature map before pooling. In a ViT that reads its class token, the patch tokens that
    leave the last block influence nothing, so the input of the last attention is found instead. Tensors inside an
    attention module (queries, keys, attention weights) come last in preference: they are no maps of features.

    Returns:
        None where the model keeps no such map.
    """
    with torch.inference_mode(False), torch.enable_grad():
        return _find(classifier)


last_map = FoundOnce(find_last_map)
"""`find_last_map`, asked once per classifier."""


def maps_of(classifier: Classifier, layers: Sequence[SpatialLayer], images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """[B, 3, H, W] in [0, 1] -> (logits [B, C], each layer's map [B, c, h, w] float32), in one pass."""
    modules = dict(classifier.module.named_modules())
    with captured([(layer.name, modules[layer.name]) for layer in layers]) as answers:
        logits = classifier.logits(images)
    return logits, [layer.as_channels_first(layer.map_of(answers[layer.name])).float() for layer in layers]


def find_stages(classifier: Classifier) -> tuple[tuple[SpatialLayer, int], ...]:
    """Maps of features at several depths, the last one last, each with its number of channels.

    Of a network that shrinks its maps: the last map of each size. Of one whose tokens stay as many: the last of them,
    and those at two thirds of the way. Empty where there is no such map.
    """
    with torch.inference_mode(False), torch.enable_grad():
        alive = _alive(classifier)
    if not alive:
        return ()
    last = alive[-1]
    if last[0].layout == "tokens":
        same = [entry for entry in alive if entry[0].layout == "tokens" and entry[0].grid == last[0].grid]
        middle = same[(2 * (len(same) - 1)) // 3]
        return (middle, last) if middle[0] != last[0] else (last,)
    stages = {entry[0].grid: entry for entry in alive if entry[0].layout != "tokens"}
    return tuple(sorted(stages.values(), key=lambda entry: -entry[0].grid[0] * entry[0].grid[1]))


stages = FoundOnce(find_stages)
"""`find_stages`, asked once per classifier."""


def _find(classifier: Classifier) -> SpatialLayer | None:
    alive = _alive(classifier)
    return alive[-1][0] if alive else None


def _alive(classifier: Classifier) -> list[tuple[SpatialLayer, int]]:
    """Maps of features that the logits depend on nearly everywhere, in order of execution, with their channels."""
    probe = probe_pictures(classifier)
    with captured(classifier.module.named_modules()) as answers:
        logits = classifier.logits(probe.requires_grad_(True))
        # a fixed direction with all classes in it: no dead class can hide a layer
        direction = normal(logits.shape[1:], (0,), (0,), probe.device, salt="direction")
        score = (logits * direction).sum()
    found = list(_spatial(classifier, answers, len(probe)))
    if not found or not score.requires_grad:
        return []
    gradients = torch.autograd.grad(score, [tensor for _, tensor in found], allow_unused=True)
    alive: list[tuple[SpatialLayer, int]] = []
    for (layer, _), gradient in zip(found, gradients):
        if gradient is not None and _mostly_nonzero(grid := layer.as_channels_first(gradient)):
            alive.append((layer, grid.shape[1]))
    inside = _inside_attention(classifier.module)
    outside = [entry for entry in alive if not entry[0].name.startswith(inside)] or alive
    # a map with one channel a class (SqueezeNet ends in one) is the answer already, not the features behind it
    return [entry for entry in outside if entry[1] != logits.shape[1]] or outside


def find_token_grid(classifier: Classifier, tokens: int) -> tuple[tuple[int, int], int] | None:
    """((h, w), extra): how a sequence of that many tokens lies over the picture, patch by patch after `extra` others.

    Returns:
        None where they make no grid.
    """
    probe = probe_pictures(classifier)
    with torch.inference_mode(False), torch.enable_grad(), captured(classifier.module.named_modules()) as answers:
        classifier.logits(probe.requires_grad_(True))
    found = _spatial(classifier, answers, len(probe))
    return _token_grid(tokens, classifier.input_size, [one.grid for one, _ in found if one.layout != "tokens"])


def probe_pictures(classifier: Classifier) -> Tensor:
    """[2, 3, H, W]: smooth noise with some grain, so that no part of the model is left asleep."""
    size, device = classifier.input_size, classifier.device
    seeds, indices = (0, 0), (0, 1)
    coarse = F.interpolate(uniform((3, 6, 6), seeds, indices, device, salt="probe"), size, mode="bicubic")
    return (coarse + 0.1 * normal((3, *size), seeds, indices, device, salt="grain")).clamp(0, 1)


def _spatial(classifier: Classifier, answers: dict[str, Any], batch: int) -> Iterator[tuple[SpatialLayer, Tensor]]:
    """Every recorded tensor that can be read as a map over the picture, in order of execution."""
    frame = classifier.input_size
    modules = dict(classifier.module.named_modules())
    grids: list[tuple[int, int]] = []
    for name, output in answers.items():
        module = modules[name]
        if isinstance(module, POOLS):
            continue
        for part, tensor in enumerate(tensors_in(output)):
            if not tensor.requires_grad or tensor.shape[0] != batch:
                continue
            if tensor.dim() == 4:
                # a plain LayerNorm works over the last axis, which settles shapes that fit both ways
                reading = _reading(tuple(tensor.shape), frame, last_first=type(module) is nn.LayerNorm)
                if reading is not None:
                    layout, grid = reading
                    grids.append(grid)
                    yield SpatialLayer(name, part, layout, grid), tensor
            elif tensor.dim() == 3:
                tokens = _token_grid(tensor.shape[1], frame, grids)
                if tokens is not None:
                    grid, extra = tokens
                    yield SpatialLayer(name, part, "tokens", grid, extra), tensor


def _reading(shape: tuple[int, ...], frame: tuple[int, int], last_first: bool) -> tuple[Layout, tuple[int, int]] | None:
    """How a 4D tensor is best read as a map: the reading whose grid has the frame's proportions more nearly."""
    readings: list[tuple[Layout, tuple[int, int]]] = [
        ("channels first", (shape[2], shape[3])),
        ("channels last", (shape[1], shape[2])),
    ]
    if last_first:
        readings.reverse()
    return min((r for r in readings if _fits(r[1], frame)), key=lambda r: _distortion(r[1], frame), default=None)


def _distortion(grid: tuple[int, int], frame: tuple[int, int]) -> float:
    """How far a grid's cells are from square: 1 where they are, 2 where one side is twice the other."""
    ratio = grid[0] * frame[1] / (grid[1] * frame[0])
    return max(ratio, 1 / ratio)


def _fits(grid: tuple[int, int], frame: tuple[int, int]) -> bool:
    """Whether a grid may lie over the frame; unpadded convolutions eat the border and may distort a small grid much."""
    (h, w), (height, width) = grid, frame
    return h * w > 1 and h <= height and w <= width and _distortion(grid, frame) <= 2


def _token_grid(
    tokens: int, frame: tuple[int, int], grids: list[tuple[int, int]]
) -> tuple[tuple[int, int], int] | None:
    """((h, w), extra) of a token sequence: the grid of a map before it (the patch embedding), else by proportion."""
    seen = [(tokens - h * w, (h, w)) for h, w in grids if 0 <= tokens - h * w <= MAX_EXTRA_TOKENS]
    if seen:
        extra, grid = min(seen)
        return grid, extra
    for extra in range(min(MAX_EXTRA_TOKENS, tokens - 2) + 1):
        patches = tokens - extra
        h = max(1, round((patches * frame[0] / frame[1]) ** 0.5))
        w = patches // h
        if h * w == patches > 1 and abs(w - h * frame[1] / frame[0]) < 1:
            return (h, w), extra
    return None


def _mostly_nonzero(gradient: Tensor) -> bool:
    """[B, C, h, w]: whether more than half of the positions influence the logits."""
    return float((gradient.abs().sum(1) > 0).float().mean()) > 0.5


def _inside_attention(module: nn.Module) -> tuple[str, ...]:
    """Path prefixes of everything that lies inside an attention module."""
    kinds = ((name, type(part).__name__.lower()) for name, part in module.named_modules())
    return tuple(f"{name}." for name, kind in kinds if name and ("attention" in kind or "attn" in kind))
