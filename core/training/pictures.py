"""The pictures that an explainer learns from, in the classifier's frame, kept in memory where they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.classifier import Classifier
from core.data import Dataset, Item
from core.errors import UserError
from core.explainers.games.players import Cells, Given, Players, cells
from core.regions import Regions
from core.runtime.randomness import derived_seed
from core.runtime.recent import Recent
from core.segments.partition import regions_of

MEMORY = 2 << 30  # bytes of prepared pictures that are kept
HELD_OUT = 0.1  # part of the groups that the best epoch is chosen on
LEAST, MOST = 8, 512  # pictures held out


@dataclass(frozen=True)
class Frame:
    """One picture ready to be learned from: image [3, H, W] of bytes, and masks [P, H, W] of bytes, if it has some."""

    image: Tensor
    masks: Tensor | None

    @property
    def size(self) -> int:
        return self.image.numel() + (0 if self.masks is None else self.masks.numel())


@dataclass(frozen=True)
class Batch:
    """Some of them on the device.

    Attributes:
        images: [B, 3, H, W] in [0, 1].
        players: who can be absent. masks: [B, P, H, W], of segments only.
        labels: [B], classes of the classifier; -1 where none is known.
    """

    images: Tensor
    players: Players
    masks: Tensor | None
    labels: Tensor

    @property
    def exists(self) -> Tensor:
        """[B, P]: which players each picture has."""
        counts = torch.tensor(self.players.counts, device=self.images.device)
        return torch.arange(int(counts.max()), device=counts.device) < counts[:, None]


class Frames:
    """Pictures by number.

    Attributes:
        items: those that can be read.
        problems: one sentence for each that cannot.
    """

    def __init__(self, classifier: Classifier, items: Sequence[Item], grid: tuple[int, int], segments: bool) -> None:
        self.classifier, self.grid, self.segments = classifier, grid, segments
        self.items = list(items)
        self.problems: list[str] = []
        self._classes = {label: number for number, label in enumerate(classifier.labels)}
        self._kept: Recent[str, Frame] = Recent(MEMORY, lambda frame: frame.size)

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, numbers: Sequence[int], flipped: Sequence[bool] = ()) -> Batch:
        """These pictures, some of them mirrored.

        Raises:
            UserError: one cannot be read any more.
        """
        frames = [self._frame(self.items[n]) for n in numbers]
        mirrored = flipped or [False] * len(frames)
        device = self.classifier.device
        images = torch.stack([_turned(frame.image, turn) for frame, turn in zip(frames, mirrored)])
        images = images.to(device).float() / 255
        labels = torch.tensor([self.label(self.items[n]) for n in numbers], device=device)
        if not self.segments:
            places = cells(self.classifier.input_size, *self.grid)[None].to(device)
            return Batch(images, Cells(places, len(images)), None, labels)
        own = [_turned(frame.masks, turn) for frame, turn in zip(frames, mirrored) if frame.masks is not None]
        regions = Regions.of([masks.to(device).float() / 255 for masks in own])
        return Batch(images, Given(regions), regions.masks, labels)

    def label(self, item: Item) -> int:
        """Its class of the classifier; -1 where it has no label, or one that is no class."""
        return self._classes.get(item.label or "", -1)

    def read_all(self, each: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Read each once, so that those that cannot be read are left out before the first step.

        Raises:
            UserError: none is left.
        """
        kept: list[Item] = []
        for n, item in enumerate(self.items):
            try:
                self._frame(item)
                kept.append(item)
            except UserError as error:
                self.problems.append(f"{item.id}: {error}")
            each(n + 1, len(self.items))
        self.items = kept
        if not kept:
            first = self.problems[0] if self.problems else "there are none"
            raise UserError(f"No picture can be learned from ({first.rstrip('.')}).")

    def _frame(self, item: Item) -> Frame:
        return self._kept.get_or_make(item.id, lambda: self._read(item))

    def _read(self, item: Item) -> Frame:
        picture, segments = item.load() if self.segments else (item.picture(), None)
        prepared = self.classifier.prepare(picture)
        image = (prepared.tensor * 255).round().to(torch.uint8)
        if not self.segments:
            return Frame(image, None)
        if segments is None or not len(segments):
            raise UserError("it has no segments, which are the players here")
        masks = segments.to_model(prepared.geometry)
        regions = regions_of([(segments, masks)])
        return Frame(image, (regions.masks[0] * 255).round().to(torch.uint8))


def _turned(tensor: Tensor, mirror: bool) -> Tensor:
    return tensor.flip(-1) if mirror else tensor


def split(data: Dataset, seed: int) -> tuple[list[Item], list[Item]]:
    """(to learn from, held out): pictures of one group stay together.

    Raises:
        UserError: there are too few pictures to hold some out.
    """
    groups = sorted({item.group for item in data.items}, key=lambda group: derived_seed(seed, "held out", group))
    if len(groups) < 2:
        raise UserError(
            f"{data.name} has {len(data)} pictures, all of one group; an explainer learns from some and is judged on "
            "others, so give two at least, better some hundreds."
        )
    count = min(max(round(HELD_OUT * len(groups)), min(LEAST, len(groups) // 2)), MOST)
    chosen = set(groups[: max(1, count)])
    held = [item for item in data.items if item.group in chosen]
    return [item for item in data.items if item.group not in chosen], held[:MOST]
