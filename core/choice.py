"""Which explainer, and with what: the one shape in which that travels from a command or a page to a map."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from core.beforehand import PREFIXES
from core.classifier import Classifier
from core.data import Dataset, open_dataset
from core.errors import UserError
from core.explainer import BoundExplainer, Explainer, explainers, get_explainer
from core.parameters import Parameters, named_options, parsed
from core.paths import existing_file, user_path
from core.runtime.fingerprints import file_state
from core.runtime.randomness import derived_seed
from core.runtime.recent import Recent

REFERENCES = 16  # pictures


@dataclass(frozen=True)
class Trained:
    """Trained weights of an explainer.

    Attributes:
        file: where they are; sha256: of its bytes.
    """

    file: Path
    sha256: str

    @classmethod
    def of(cls, file: str | Path) -> Trained:
        """Of a file.

        Raises:
            UserError: it is not there.
        """
        path = user_path(file)
        existing_file(path, "file of trained weights", "check the path")

        def read() -> Trained:
            with path.open("rb") as opened:
                return cls(path, hashlib.file_digest(opened, "sha256").hexdigest())

        # a page asks for it with every frame that it draws
        return _trained.get_or_make((str(path), *file_state(path)), read)


_trained: Recent[tuple, Trained] = Recent(64)


@dataclass(frozen=True)
class References:
    """Other pictures that an explainer compares with: a few of a data set, the same in every command.

    Attributes:
        source: what names the data set, as of `open_dataset`.
        sha256: of the pictures that were drawn.
        data: those pictures.
    """

    source: str
    sha256: str
    data: Dataset = field(compare=False, repr=False)

    @classmethod
    def of(cls, source: str | Path) -> References:
        """The pictures whose numbers, drawn from their names, come first; those that cannot be read are passed over.

        Raises:
            UserError: there is no such data set, or none of its pictures can be read.
        """
        data = open_dataset(source)
        ranked = sorted(data.items, key=lambda item: derived_seed(0, item.id, "reference"))
        kept, digest, problem = [], hashlib.sha256(), ""
        for item in ranked:
            try:
                digest.update(item.picture().array().tobytes())
            except UserError as error:
                problem = problem or f" ({error})".replace(".)", ")")
                continue
            kept.append(item)
            if len(kept) == REFERENCES:
                break
        if not kept:
            raise UserError(f"No picture of {source} can be read to compare with{problem}.")
        return cls(str(source), digest.hexdigest(), replace(data, items=tuple(kept)))

    def pictures(self, classifier: Classifier) -> Tensor:
        """[R, 3, H, W] in [0, 1], in the classifier's frame."""
        return torch.stack([classifier.prepare(item.picture()).tensor for item in self.data.items])


@dataclass(frozen=True)
class Choice:
    """An explainer with all that its maps depend on besides classifier, picture, target and seed.

    Attributes:
        explainer: its name.
        parameters: of its own type; None for its defaults.
        weights: trained weights, for learned explainers.
        references: other pictures, for explainers that compare with some.
        label: tells two choices apart in tables; `text` where nothing else is said.
    """

    explainer: str
    parameters: Parameters | None = None
    weights: Trained | None = None
    references: References | None = None
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Fill in what was left to its default.

        Raises:
            UserError: there is no such explainer, or its parts do not go together.
        """
        method = self.method
        if self.parameters is None:
            object.__setattr__(self, "parameters", method.parameters())
        elif not isinstance(self.parameters, method.parameters):
            wanted, given = method.parameters.__name__, type(self.parameters).__name__
            raise UserError(f"{self.explainer} takes {wanted}, got {given}.")
        method.check(self.parameters)
        if self.weights is not None and not method.needs_weights:
            raise UserError(f"{self.explainer} is not trained, so it takes no weights.")
        if self.references is not None and not method.takes_references:
            able = ", ".join(name for name, other in explainers().items() if other.takes_references)
            raise UserError(f"{self.explainer} compares with no other pictures; those that do are {able}.")
        if not self.label:
            object.__setattr__(self, "label", self.text)

    @classmethod
    def parse(cls, text: str) -> Choice:
        """From the text of an option, which becomes the label: "suppression:samples=64,keep=0.2",
        "captum:Occlusion:window=0.3", "expected-gradients:references=FOLDER", "salvage@FILE", which is
        short for "salvage:weights=FILE".

        Raises:
            UserError: an unknown explainer or parameter, a bad value, a file that is not there, or not of that form.
        """
        name, given = named_options(text, PREFIXES)
        name, at, file = name.partition("@")
        method = get_explainer(name)
        weights = given.pop("weights", file if at else None)
        references = given.pop("references", None)
        trained = None if weights is None else Trained.of(weights)
        if trained is not None and method.needs_weights:
            given = {**method.trained_with(trained.file), **given}
        return cls(
            name,
            parsed(name, method, given),
            trained,
            None if references is None else References.of(references),
            text.strip(),
        )

    @property
    def method(self) -> Explainer:
        """The explainer itself."""
        return get_explainer(self.explainer)

    @property
    def options(self) -> dict[str, Any]:
        """What differs from the defaults, by name, as `text` has it."""
        given = self._parameters.to_dict()
        usual = self.method.parameters().to_dict()
        found = {name: value for name, value in given.items() if value != usual[name]}
        if self.weights is not None:
            found["weights"] = str(self.weights.file)
        if self.references is not None:
            found["references"] = self.references.source
        return found

    @property
    def text(self) -> str:
        """What `parse` takes, with nothing that is a default."""
        options = ",".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.explainer}:{options}" if options else self.explainer

    @cached_property
    def key(self) -> str:
        """The same for two choices just when their maps are the same, wherever files lie: 16 hexadecimal digits."""
        whole = [
            self.explainer,
            self.method.revision,
            self._parameters.to_dict(),
            self.weights and self.weights.sha256,
            self.references and self.references.sha256,
        ]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

    def record(self) -> dict[str, Any]:
        """All of it, as manifests and lists of maps hold it."""
        weights, references = self.weights, self.references
        return {
            "label": self.label,
            "name": self.explainer,
            "revision": self.method.revision,
            "parameters": self._parameters.to_dict(),
            "weights": None if weights is None else {"file": str(weights.file), "sha256": weights.sha256},
            "references": None if references is None else {"source": references.source, "sha256": references.sha256},
            "key": self.key,
        }

    def found(self, classifier: Classifier) -> Choice:
        """The same, with the trained weights that it will use for this classifier named, if any are there."""
        if self.weights is not None or not self.method.needs_weights:
            return self
        file = self.method.found(classifier, self._parameters)
        return self if file is None else replace(self, weights=Trained.of(file))

    def bind(self, classifier: Classifier) -> BoundExplainer:
        """Tie it to a classifier: what `explain` and `steps` of the result take by default is what was chosen.

        Raises:
            UserError: the explainer refuses the classifier, or has no weights for it.
        """
        weights = self.found(classifier).weights
        return self.tied(self.method.bind(classifier, None if weights is None else weights.file))

    def tied(self, bound: BoundExplainer) -> BoundExplainer:
        """As `bind`, to the classifier that this explainer is bound to already."""
        references = None if self.references is None else self.references.pictures(bound.classifier)
        return bound.taking(self._parameters, references)

    @property
    def _parameters(self) -> Parameters:
        assert self.parameters is not None
        return self.parameters


def tied_by_label(choices: Iterable[Choice], classifier: Classifier) -> dict[str, BoundExplainer]:
    """Label -> what makes its maps; errors as of `Choice.bind`."""
    return {choice.label: choice.bind(classifier) for choice in choices}


def full_title(entry: Mapping[str, Any]) -> str:
    """The title for people of what a manifest lists (`label`, `name`, `title`), with what its label says besides."""
    said = _said(entry)
    return f"{entry['title']} ({said})" if said else entry["title"]


def short_titles(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Label -> title for people, with what the label says besides only where it takes that to tell two apart."""
    names = [entry["name"] for entry in entries]

    def title(entry: Mapping[str, Any]) -> str:
        return entry["title"] if names.count(entry["name"]) == 1 else f"{entry['title']} ({_said(entry) or 'defaults'})"

    return {entry["label"]: title(entry) for entry in entries}


def _said(entry: Mapping[str, Any]) -> str:
    """From "smoothgrad:samples=4,sigma=0.1" the text "samples 4, sigma 0.1"; a label of one's own as it is."""
    if entry["label"] == entry["name"]:
        return ""
    parts = (part.strip().partition("=") for part in entry["label"].removeprefix(f"{entry['name']}:").split(","))
    return ", ".join(f"{key.replace('_', ' ')} {value}" if equals else key for key, equals, value in parts)


class Labelled(Protocol):
    """What stands in a table under a label of its own."""

    @property
    def label(self) -> str: ...


def distinct(choices: Iterable[Labelled], what: str = "explainer") -> None:
    """Each label once.

    Raises:
        UserError: none is chosen, or one is named twice.
    """
    labels = [choice.label for choice in choices]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UserError(f"{twice} is named twice; name each {what} once, or give it other parameters.")


def default_choices(classifier: Classifier) -> list[Choice]:
    """What is run where nobody has chosen: the explainers marked as default that can explain this classifier."""
    return _able(classifier, (method for method in explainers().values() if method.default))


def reported_choices(classifier: Classifier) -> list[Choice]:
    """The same for a report: of the explainers marked as reported."""
    return _able(classifier, (method for method in explainers().values() if method.reported))


def _able(classifier: Classifier, methods: Iterable[Explainer]) -> list[Choice]:
    return [Choice(method.name).found(classifier) for method in methods if method.supports(classifier) is None]
