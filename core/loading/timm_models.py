"""timm's classifiers, with published weights or one's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from core.classifier import Classifier
from core.errors import UserError, closest
from core.fetching.hub import hub_file, reason, silent
from core.loading.checkpoints import State, fitted, load_weights, read_checkpoint
from core.loading.heads import rebuild_head
from core.loading.labels import imagenet_labels
from core.loading.request import Request, read_entry
from core.preprocessing import RESAMPLING, Preprocessing

# What people ask for most, for lists to choose from; any other of timm's can be typed.
COMMON = (
    "resnet50.a1_in1k", "convnext_tiny.fb_in1k", "convnext_base.fb_in22k_ft_in1k",
    "convnextv2_tiny.fcmae_ft_in22k_in1k",
    "efficientnet_b0.ra_in1k", "tf_efficientnetv2_s.in21k_ft_in1k", "efficientnet_lite0.ra_in1k",
    "mobilenetv3_large_100.ra_in1k", "regnety_040.pycls_in1k", "densenet121.ra_in1k",
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "vit_base_patch16_224.augreg2_in21k_ft_in1k", "deit_small_patch16_224.fb_in1k",
    "deit3_small_patch16_224.fb_in1k", "swin_tiny_patch4_window7_224.ms_in1k", "swinv2_tiny_window8_256.ms_in1k",
    "beit_base_patch16_224.in22k_ft_in22k_in1k", "eva02_small_patch14_336.mim_in22k_ft_in1k", "maxvit_tiny_tf_224.in1k",
    "mixer_b16_224.goog_in21k_ft_in1k",
)  # fmt: skip


def load(request: Request) -> Classifier:
    """`timm:NAME` or `timm:NAME@FILE`.

    Raises:
        UserError: no such model, no connection for its weights, or a file that does not fit.
    """
    import timm
    from timm.data import resolve_model_data_config

    name, file = request.name_and_file()
    if not timm.is_model(name):
        raise UserError(f"timm has no model {name!r}; {closest(name, timm.list_models())}")
    if file is None:
        module, metadata, notes = _published(name, request), {}, []
    else:
        state, metadata = read_checkpoint(file)
        module, notes = _own(name, state, metadata, request)
    config = resolve_model_data_config(module)
    return request.classifier(module, metadata, preprocessing_from_config(config), _labels(module), notes=notes)


def _published(name: str, request: Request) -> nn.Module:
    import timm

    if request.progress:
        request.progress(0.0, f"Fetching the weights of {request.spec} (once)")
    if not timm.is_model_pretrained(name):
        raise UserError(f"timm publishes no weights for {name!r}; write timm:{name}@FILE with weights of your own.")
    try:
        overlay = _fetched(name, request)
        with silent():
            module = _create(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except (OSError, RuntimeError, ValueError) as error:  # what the hub's client raises without a connection
        raise UserError(
            f"The weights of {request.spec} could not be fetched ({reason(error)}); connect to the internet once, or "
            "give a file of your own (NAME@FILE)."
        ) from error
    if request.progress:
        request.progress(1.0, f"Fetched {request.spec}")
    return module


def _fetched(name: str, request: Request) -> dict[str, Any]:
    """Where the weights lie, for timm; nothing for the few models whose weights are no safetensors on the hub."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id or config.hf_hub_filename or config.custom_load:
        return {}
    repository, _, revision = config.hf_hub_id.partition("@")
    file = hub_file(repository, "model.safetensors", revision or None, request.progress)
    return {"file": str(file)} if file else {}


def _own(name: str, state: State, metadata: Mapping[str, str], request: Request) -> tuple[nn.Module, list[str]]:
    stated = "architecture_options" in metadata
    options = read_entry(metadata, "architecture_options", dict, request.spec) if stated else {}
    try:
        module = _create(name, **options)
        classes = _classes(module, state)
        if classes not in (None, module.num_classes):
            module = _create(name, **options, num_classes=classes)
    except TypeError as error:
        raise UserError(f"timm's {name} does not take the options that {request.spec} states ({error}).") from error
    notes = []
    if rebuilt := rebuild_head(module, state, request.spec):
        note, module.num_classes = rebuilt
        notes.append(note)
    return module, [*notes, *load_weights(module, state, request.spec)]


def _create(name: str, **options: Any) -> Any:
    import timm

    with torch.random.fork_rng(devices=[]):
        return timm.create_model(name, **options)


def _classes(module: Any, state: State) -> int | None:
    """How many classes the file's head has; None if it has none under the model's name for it."""
    state, _ = fitted(state, module.state_dict())
    heads = module.pretrained_cfg.get("classifier") or ()
    for head in (heads,) if isinstance(heads, str) else heads:
        for key in (f"{head}.bias", f"{head}.weight"):
            if key in state:
                return state[key].shape[0]
    return None


def preprocessing_from_config(config: Mapping[str, Any]) -> Preprocessing:
    """timm's evaluation transform for one of its data configurations, as `transforms_imagenet_eval` makes it."""
    height, width = config["input_size"][-2:]
    resize = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    mode = config.get("crop_mode") or "center"
    fit = {"squash": "squash", "border": "contain"}.get(mode, "cover")
    interpolation = config["interpolation"]
    return Preprocessing(
        resize=resize[0] if fit == "cover" and resize[0] == resize[1] else (resize[0], resize[1]),
        crop=(height, width),
        interpolation=interpolation if interpolation in RESAMPLING else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        fit="squash" if fit == "squash" else "contain" if fit == "contain" else "cover",
        fill=tuple(config["mean"]) if fit == "contain" else (0.0, 0.0, 0.0),
    )


def _labels(module: Any) -> list[str] | None:
    """The weights' own label names, else those of the ImageNet set that their number of classes tells."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    names = module.pretrained_cfg.get("label_names")
    if names and len(names) == module.num_classes:
        return list(names)
    if module.num_classes == 1000:
        return imagenet_labels()
    subset = infer_imagenet_subset(module)
    info = ImageNetInfo(subset) if subset else None
    if info is None or info.num_classes() != module.num_classes:
        return None
    return list(info.label_descriptions())


def known() -> list[dict[str, str]]:
    """For `known_models`. timm has over a thousand names, so they stand as a pattern."""
    return [
        {
            "spec": "timm:NAME",
            "title": "A timm classifier with its published weights",
            "needs": "a download at first use",
        },
        {"spec": "timm:NAME@FILE", "title": "Your own weights for a timm classifier", "needs": "the file"},
    ]
