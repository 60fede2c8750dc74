"""Classes of a classifier taken together: "vehicle" for minivan, minibus and so on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.classifier import Classifier
from core.errors import UserError
from core.paths import existing_file, user_path
from core.probing.answers import tensor_of
from core.runtime.folding import unfolded
from core.text import composed

Groups = Mapping[str, Sequence[str]]


class Merged(nn.Module):
    """Logits of groups and of the classes that are in none: the log-odds of "one of them", exactly as the model's
    probabilities say."""

    def __init__(self, inner: nn.Module, groups: Sequence[Sequence[int]], exclusive: bool) -> None:
        super().__init__()
        self.inner, self.groups, self.exclusive = inner, [list(group) for group in groups], exclusive

    def forward(self, x: Tensor) -> Tensor:
        logits = tensor_of(self.inner(x), len(x))
        return torch.stack([self._together(logits[:, group]) for group in self.groups], 1)

    def _together(self, logits: Tensor) -> Tensor:
        if logits.shape[1] == 1:
            return logits[:, 0]
        if self.exclusive:
            return logits.logsumexp(1)
        return torch.log(torch.expm1(F.softplus(logits).sum(1)))  # any of them, each on its own

    def extra_repr(self) -> str:
        return f"groups={[group for group in self.groups if len(group) > 1]}"


def read_groups(texts: Sequence[str]) -> dict[str, list[str]]:
    """ "vehicle=minivan,minibus", or the path of a JSON file {"vehicle": ["minivan", "minibus"]}.

    Raises:
        UserError: it is neither, or a name comes twice.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, given, members = text.partition("=")
        several = {name.strip(): [part.strip() for part in members.split(",")]} if given else _from_file(text)
        for group, labels in several.items():
            if not group or not all(labels) or not labels:
                raise UserError(f"{text!r} is no group; write NAME=CLASS,CLASS,... or give a JSON file of groups.")
            if group in found:
                raise UserError(f"The group {group!r} is given twice; put all of its classes into one.")
            found[group] = labels
    return found


def _from_file(text: str) -> dict[str, list[str]]:
    path = existing_file(user_path(text), "file of groups", "write NAME=CLASS,CLASS,... or give a JSON file")
    told = UserError(f'{path} is no JSON object of groups; write {{"vehicle": ["minivan", "minibus"]}}.')
    try:
        groups = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise told from error
    if not isinstance(groups, dict) or not all(
        isinstance(one, list) and all(isinstance(x, str) for x in one) for one in groups.values()
    ):
        raise told
    return groups


def merged(classifier: Classifier, groups: Groups) -> Classifier:
    """The same classifier with classes taken together; groups come first, the others follow in their order.

    Raises:
        UserError: a class does not exist or is in two groups, or a group is called like another class.
    """
    taken: dict[int, str] = {}
    members: list[list[int]] = []
    for name, labels in groups.items():
        indices = [classifier.class_index(label) for label in dict.fromkeys(labels)]
        twice = next((index for index in indices if index in taken), None)
        if twice is not None:
            raise UserError(f"{classifier.labels[twice]!r} is in two groups ({taken[twice]} and {name}); choose one.")
        taken |= dict.fromkeys(indices, name)
        members.append(indices)
    rest = [index for index in range(len(classifier.labels)) if index not in taken]
    names = [composed(name) for name in groups]
    if clash := next((classifier.labels[i] for i in rest if classifier.labels[i] in names), None):
        raise UserError(f"A group is called {clash!r} as a class is that is not in it; call it otherwise.")
    if len(names) + len(rest) < 2:
        raise UserError("The groups take all classes together, so that nothing is left to tell them from.")
    module = Merged(
        unfolded(classifier.module), [*members, *([index] for index in rest)], classifier.output == "softmax"
    )
    found = Classifier(
        module,
        labels=[*names, *(classifier.labels[index] for index in rest)],
        preprocessing=classifier.preprocessing,
        output=classifier.output,
        name=classifier.name,
        device=classifier.device,
        precision=classifier.precision,
        notes=classifier.notes,
    )
    found.aliases = {classifier.labels[index]: composed(name) for index, name in taken.items()}
    return found
