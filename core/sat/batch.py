"""A few pictures of a data set, read once: predicted, explained and cut into rows together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.attribution import Attribution
from core.classifier import Classifier
from core.compression import WHOLE, Compression
from core.data import Dataset, Item
from core.errors import UserError, closest
from core.explainer import BoundExplainer
from core.images import Picture
from core.preprocessing import Prepared
from core.regions import Regions
from core.runtime import interrupt
from core.runtime.randomness import picture_seeds
from core.sat.interventions import LARGE
from core.sat.rows import merged_masks, rows_from_masks
from core.segments import Segments, regions_of


@dataclass(frozen=True)
class Scene:
    """One picture of a report, ready to be changed: everything in the model's frame, on the classifier's device."""

    id: str
    group: str
    image: Tensor  # [3, H, W]
    masks: dict[str, Tensor]  # name -> [H, W]; instances of one name joined
    kinds: dict[str, str]
    pixels: tuple[float, float] = (1.0, 1.0)  # of the frame, down and right, that one of the picture became
    compression: Compression = WHOLE  # of the picture's file

    @property
    def stretch(self) -> float:
        """Width over height, in the model's frame, of what is square in the picture."""
        return self.pixels[1] / self.pixels[0]

    def object_mask(self) -> Tensor:
        """[H, W]: union of everything that is not context."""
        return self._union(name for name in self.masks if self.kinds[name] != "context")

    def objects(self) -> tuple[Tensor, Tensor]:
        """[H, W] each: what a paste keeps off, all that is marked as object; and of it what is small enough to forbid
        a place (a close-up has no other)."""
        marked = [name for name in self.masks if self.kinds[name] == "object"]
        return self._union(marked), self._union(name for name in marked if self.coverage(name) <= LARGE)

    def neighbours(self, name: str, coverage: float | None = None) -> Tensor:
        """[H, W]: the other named segments that a change at this one's place must leave alone: all but the scenery.

        Args:
            coverage: of the segment, where this picture does not show it.
        """
        own = self.coverage(name) if coverage is None else coverage
        return self._union(other for other in self.masks if other != name and not self._scenery(other, own))

    def _scenery(self, name: str, beside: float) -> bool:
        """What a small thing stands before: a large segment, or context much larger than it."""
        if self.kinds[name] == "object":
            return False
        coverage = self.coverage(name)
        return coverage > LARGE or (self.kinds[name] == "context" and coverage >= max(0.1, 4 * beside))

    def _union(self, names: Iterable[str]) -> Tensor:
        union = torch.zeros_like(self.image[0])
        for name in names:
            union = torch.maximum(union, self.masks[name])
        return union

    def coverage(self, name: str) -> float:
        """Part of the picture, in [0, 1]."""
        return float(self.masks[name].mean())


@dataclass(frozen=True)
class LoadedPicture:
    """One item, read: the picture in the model's frame and its segments, if it has any."""

    item: Item
    prepared: Prepared
    segments: Segments | None
    masks: Tensor | None  # [P, H, W], one an instance, on the CPU
    notes: tuple[str, ...] = ()  # of the picture and of its masks
    compression: Compression = WHOLE

    def scene(self, device: torch.device) -> Scene:
        masks: dict[str, Tensor] = {}
        kinds: dict[str, str] = {}
        if self.segments is not None and self.masks is not None:
            masks = {name: m.to(device) for name, m in merged_masks(self.segments, self.masks).items()}
            kinds = dict(zip(self.segments.names, self.segments.kinds))
        pixels = (self.prepared.geometry.scale_y, self.prepared.geometry.scale_x)
        return Scene(
            self.item.id, self.item.group, self.prepared.tensor.to(device), masks, kinds, pixels, self.compression
        )


def load(item: Item, classifier: Classifier) -> LoadedPicture:
    """Read one item into the model's frame; errors as of `read`."""
    return read(item, classifier.prepare)


def read(item: Item, prepare: Callable[[Picture], Prepared]) -> LoadedPicture:
    """Read one item. Segments that have no name yet are left out: in a report only names count.

    Raises:
        UserError: the picture or its mask cannot be read, or they do not fit.
    """
    picture, segments = item.load()
    prepared = prepare(picture)
    notes = (*picture.notes, *(segments.notes if segments is not None else ()))
    segments = None if segments is None else segments.only_named()
    masks = None if segments is None else segments.to_model(prepared.geometry)
    return LoadedPicture(item, prepared, segments, masks, notes, picture.compression)


def picture_lines(
    batch: Sequence[LoadedPicture], classifier: Classifier, target: int | None = None
) -> list[dict[str, Any]]:
    """One line a picture: what it is, what the classifier takes it for, and what part of it each segment covers.

    Args:
        target: what is asked of every picture; None for its own answer.
    """
    logits = classifier.finite_logits(torch.stack([entry.prepared.tensor for entry in batch]))
    top = classifier.probabilities(logits).topk(1, dim=1)
    found = top.indices[:, 0]
    answers = zip(found.tolist(), top.values[:, 0].tolist(), classifier.margin(logits, found).tolist())
    lines = []
    for entry, (index, probability, margin) in zip(batch, answers):
        label = label_index(classifier, entry.item.label)
        coverage: dict[str, float] = {}
        if entry.segments is not None and entry.masks is not None:
            coverage = {n: float(m.mean()) for n, m in merged_masks(entry.segments, entry.masks).items()}
        lines.append(
            {
                "image": entry.item.id,
                "group": entry.item.group,
                "label": entry.item.label,
                "label_index": label,
                "target": index if target is None else target,
                "prediction": index,
                "probability": probability,
                "margin": margin,
                "correct": None if label is None else label == index,
                "segments": len(coverage),
                "coverage": json.dumps(coverage),
            }
        )
    return lines


def explained(
    batch: Sequence[LoadedPicture], lines: Sequence[dict[str, Any]], runs: Mapping[str, BoundExplainer], seed: int
) -> Iterator[tuple[str, list[tuple[LoadedPicture, dict[str, Any], Attribution]]]]:
    """(label of an explainer, each picture that has segments with its line and its map), one explainer at a time."""
    cut_up = [(entry, line) for entry, line in zip(batch, lines) if entry.masks is not None and len(entry.masks)]
    if not cut_up:
        return
    images = torch.stack([entry.prepared.tensor for entry, _ in cut_up])
    targets = [line["target"] for _, line in cut_up]
    seeds = picture_seeds(seed, images)
    for name, explainer in runs.items():
        interrupt.check()
        regions = asked_regions(explainer, [entry for entry, _ in cut_up])
        made = explainer.explain(images, targets, seeds=seeds, regions=regions)
        yield name, [(entry, line, result) for result, (entry, line) in zip(made, cut_up)]


def attribution_rows(
    name: str, maps: Sequence[tuple[LoadedPicture, dict[str, Any], Attribution]]
) -> list[dict[str, Any]]:
    """SAT rows of what `explained` yields."""
    rows: list[dict[str, Any]] = []
    for entry, line, result in maps:
        assert entry.segments is not None
        assert entry.masks is not None
        head = {k: line[k] for k in ("image", "group", "label", "prediction", "probability", "correct", "target")}
        cut = rows_from_masks(result.values, entry.masks, entry.segments, entry.prepared.geometry, result.unit)
        rows += [{**head, "explainer": name, **row} for row in cut]
    return rows


def asked_regions(explainer: BoundExplainer, batch: Iterable[LoadedPicture]) -> Regions | None:
    """The named segments of these pictures and the rest of each, where the explainer is asked to remove them; None
    where it is not.

    Raises:
        UserError: a picture has no segments.
    """
    method = explainer.explainer
    if not method.wants_regions(explainer.parameters):
        return None
    known = []
    for entry in batch:
        if entry.segments is None or entry.masks is None:
            raise UserError(f"{entry.item.id} has no masks, which {method.name} is asked to remove; give masks.")
        known.append((entry.segments, entry.masks))
    return regions_of(known)


def label_warning(data: Dataset, classifier: Classifier) -> str | None:
    """A sentence on the data's labels that are no classes of the model; None if all are."""
    labels = data.labels
    unknown = [label for label in labels if label_index(classifier, label) is None]
    others = set(unknown)
    if not unknown:
        return None
    pictures = sum(item.label in others for item in data.items)
    first, are = unknown[0], "is no class" if len(unknown) == 1 else "are no classes"
    hint = closest(first, list(classifier.labels))
    return (
        f"{len(unknown)} of the {len(labels)} labels of {data.name} {are} of {classifier.name} (such as {first!r}"
        f"{f'; {hint}' if hint.endswith('?') else ''}), so that nothing is said about right and wrong on {pictures} of "
        f"{len(data)} pictures; rename the labels, or name the model's classes with --labels."
    )


def label_index(classifier: Classifier, label: str | None) -> int | None:
    """A data set may use labels the classifier does not know: then nothing is said about right and wrong."""
    if label is None:
        return None
    try:
        return classifier.class_index(label)
    except UserError:
        return None
