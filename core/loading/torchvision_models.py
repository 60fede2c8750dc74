"""torchvision's classifiers, with published weights or one's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from core.classifier import Classifier
from core.errors import UserError
from core.fetching.download import download
from core.loading.checkpoints import COUNTERS, State, fitted, load_weights, read_checkpoint
from core.loading.heads import rebuild_head
from core.loading.labels import default_labels
from core.loading.request import Request, read_entry
from core.loading.torchvision_names import FREE_TRANSFORMER, check_classifier, classifiers
from core.preprocessing import Preprocessing
from core.runtime.progress import OnProgress

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# Published weights of these two were trained on pictures in (-1, 1), which their builders know of.
TRANSFORM_INPUT = {"transform_input": True, "aux_logits": True, "init_weights": False}
BUILDER_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": TRANSFORM_INPUT, "inception_v3": TRANSFORM_INPUT}
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# DenseNet's files are older than its modules: "norm.1.weight" is "norm1.weight" today.
OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)


def load(request: Request) -> Classifier:
    """`torchvision:NAME` or `torchvision:NAME@FILE`.

    Raises:
        UserError: no such model, no connection for its weights, or a file that does not fit.
    """
    name, file = request.name_and_file()
    check_classifier(name)
    if file is None:
        return _published(request, name)
    state, metadata = read_checkpoint(file)
    return from_state(request, name, state, metadata)


def from_state(request: Request, name: str, state: State, metadata: Mapping[str, str]) -> Classifier:
    """A classifier from weights that were read already; its number of classes is theirs.

    Raises:
        UserError: the weights were saved from another architecture.
    """
    check_classifier(name)
    options = (
        read_entry(metadata, "architecture_options", dict, request.spec) if "architecture_options" in metadata else {}
    )
    try:
        notes, state, options = _without_auxiliary(name, state, options)
        classes = count_classes(name, options, state)
        module = build(name, num_classes=classes, **options)
    except TypeError as error:
        raise UserError(
            f"torchvision's {name} does not take the options that {request.spec} states ({error})."
        ) from error
    if rebuilt := rebuild_head(module, state, request.spec):
        notes.append(rebuilt[0])
        classes = rebuilt[1]
    notes += load_weights(module, state, request.spec)
    preprocessing = _default_preprocessing(name, options)
    return request.classifier(module, metadata, preprocessing, default_labels(classes), notes=notes)


def _without_auxiliary(name: str, state: State, options: dict[str, Any]) -> tuple[list[str], State, dict[str, Any]]:
    """Heads that only training uses are kept where they belong to the file's own classes, and left out elsewhere.

    Returns:
        What was noted, the weights, and the options to build with.

    Raises:
        TypeError: an option that the architecture does not take.
    """
    if name not in BUILDER_OPTIONS:
        return [], state, options
    with torch.device("meta"):
        whole = build(name, **{**BUILDER_OPTIONS[name], **options, "aux_logits": True}).state_dict()
    state, note = fitted(state, whole)
    notes = [note] if note else []
    wanted = {key for key in whole if key.startswith(AUXILIARY)}
    found = {key for key in state if key.startswith(AUXILIARY)}
    with_heads = {**BUILDER_OPTIONS[name], "aux_logits": bool(found), **options}
    if not found or not with_heads["aux_logits"]:
        return notes, {key: state[key] for key in state.keys() - found}, with_heads
    classes = count_classes(name, with_heads, state)
    with torch.device("meta"):
        whole = build(name, num_classes=classes, **with_heads).state_dict()
    if all(key in state and state[key].shape == whole[key].shape for key in wanted if not key.endswith(COUNTERS)):
        return notes, state, with_heads
    notes.append("The auxiliary heads, which only training uses, do not fit this model's classes and are left out.")
    return notes, {key: state[key] for key in state.keys() - found}, {**with_heads, "aux_logits": False}


def build(name: str, **options: Any) -> nn.Module:
    """The network with random weights; the global random state is left as it was.

    Raises:
        TypeError: an option it does not take.
    """
    from torchvision.models import VisionTransformer, get_model

    with torch.random.fork_rng(devices=[]):
        if name == FREE_TRANSFORMER:
            return VisionTransformer(**options)
        return get_model(name, weights=None, **options)


def count_classes(name: str, options: Mapping[str, Any], state: State) -> int:
    """The number of classes that weights were saved with: read off the tensors whose shape depends on it."""
    with torch.device("meta"):
        two, three = (build(name, num_classes=count, **options).state_dict() for count in (2, 3))
    state, _ = fitted(state, two)
    for key, tensor in two.items():
        for axis, (a, b) in enumerate(zip(tensor.shape, three[key].shape)):
            if a != b and key in state and state[key].dim() == tensor.dim() and "aux" not in key.lower():
                return max(1, state[key].shape[axis])
    return 1000  # no head in the file: the comparison with the model says what is missing


def _published(request: Request, name: str) -> Classifier:
    if name == FREE_TRANSFORMER:
        raise UserError(f"{request.spec} has no published weights; write {request.spec}@FILE.")
    weights, state = published(name, request.spec, request.progress)
    if name.startswith("densenet"):
        state = {OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}
    options = dict(BUILDER_OPTIONS.get(name, {}))
    size = weights.meta["min_size"]
    if name.startswith("vit_"):
        options["image_size"] = size[0]
    elif name == "maxvit_t":
        options["input_size"] = size
    labels = weights.meta["categories"]
    module = build(name, num_classes=len(labels), **options)
    load_weights(module, state, request.spec)
    return request.classifier(module, {}, preprocessing_of(weights), labels)


def published(name: str, what: str, progress: OnProgress | None) -> tuple[WeightsEnum, State]:
    """torchvision's usual weights of one of its models, downloaded once.

    Raises:
        UserError: they cannot be fetched.
    """
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)["DEFAULT"]
    digest = re.search(r"-([0-9a-f]{8,})\.", weights.url)
    state, _ = read_checkpoint(download(weights.url, what, progress, digest[1] if digest else None))
    return weights, state


def preprocessing_of(weights: WeightsEnum) -> Preprocessing:
    """What published weights were evaluated with."""
    transform = weights.transforms()
    return Preprocessing(
        resize=_size(transform.resize_size),
        crop=_pair(transform.crop_size),
        interpolation=transform.interpolation.value,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )


def _default_preprocessing(name: str, options: Mapping[str, Any]) -> Preprocessing:
    """Of the first published weights, which is what most people fine-tune from and evaluate with."""
    if name == FREE_TRANSFORMER:
        side = int(options.get("image_size", 224))
        return Preprocessing(resize=(side, side), crop=None)
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)
    return preprocessing_of(next((w for w in weights if w.name == "IMAGENET1K_V1"), next(iter(weights))))


def _size(values: list[int]) -> int | tuple[int, int]:
    return values[0] if len(values) == 1 else (values[0], values[1])


def _pair(values: list[int]) -> tuple[int, int]:
    return (values[0], values[-1])


def known() -> list[dict[str, str]]:
    """For `known_models`."""
    published = [
        {
            "spec": f"torchvision:{name}",
            "title": f"torchvision {name}, ImageNet weights",
            "needs": "a download at first use",
        }
        for name in classifiers()
    ]
    return [
        *published,
        {
            "spec": "torchvision:NAME@FILE",
            "title": "Your own weights for a torchvision classifier",
            "needs": "the file",
        },
    ]
