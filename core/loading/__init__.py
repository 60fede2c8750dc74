"""Classifiers by one spec string each: `demo:biased`, `torchvision:resnet50`, `timm:NAME@FILE`, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.loading.specs import SOURCES, added_sources, check_model, labels_file, taken_apart
from core.runtime.progress import OnProgress

if TYPE_CHECKING:
    import torch

    from core.classifier import Classifier


def load_classifier(
    spec: str,
    *,
    labels: str | Path | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    progress: OnProgress | None = None,
    allow_python: bool = False,
    output: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Classifier:
    """Load a classifier with its preprocessing and labels.

    Args:
        spec: `demo:biased`, `demo:repaired`, `demo:vit`; `torchvision:NAME` (published weights);
            `torchvision:NAME@FILE` (your own); `timm:NAME[@FILE]`; `hf:DIR`; `python:package.module:function[@FILE]`;
            `SOURCE:NAME[@FILE]` of a package that adds a source of models.
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
        groups: classes to take together, by the group's name; what the model gives to any of them is the group's.

    Raises:
        UserError: no such model, file or label set, or they do not fit together.
    """
    source, rest = taken_apart(spec)
    if source == "python" and not allow_python:
        raise UserError("python: models run code, so they are loaded from the command line only (--model).")
    check_model(spec)
    if labels is not None:
        labels_file(labels)
    from core.loading.request import Request

    request = Request(spec, rest, labels, device, precision, progress, output, dict(preprocessing or {}))
    if source in SOURCES:
        classifier = SOURCES[source].imported().load(request)
    else:
        from core.loading.python_factory import load_added

        classifier = load_added(request, added_sources()[source])
    if groups:
        from core.loading.groups import merged

        classifier = merged(classifier, groups)
    classifier.recipe = {
        "spec": spec, "labels": labels, "device": str(device), "precision": precision, "output": output,
        "allow_python": allow_python, "preprocessing": request.preprocessing,
        "groups": groups and {name: list(labels) for name, labels in groups.items()},
    }  # fmt: skip
    return classifier


def known_models() -> list[dict[str, str]]:
    """What `load_classifier` takes: one entry a spec, with `spec`, `title` and `needs` (what must be there first)."""
    known = [entry for source in SOURCES.values() for entry in source.imported().known()]
    for name, entry in added_sources().items():
        package = entry.dist.name if entry.dist is not None else entry.value
        known.append({"spec": f"{name}:NAME", "title": f"A model of the package {package}", "needs": f"see {package}"})
    return known
