"""Classifiers by one spec string each: `demo:biased`, `torchvision:resnet50`, `timm:NAME@FILE`, ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from core.classifier import Classifier
from core.errors import UserError, closest
from core.loading import demo, huggingface, python_factory, timm_models, torchvision_models
from core.loading.request import Request

LOADERS: dict[str, Callable[[Request], Classifier]] = {
    "demo": demo.load,
    "torchvision": torchvision_models.load,
    "timm": timm_models.load,
    "hf": huggingface.load,
    "python": python_factory.load,
}


def load_classifier(
    spec: str,
    *,
    labels: str | Path | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    progress: Callable[[float, str], None] | None = None,
    allow_python: bool = False,
    output: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> Classifier:
    """Load a classifier with its preprocessing and labels.

    Args:
        spec: `demo:biased`, `demo:repaired`, `demo:vit`; `torchvision:NAME` (published weights);
            `torchvision:NAME@FILE` (your own); `timm:NAME[@FILE]`; `hf:DIR`; `python:package.module:function[@FILE]`.
        labels: a file of labels for the classes: a JSON list, a JSON object from number to label, or text with one a
            line. Without it they come from the weights' own metadata.
        device: "auto", "cpu", "cuda", ...
        precision: "auto", "float32" or "bfloat16".
        progress: called with a fraction in [0, 1] and a line of text while weights are fetched.
        allow_python: True where the spec comes from the person at the machine. `python:` runs their code, so it is
            refused for specs that come from a page.
        output: "softmax" where classes exclude each other, "sigmoid" where each stands on its own; None to go by the
            weights' metadata and the model's last layer.
        preprocessing: what differs from the metadata, or else from the architecture's usual one: any of `size`, `crop`,
            `mean`, `std`, `interpolation`, as `Preprocessing.changed` takes them.

    Raises:
        UserError: no such model, file or label set, or they do not fit together.
    """
    source, colon, rest = spec.partition(":")
    if source not in LOADERS or not colon:
        hint = "a name has to follow." if source in LOADERS else closest(source, list(LOADERS))
        raise UserError(f"{spec!r} names no model; {hint} Write SOURCE:NAME, such as torchvision:resnet50.")
    if not rest:
        raise UserError(f"{spec!r} lacks a name after the colon; `satchel list models` shows what can stand there.")
    if source == "python" and not allow_python:
        raise UserError("python: models run code, so they are loaded from the command line only (--model).")
    request = Request(spec, rest, labels, device, precision, progress, output, dict(preprocessing or {}))
    classifier = LOADERS[source](request)
    classifier.recipe = {
        "spec": spec, "labels": labels, "device": str(device), "precision": precision, "output": output,
        "allow_python": allow_python, "preprocessing": request.preprocessing,
    }  # fmt: skip
    return classifier


def known_models() -> list[dict[str, str]]:
    """What `load_classifier` takes: one entry a spec, with `spec`, `title` and `needs` (what must be there first)."""
    sources = (demo, torchvision_models, timm_models, huggingface, python_factory)
    return [entry for source in sources for entry in source.known()]
