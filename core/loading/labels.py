"""Names for classes: from a person's file, or ImageNet's."""

from __future__ import annotations

import json
from pathlib import Path

from core.errors import UserError
from core.paths import existing_file, readable, user_path

WIDE = (b"\xff\xfe", b"\xfe\xff")  # how a text in UTF-16 begins


def read_labels(path: str | Path) -> list[str]:
    """A JSON list, a JSON object from class number to label, or text with one label a line.

    Raises:
        UserError: not there, or not of such a form.
    """
    path = existing_file(user_path(path), "labels file", "check --labels")
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
    return labels


def _from_json(text: str, path: Path) -> list[str]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"The labels file {path} is no JSON ({error}); mend it, or write one label a line.") from error
    if isinstance(values, dict):
        try:
            by_index = {int(index): label for index, label in values.items()}
        except ValueError as error:
            raise UserError(f"The labels file {path} must map class numbers to labels ({error}).") from error
        if sorted(by_index) != list(range(len(by_index))):
            raise UserError(f"The labels file {path} must number the classes 0 to {len(by_index) - 1} without a gap.")
        values = [by_index[index] for index in range(len(by_index))]
    if not isinstance(values, list) or not values or not all(isinstance(label, str) for label in values):
        raise UserError(f'The labels file {path} must be a list of labels, such as ["cat", "dog"].')
    return values


def imagenet_labels() -> list[str]:
    """The 1000 ImageNet class names, in the usual order."""
    from torchvision.models import ResNet18_Weights

    return list(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def default_labels(classes: int) -> list[str] | None:
    """ImageNet's where there are 1000 classes; None (numbers) elsewhere."""
    return imagenet_labels() if classes == 1000 else None
