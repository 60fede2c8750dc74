"""Names for classes: from a person's file, or ImageNet's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.loading.specs import labels_file
from core.paths import readable

WIDE = (b"\xff\xfe", b"\xfe\xff")  # how a text in UTF-16 begins


def read_labels(path: str | Path) -> tuple[list[str], list[str]]:
    """A JSON list, a JSON object between class number and label, or text with one label a line.

    Returns:
        The labels in the model's order, and a sentence for what was changed of them.

    Raises:
        UserError: not there, or not of such a form.
    """
    path = labels_file(path)
    try:
        with readable(path, "labels file"):
            content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"The labels file {path} is not text in UTF-8; save it as such.") from error
    if path.suffix.lower() == ".json" or text.lstrip().startswith(("[", "{")):
        return _from_json(text, path)
    labels = [line.strip() for line in text.splitlines() if line.strip()]
    if not labels:
        raise UserError(f"The labels file {path} is empty; write one label a line.")
    return labels, []


def _from_json(text: str, path: Path) -> tuple[list[str], list[str]]:
    what = f"The labels file {path}"
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{what} is no JSON ({error}); mend it, or write one label a line.") from error
    if isinstance(values, dict):
        if values and all(type(number) is int for number in values.values()):  # as ImageFolder and label2id have it
            values = {number: label for label, number in values.items()}
        return in_order(values, what)
    if not isinstance(values, list) or not values or not all(isinstance(label, str) for label in values):
        raise UserError(f'{what} must be a list of labels, such as ["cat", "dog"].')
    return values, []


def in_order(by_number: Mapping[Any, Any], what: str) -> tuple[list[str], list[str]]:
    """Labels from a dictionary by class number; numbers from 1 on are meant as those from 0 on.

    Returns:
        The labels, and a sentence if they began at 1.

    Raises:
        UserError: keys that are no numbers, numbers with a gap, or labels that are no text.
    """
    try:
        labels = {int(number): label for number, label in by_number.items()}
    except (TypeError, ValueError) as error:
        raise UserError(f"{what} must map class numbers to labels ({error}).") from error
    first = min(labels, default=0)
    if not labels or first not in (0, 1) or sorted(labels) != list(range(first, first + len(labels))):
        raise UserError(f"{what} must number the classes 0 to {max(0, len(labels) - 1)} without a gap.")
    ordered = [label[-1] if isinstance(label, list) and label else label for _, label in sorted(labels.items())]
    if not all(isinstance(label, str) for label in ordered):
        raise UserError(f"{what} must map class numbers to labels, which are text.")
    note = f"{what} numbers the classes from 1; they are taken as classes 0 to {len(labels) - 1}."
    return ordered, [note] if first else []


def imagenet_labels() -> list[str]:
    """The 1000 ImageNet class names, in the usual order."""
    from torchvision.models import ResNet18_Weights

    return list(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def default_labels(classes: int) -> list[str] | None:
    """ImageNet's where there are 1000 classes; None (numbers) elsewhere."""
    return imagenet_labels() if classes == 1000 else None
