"""Training of masking models: a mask that keeps the class, and whose complement has lost it.

With regime "joint" a copy of the classifier learns along, on plain, masked-in and masked-out pictures, so that masked
pictures are no strangers to it; the user's model is never altered. Both gradients are taken before either steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.classifier import Classifier, named
from core.data import Dataset, Item
from core.errors import UserError
from core.explainers.layers import maps_of
from core.explainers.learned.masker import Masker, masker_shape
from core.explainers.learned.masking import BACKBONE, MASKER, MaskingModel, load_masking_model
from core.explainers.learned.network import trainable
from core.explainers.masking_objective import MaskingObjective, cross_entropy, masked
from core.fills import fill_plate
from core.learning import MaskingTraining
from core.runtime.randomness import derived_seed
from core.training import together
from core.training.loop import Training
from core.training.pictures import Batch, Frames
from core.training.run import Reading, Recipe, halved, silent, trained
from core.training.stage import Optimiser, PictureStage, Several, Stage

Card = Callable[[MaskingModel, Frames, Path], dict[str, Any]]

DECAY = 1e-4
MOMENTUM = 0.9
CLIP = 10.0  # of the masker's gradient
CLIP_COPY = 1.0  # masked pictures, which it has never seen, would else undo in a few steps what it knows
FORGETS = 0.9  # of what the classifier gets right
THIRD = 0.1  # of the rate is left after each third of the steps
AREAS = (0.25, 0.75)  # between which a masker is told how much to keep
PAST = 30  # copies that are remembered
EVERY = 100  # steps between two of them; less often where there are few steps
CHANCE = 0.5  # of a step with a past copy
NOTHING, EVERYTHING = 0.01, 0.99  # mean mask that is a collapse


@dataclass(frozen=True)
class _Seen:
    """What a step finds out.

    Attributes:
        loss: [B]. masks: [B, H, W]. kept, lost: [B] of booleans, the class is said of the masked-in and the masked-out
            picture. plain, inside, outside: [B, C] logits.
    """

    loss: Tensor
    masks: Tensor
    kept: Tensor
    lost: Tensor
    plain: Tensor
    inside: Tensor
    outside: Tensor


class MaskingStage(PictureStage):
    """The masker, and with "joint" the copy."""

    name = "masker"

    def __init__(self, classifier: Classifier, options: MaskingTraining, learn: Frames, held: Frames) -> None:
        super().__init__(learn, held, size=options.batch, mirror=options.mirror, seed=options.seed)
        self.classifier, self.o, self.epochs = classifier, options, options.epochs
        self.exclusive = classifier.output == "softmax"
        self.joint = self.moves = options.regime == "joint"
        self.copy = trainable(classifier) if self.joint else classifier
        shape = masker_shape(classifier, options.tell_class, options.tell_area, options.hard)
        assert shape is not None  # the recipe has seen to it
        with torch.random.fork_rng(devices=[classifier.device] if classifier.device.type == "cuda" else []):
            torch.manual_seed(options.seed)
            self.masker = Masker(shape).to(classifier.device)
        self.objective = MaskingObjective(options.objective, options.area_in, options.weight_out, options.smooth)
        self._modules = nn.ModuleDict({"masker": self.masker} | ({"copy": self.copy.module} if self.joint else {}))
        self._own = list(self.masker.parameters())
        self._along = list(self.copy.module.parameters()) if self.joint else []
        self._past: list[dict[str, Tensor]] = []
        self._then = trainable(classifier) if self.joint and options.history == "casm" else None
        self._next = max(1, min(EVERY, self.epochs * self.steps // PAST))
        self._loss_along: Tensor | None = None
        self._area = 0.5
        self._knows = (1.0, 1.0)  # parts of the held-out pictures that the copy and the classifier get right
        self._late = False

    def learning(self) -> nn.Module:
        return self._modules

    def optimiser(self) -> Optimiser:
        own = torch.optim.Adam(self._own, lr=self.o.rate, weight_decay=DECAY)
        if not self.joint:
            return own
        along = torch.optim.SGD(self._along, lr=self.o.copy_rate, momentum=MOMENTUM, weight_decay=DECAY)
        return Several(own, along)

    def rate(self, step: int, total: int) -> float:
        return THIRD ** (3 * step // total)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        self._late = 2 * step > self.epochs * self.steps
        if self.joint and self.o.history != "none" and step % self._next == 0:
            self._remember_copy()
        batch, random = self.batch(step)
        past = self.joint and bool(self._past) and float(torch.rand((), generator=random)) < CHANCE
        targets = self._targets(batch, self._said(batch))
        scorer = self.copy
        if past and self._then is not None:
            which = int(torch.randint(len(self._past), (), generator=random))
            self._then.module.load_state_dict(self._past[which])
            scorer = self._then
        self.masker.train()
        seen = self._look(batch, targets, scorer, random)
        if self.joint:
            along = cross_entropy(seen.plain, targets, self.exclusive)
            if not past:
                along = along + cross_entropy(seen.inside, targets, self.exclusive)
                along = along + cross_entropy(seen.outside, targets, self.exclusive)
            self._loss_along = along.mean()
        return seen.loss.mean(), {
            "area": float(seen.masks.mean()),
            "inside": float(seen.kept.float().mean()),
            "outside": float(seen.lost.float().mean()),
        }

    def backward(self, loss: Tensor) -> None:
        along = self._loss_along
        own = torch.autograd.grad(loss, self._own, retain_graph=along is not None)
        if along is not None:
            for weight, gradient in zip(self._along, torch.autograd.grad(along, self._along, allow_unused=True)):
                weight.grad = gradient
        for weight, gradient in zip(self._own, own):
            weight.grad = gradient
        self._loss_along = None

    def clip(self) -> None:
        nn.utils.clip_grad_norm_(self._own, CLIP)
        nn.utils.clip_grad_norm_(self._along, CLIP_COPY)

    def memory(self) -> dict[str, Any]:
        return {"past": self._past}

    def remember(self, memory: dict[str, Any]) -> None:
        self._past = list(memory["past"])

    @torch.no_grad()
    def held_out(self) -> float:
        """By the copy as it is now, or by the classifier."""
        self.masker.eval()
        sums = torch.zeros(4, dtype=torch.float64)  # of areas, of what the copy and the classifier get right, pictures

        def losses() -> Generator[tuple[Tensor, int]]:
            for batch, random in self.watched():
                said = self._said(batch)
                targets = self._targets(batch, said)
                seen = self._look(batch, targets, self.copy, random, draw=False)
                copy, classifier = (named(logits, targets, self.exclusive).sum() for logits in (seen.plain, said))
                area = seen.masks.mean((1, 2)).sum()
                sums.add_(torch.tensor([float(area), float(copy), float(classifier), len(batch.images)]))
                yield seen.loss.mean(), len(batch.images)

        found = self.mean(losses())
        area, copy, classifier, count = together.total(sums.tolist(), self.classifier.device)
        self._area, self._knows = area / count, (copy / count, classifier / count)
        return found

    def noticed(self) -> list[str]:
        notes = []
        if not NOTHING <= self._area <= EVERYTHING:
            what, weight = ("nothing", "smaller") if self._area < NOTHING else ("everything", "larger")
            notes.append(
                f"The masks have collapsed to {what}: they are {self._area:.0%} of the held-out pictures. Try a "
                f"{weight} --area-in or --area-out, objective both, or more pictures and classes."
            )
        if self.joint and self._late and self._knows[0] < FORGETS * self._knows[1]:
            notes.append(
                "The copy that learns along has forgotten part of what the classifier knows: its masks say little of "
                "either. Try a lower --copy-rate, or regime fixed."
            )
        return notes

    def finish(self) -> None:
        """Nothing comes after it."""
        self.masker.eval()

    @torch.no_grad()
    def _said(self, batch: Batch) -> Tensor:
        """[B, C]: the classifier's logits."""
        return self.classifier.logits(batch.images)

    def _targets(self, batch: Batch, said: Tensor) -> Tensor:
        """[B]: labels; what the classifier says where there is none."""
        return torch.where(batch.labels >= 0, batch.labels, said.argmax(1))

    def _look(
        self, batch: Batch, targets: Tensor, scorer: Classifier, random: torch.Generator, draw: bool = True
    ) -> _Seen:
        images, frame = batch.images, self.classifier.input_size
        learning = torch.is_grad_enabled() and self.joint
        with torch.set_grad_enabled(learning):
            plain, maps = maps_of(self.copy, self.masker.shape.layers, images)
        area = None
        if self.masker.shape.area:
            drawn = torch.rand(len(images), generator=random) if draw else torch.full((len(images),), 0.5)
            area = (AREAS[0] + (AREAS[1] - AREAS[0]) * drawn).to(images.device)
        logits = self.masker([one.detach() for one in maps], frame, targets, area)
        noise = torch.rand(logits.shape, generator=random).to(images.device) if draw else None
        masks = self.masker.masks(logits, frame, noise if self.masker.shape.gumbel else None)
        plates = fill_plate(images, self.o.fill)
        inside = scorer.logits(masked(images, plates, masks))
        outside = scorer.logits(masked(images, plates, 1 - masks))
        right = named(plain.detach(), targets, self.exclusive)
        loss = self.objective.loss(masks, targets, right, inside, outside, self.exclusive)
        if area is not None:
            loss = loss + (masks.mean((1, 2)) - area).abs()
        kept, lost = (named(logits.detach(), targets, self.exclusive) for logits in (inside, outside))
        return _Seen(loss, masks.detach(), kept, lost, plain, inside, outside)

    def _remember_copy(self) -> None:
        if len(self._past) == PAST:
            del self._past[0]
        self._past.append({name: value.clone() for name, value in halved("", self.copy.module).items()})


class MaskingRecipe(Recipe):
    """One stage: the masker, alone or with the copy."""

    explainer = "masking"
    players = "mask"
    segments = False

    def __init__(self, classifier: Classifier, options: MaskingTraining, card: Card | None) -> None:
        """
        Raises:
            UserError: the classifier keeps no map over the picture.
        """
        super().__init__(classifier)
        self.o, self._card = options, card
        self.seed, self.options = options.seed, options.to_dict()
        self.grid = (1, 1)
        if masker_shape(classifier, False, False, False) is None:
            raise UserError(
                f"{classifier.name} keeps no map over the picture (no layer whose answer lies over it position by "
                "position), and a masker reads such maps; mask-optimisation can explain it without one."
            )

    def chosen(self, items: Sequence[Item]) -> Sequence[Item]:
        count = self.o.examples_per_class
        return _some(items, count, self.seed) if count else items

    def stages(self, learn: Frames, held: Frames) -> list[Stage]:
        self.stage = MaskingStage(self.classifier, self.o, learn, held)
        return [self.stage]

    def notes(self, learn: Frames, held: Frames) -> list[str]:
        notes = []
        unknown = sum(learn.label(item) < 0 for item in learn.items)
        if unknown:
            notes.append(
                f"{unknown} of {len(learn)} pictures have no label that is a class of {self.classifier.name}; what it "
                "says of them is taken instead."
            )
        if len({item.label for item in learn.items}) == 1 and not unknown:
            notes.append(
                "All pictures are of one class, so the classifier has nothing to mistake it for: masks tend to be "
                "everything or nothing. Take pictures of several classes."
            )
        least = min(min(layer.grid) for layer in self.stage.masker.shape.layers)
        if least < 2:
            notes.append("The classifier's last map is one position high or wide, so masks are coarse.")
        return notes

    def tensors(self) -> dict[str, Tensor]:
        kept = halved(MASKER, self.stage.masker)
        return kept | halved(BACKBONE, self.stage.copy.module) if self.stage.joint else kept

    def settings(self) -> dict[str, Any]:
        return {"shape": self.stage.masker.shape.to_dict()}

    def card(self, held: Frames, file: Path) -> dict[str, Any]:
        if self._card is None:
            return {}
        return self._card(load_masking_model(file, self.classifier), held, file)


def _some(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    """So many pictures of each class, drawn; fewer are some of more."""
    taken: Counter[str | None] = Counter()
    kept = []
    for item in sorted(items, key=lambda item: derived_seed(seed, "example", item.id)):
        taken[item.label] += 1
        if taken[item.label] <= count:
            kept.append(item)
    return kept


def train_masking(
    classifier: Classifier,
    data: Dataset,
    options: MaskingTraining | None = None,
    out: Path | None = None,
    *,
    fresh: bool = False,
    reading: Reading = silent,
    card: Card | None = None,
) -> Generator[Training, None, Path]:
    """Train a masking model of a classifier: arguments and errors as of `core.training.run.trained`.

    Args:
        data: pictures; where one has no label that is a class, what the classifier says of it is taken.
        card: makes the results card of the trained model, the held-out pictures and the file.
    """
    recipe = MaskingRecipe(classifier, options or MaskingTraining(), card)
    return (yield from trained(recipe, data, out, fresh=fresh, reading=reading))
