"""What a loader is asked for, and the last step that all loaders share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.classifier import Classifier
from core.errors import UserError
from core.loading.labels import read_labels
from core.loading.specs import name_and_file
from core.preprocessing import Preprocessing
from core.runtime.progress import OnProgress

OUTPUTS = ("softmax", "sigmoid")


@dataclass(frozen=True)
class Request:
    """One call of `load_classifier`.

    Attributes:
        spec: the whole spec; rest: what stands after its first colon.
        labels: a file of labels, or None.
        device, precision: as for `Classifier`.
        progress: called with (fraction in [0, 1], text), or None.
        output: "softmax" or "sigmoid" as a person states it, or None.
        preprocessing: what a person states of it, by the names of `Preprocessing.changed`.
    """

    spec: str
    rest: str
    labels: str | Path | None = None
    device: str | torch.device = "auto"
    precision: str = "auto"
    progress: OnProgress | None = None
    output: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    def name_and_file(self) -> tuple[str, Path | None]:
        """NAME[@FILE] taken apart; errors as of `core.loading.specs.name_and_file`."""
        return name_and_file(self.spec, self.rest)

    def classifier(
        self,
        module: nn.Module,
        metadata: Mapping[str, str],
        preprocessing: Preprocessing,
        labels: Sequence[str] | None,
        output: str | None = None,
        notes: Sequence[str] = (),
    ) -> Classifier:
        """Put a loaded module together with what goes around it.

        What the person gave comes before what the weights file says, and that before the defaults given here.

        Raises:
            UserError: the metadata or the labels do not fit.
        """
        noted = list(notes)
        if self.labels is not None:
            labels, changed = read_labels(self.labels)
            noted += changed
        elif "labels" in metadata:
            labels = [str(label) for label in read_entry(metadata, "labels", list, self.spec)]
        if "preprocessing" in metadata:
            preprocessing = preprocessing_entry(metadata, self.spec)
        if self.preprocessing:
            try:
                preprocessing = preprocessing.changed(**self.preprocessing)
            except (TypeError, ValueError) as error:
                raise UserError(f"The preprocessing that was asked for cannot be used: {error}.") from error
        output = self.output or metadata.get("output", output)
        if output not in (*OUTPUTS, None):
            raise UserError(f"{self.spec} says its output is {output!r}; it must be softmax or sigmoid.")
        return Classifier(
            module,
            labels=labels,
            preprocessing=preprocessing,
            output="sigmoid" if output == "sigmoid" else "softmax" if output else None,
            name=self.spec,
            device=self.device,
            precision=self.precision,
            notes=noted,
        )


def read_entry(metadata: Mapping[str, str], key: str, kind: type, what: str) -> Any:
    """A JSON value out of a weights file's metadata.

    Raises:
        UserError: no JSON, or of another kind.
    """
    try:
        value = json.loads(metadata[key])
    except json.JSONDecodeError as error:
        raise UserError(f"The metadata {key!r} of {what} is no JSON ({error}); save the file again.") from error
    if not isinstance(value, kind):
        raise UserError(f"The metadata {key!r} of {what} must be a JSON {kind.__name__}, got {type(value).__name__}.")
    return value


def preprocessing_entry(metadata: Mapping[str, str], what: str) -> Preprocessing:
    """The preprocessing that a weights file's metadata states.

    Raises:
        UserError: it states something that is none.
    """
    values = read_entry(metadata, "preprocessing", dict, what)
    try:
        return Preprocessing.from_dict(values)
    except (TypeError, ValueError) as error:
        raise UserError(f"The preprocessing in the metadata of {what} cannot be used ({error}).") from error
