"""A training from pictures to a file, the same for every kind of explainer that learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from core.classifier import Classifier
from core.data import Dataset, Item
from core.explainers.learned.files import About, save_trained, usual_file
from core.training import together
from core.training.loop import Training, alone, checkpoint_of, train
from core.training.pictures import Frames, split
from core.training.stage import Stage

Reading = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Nobody watches the reading."""


class Recipe(ABC):
    """What is particular to one kind of explainer, for one classifier and some options.

    Attributes:
        explainer: its name. players: what its file is for, as of `About`.
        segments: each picture's own segments are needed. grid: patches along each side.
        seed: of all that is drawn. options: as they were given, for JSON.
    """

    explainer: ClassVar[str]
    players: str
    segments: bool
    grid: tuple[int, int]
    seed: int
    options: dict[str, Any]

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def chosen(self, items: Sequence[Item]) -> Sequence[Item]:
        """Of the pictures to learn from, those that are."""
        return items

    @abstractmethod
    def stages(self, learn: Frames, held: Frames) -> list[Stage]:
        """One after the other; the last one makes the explainer."""

    @abstractmethod
    def notes(self, learn: Frames, held: Frames) -> list[str]:
        """One sentence on each thing to know before the first step."""

    def identity(self) -> dict[str, Any]:
        """What must be equal, besides classifier, data and options, for a checkpoint to be gone on with."""
        return {}

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The weights to keep, once all stages are over."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """How to build it again, besides the options."""

    def card(self, held: Frames, file: Path) -> dict[str, Any]:
        """What is measured in the end, on held-out pictures."""
        return {}


def trained(
    recipe: Recipe, data: Dataset, out: Path | None, *, fresh: bool = False, reading: Reading = silent
) -> Generator[Training, None, Path]:
    """Train an explainer, yielding after every step; the generator's value is the file.

    It goes on from a checkpoint that lies beside `out`. Stopped (`close`), it leaves one. Started by torchrun in
    several processes, each learns from its part of every batch, and the first one writes the files.

    Args:
        out: a .safetensors file; None for the place where Satchel looks for it.
        fresh: leave a checkpoint that is there, and begin anew.
        reading: told how many pictures have been read, of how many.

    Raises:
        UserError: pictures cannot be read, the disk is full, the loss is no number, another training writes the same
            file, or a checkpoint belongs to another one.
    """
    classifier = recipe.classifier
    out = out or usual_file(recipe.explainer, recipe.players, classifier)
    together.begin(classifier.device)
    with alone(out):
        seen, kept = split(data, recipe.seed)
        seen = recipe.chosen(seen)
        learn, held = (Frames(classifier, items, recipe.grid, recipe.segments) for items in (seen, kept))
        total = len(seen) + len(kept)
        learn.read_all(lambda done, of: reading(done, total))
        held.read_all(lambda done, of: reading(len(seen) + done, total))
        stages = recipe.stages(learn, held)
        identity = {"classifier": classifier.fingerprint, "data": data.fingerprint(), "options": recipe.options}
        identity |= recipe.identity()
        notes = [*_left_out([*learn.problems, *held.problems]), *recipe.notes(learn, held)]
        told = Training(())
        # closed here, and not when it is forgotten, it can say that the disk is full
        with closing(train(stages, out, identity, notes, fresh=fresh)) as steps:
            for told in steps:
                yield told
        if together.rank() > 0:
            return out
        results = _course(told, stages[-1], learn, held)
        _save(recipe, out, results)
        if measured := recipe.card(held, out):
            _save(recipe, out, results | measured)
        checkpoint_of(out).unlink(missing_ok=True)
    return out


def _left_out(problems: list[str]) -> list[str]:
    if not problems:
        return []
    several = f"{len(problems)} pictures are left out, the first is"
    return [f"{several if len(problems) > 1 else 'One picture is left out:'} {problems[0]}"]


def _course(told: Training, stage: Stage, learn: Frames, held: Frames) -> dict[str, Any]:
    """What training itself knows."""
    ends = [point for point in told.points if point.held_out is not None and point.stage == stage.name]
    best = (ends[-1] if stage.moves else min(ends, key=lambda point: point.held_out or 0.0)) if ends else None
    return {
        "pictures": len(learn),
        "held_out_pictures": len(held),
        "minutes": round(told.seconds / 60, 2),
        "held_out_loss": None if best is None else best.held_out,
        "best_step": None if best is None else best.step,
        "notes": told.notes,
        "curve": [asdict(point) for point in told.points if point.held_out is not None],
    }


def _save(recipe: Recipe, out: Path, card: dict[str, Any]) -> None:
    classifier, settings = recipe.classifier, {**recipe.settings(), "training": recipe.options}
    about = About(
        recipe.explainer, recipe.players, classifier.fingerprint, classifier.name, classifier.labels, settings, card
    )
    save_trained(out, about, recipe.tensors())


def halved(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Weights at half the bytes: what that rounds off is far below what training leaves open.

    Left as they are where that is too narrow, as for the variance of pictures counted from 0 to 255.
    """
    most = torch.finfo(torch.float16).max

    def narrow(value: Tensor) -> Tensor:
        return value.half() if value.is_floating_point() and bool((value.abs() <= most).all()) else value

    return {f"{prefix}{name}": narrow(value) for name, value in module.state_dict().items()}
