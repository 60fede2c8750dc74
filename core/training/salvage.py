"""Training of Salvage: first a surrogate that knows masked pictures, then the explainer that predicts it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.classifier import Classifier
from core.data import Dataset
from core.errors import UserError
from core.explainers.learned.model import BACKBONE, HEAD, NULL, SURROGATE, SalvageModel, load_model
from core.explainers.learned.network import Network, Shape, existing, shape_for, trainable
from core.explainers.learned.objective import Objective, of_class
from core.explainers.learned.subsets import Likelihood, balance, drawn, shapley_subsets, uniform_subsets
from core.fills import fill_plate
from core.learning import SalvageTraining
from core.runtime.chunks import FixedChunk, chunked
from core.runtime.folding import unfolded
from core.runtime.randomness import generator
from core.training.loop import Training
from core.training.pictures import Batch, Frames
from core.training.run import Reading, Recipe, halved, silent, trained
from core.training.stage import PictureStage, Stage

Card = Callable[[SalvageModel, Classifier, Frames, Path], dict[str, Any]]

WARM_UP = 0.1  # part of the explainer's steps in which subsets are drawn by the kernel
CHUNK = {"cpu": 16, "cuda": 256}  # masked pictures at once
WATCHED = 32  # subsets a held-out picture, on which the best epoch is chosen


class Passes:
    """Masked pictures through a classifier, without gradients."""

    def __init__(self, classifier: Classifier, fill: str) -> None:
        self.classifier, self.fill = classifier, fill

    @torch.no_grad()
    def __call__(self, batch: Batch, present: Tensor) -> Tensor:
        """[B, M, P] -> [B, M, C] probabilities."""
        count, subsets = present.shape[:2]
        plates = fill_plate(batch.images, self.fill)
        flat = present.flatten(0, 1).float()
        rows = torch.arange(count, device=flat.device).repeat_interleave(subsets)
        found = flat.new_zeros(len(flat), len(self.classifier.labels))

        def look(start: int, end: int) -> None:
            own = rows[start:end]
            masked = masked_pictures(batch, plates, own, flat[start:end])
            found[start:end] = self.classifier.probabilities(self.classifier.logits(masked))

        # always the same chunks: their last digits decide how training goes on
        device = self.classifier.device
        for _ in chunked(FixedChunk(CHUNK.get(device.type, 64)), device, len(flat), look):
            pass
        return found.view(count, subsets, -1)

    def null(self, frame: tuple[int, int]) -> Tensor:
        """[C]: probabilities of the picture of which nothing is there."""
        empty = torch.zeros(1, 3, *frame, device=self.classifier.device)
        with torch.no_grad():
            logits = self.classifier.finite_logits(fill_plate(empty, self.fill))
        return self.classifier.probabilities(logits)[0]


def masked_pictures(batch: Batch, plates: Tensor, rows: Tensor, present: Tensor) -> Tensor:
    """Pictures [K] of the batch with these players [K, P] only -> [K, 3, H, W]."""
    kept = batch.players.kept(rows, present)
    return torch.lerp(plates[rows], batch.images[rows], kept[:, None])


class SurrogateStage(PictureStage):
    """A copy of the classifier learns to say of masked pictures what the classifier says of the whole ones.

    As in ViT-Shapley (Covert et al., ICLR 2023): KL divergence, subsets of every size alike.
    """

    name = "surrogate"

    def __init__(self, classifier: Classifier, options: SalvageTraining, learn: Frames, held: Frames) -> None:
        super().__init__(learn, held, size=options.batch, mirror=options.mirror, seed=options.seed)
        self.classifier, self.o = classifier, options
        self.epochs = options.surrogate_epochs
        self.twin = trainable(classifier)
        self.made: Classifier | None = None

    def learning(self) -> nn.Module:
        return self.twin.module

    def optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.twin.module.parameters(), lr=0.1 * self.o.rate, weight_decay=1e-5)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        batch, random = self.batch(step)
        return self._loss(batch, random), {}

    @torch.no_grad()
    def held_out(self) -> float:
        return self.mean((self._loss(batch, random), len(batch.images)) for batch, random in self.watched())

    def _loss(self, batch: Batch, random: torch.Generator) -> Tensor:
        with torch.no_grad():
            wanted = self.classifier.probabilities(self.classifier.logits(batch.images))
        present = uniform_subsets(batch.exists, 2, random)
        rows = torch.arange(len(batch.images), device=present.device).repeat_interleave(2)
        plates = fill_plate(batch.images, self.o.fill)
        logits = self.twin.logits(masked_pictures(batch, plates, rows, present.flatten(0, 1).float()))
        objective = Objective(sigmoid=self.classifier.output == "sigmoid")
        return objective.loss(logits, wanted.repeat_interleave(2, 0)).mean()

    def finish(self) -> None:
        self.made = self.surrogate()

    def surrogate(self) -> Classifier:
        """As it is now, in evaluation mode."""
        module = trainable(self.classifier).module
        module.load_state_dict(self.twin.module.state_dict())
        return self.classifier.with_module(module, f"the surrogate of {self.classifier.name}")


class ExplainerStage(PictureStage):
    """The explainer learns to predict the surrogate on masked pictures."""

    name = "explainer"

    def __init__(
        self,
        classifier: Classifier,
        options: SalvageTraining,
        learn: Frames,
        held: Frames,
        shape: Shape,
        surrogate: Callable[[], Classifier | None],
    ) -> None:
        """
        Args:
            surrogate: asked once, when this stage begins; None leaves the classifier itself to be asked.
        """
        super().__init__(learn, held, size=options.batch, mirror=options.mirror, seed=options.seed)
        self.classifier, self.o = classifier, options
        self.epochs, self.shape, self._surrogate = options.epochs, shape, surrogate
        self.objective = Objective(
            options.link, options.divergence, options.temperature, classifier.output == "sigmoid", options.normalise
        )
        with torch.random.fork_rng(devices=[classifier.device] if classifier.device.type == "cuda" else []):
            torch.manual_seed(options.seed)
            self.network = Network(trainable(classifier), shape)
        self._known: list[tuple[Tensor, ...]] = []  # of each held-out batch, what does not depend on the explainer
        self._begun = False

    def begin(self) -> None:
        """Once the surrogate is there: its features are where this one starts."""
        if self._begun:
            return
        self.surrogate = self._surrogate() or self.classifier
        self.network.module.load_state_dict(unfolded(self.surrogate.module).state_dict())
        if self.o.backbone_rate == 0:
            self.network.module.requires_grad_(False)
        self.passes = Passes(self.surrogate, self.o.fill)
        self.null = self.objective.null(self.passes.null(self.classifier.input_size))
        self._begun = True

    def learning(self) -> nn.Module:
        self.begin()
        return self.network

    def optimiser(self) -> torch.optim.Optimizer:
        self.begin()
        groups: list[dict[str, Any]] = [{"params": list(self.network.head.parameters()), "lr": self.o.rate}]
        if self.o.backbone_rate:
            groups.append({"params": list(self.network.module.parameters()), "lr": self.o.rate * self.o.backbone_rate})
        return torch.optim.AdamW(groups, weight_decay=1e-5)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        batch, random = self.batch(step)
        early = step < WARM_UP * self.epochs * self.steps
        sampler = "shapley" if early and self.o.sampler in ("informed", "gumbel") else self.o.sampler
        loss, likelihoods = self._loss(batch, random, sampler, self.o.subsets)
        low, middle, high = balance(likelihoods)
        return loss, {"low": low, "middle": middle, "high": high}

    @torch.no_grad()
    def held_out(self) -> float:
        """By the Shapley kernel, whatever the sampler, so that samplers can be compared."""
        return self.mean(self._watched_losses())

    def _watched_losses(self) -> Generator[tuple[Tensor, int]]:
        for number, (batch, random) in enumerate(self.watched()):
            if number == len(self._known):  # asked once: neither subsets nor surrogate change from epoch to epoch
                present = shapley_subsets(batch.exists, WATCHED, random)
                self._known.append((*self._whole(batch), present, self.passes(batch, present)))
            full, whole, present, wanted = self._known[number]
            values = self._values(batch, whole)
            yield self._apart(values, batch.exists, full, present, wanted).mean(), len(batch.images)

    def _loss(self, batch: Batch, random: torch.Generator, sampler: str, count: int) -> tuple[Tensor, Tensor]:
        full, whole = self._whole(batch)
        targets = full.argmax(1)
        values = self._values(batch, whole)
        likelihood = Likelihood(values.detach(), self.null, targets, self.o.temperature, self.objective.sigmoid)
        subsets = drawn(sampler, batch.exists, likelihood, count, random, self.o.unbiased)
        wanted = self.passes(batch, subsets.present)
        loss = self._apart(values, batch.exists, full, subsets.present, wanted, subsets.weights).mean()
        return loss, of_class(wanted, targets)

    def _values(self, batch: Batch, whole: Tensor) -> Tensor:
        raw, own = self.network(batch.images, batch.masks)
        return self.objective.values(raw, self.null, own, whole, existing(batch.masks))

    @torch.no_grad()
    def _whole(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Probabilities of the whole pictures [B, C]: the classifier's, and those that "identity" sums to."""
        full = self.classifier.probabilities(self.classifier.logits(batch.images))
        if self.objective.link == "identity" and self.surrogate is not self.classifier:
            return full, self.surrogate.probabilities(self.surrogate.logits(batch.images))
        return full, full

    def _apart(
        self,
        values: Tensor,
        exists: Tensor,
        full: Tensor,
        present: Tensor,
        wanted: Tensor,
        weights: Tensor | None = None,
    ) -> Tensor:
        """[B]: how far the explainer is from the surrogate on subsets, and from the classifier on the whole picture."""
        loss = self.objective.loss(self.objective.predicted(values, self.null, present), wanted)
        loss = (loss if weights is None else loss * weights).mean(1)
        if self.o.whole and self.objective.link != "identity":
            everybody = self.objective.predicted(values, self.null, exists[:, None])
            loss = loss + self.o.whole * self.objective.loss(everybody[:, 0], full)
        return loss

    def finish(self) -> None:
        """Nothing comes after it."""


class SalvageRecipe(Recipe):
    """A surrogate, where none is given and one is asked for, and then the explainer."""

    explainer = "salvage"

    def __init__(
        self,
        classifier: Classifier,
        options: SalvageTraining,
        surrogate: Classifier | None = None,
        card: Card | None = None,
    ) -> None:
        """
        Raises:
            UserError: options do not go together, or the classifier keeps no map over the picture.
        """
        super().__init__(classifier)
        options.check()
        self.o, self.players, self.segments = options, options.players, options.players == "segments"
        self.seed, self.options = options.seed, options.to_dict()
        self._given, self._card = surrogate, card
        shape = shape_for(classifier, options.grid, self.segments, options.width)
        if shape is None:
            raise UserError(
                f"{classifier.name} keeps no map over the picture, so there are no features that an explainer can "
                "read; methods that only ask for answers, such as kernel-shap, can explain it."
            )
        if options.grid > min(classifier.input_size):
            raise UserError(
                f"The grid has more patches than pixels; choose at most {min(classifier.input_size)} a side."
            )
        self.shape, self.grid = shape, shape.grid

    def stages(self, learn: Frames, held: Frames) -> list[Stage]:
        shared = (self.classifier, self.o, learn, held)
        before = SurrogateStage(*shared) if self.o.surrogate_epochs and self._given is None else None
        self.stage = ExplainerStage(*shared, self.shape, lambda: before.made if before else self._given)
        return [self.stage] if before is None else [before, self.stage]

    def identity(self) -> dict[str, Any]:
        return {} if self._given is None else {"surrogate": self._given.fingerprint}

    def notes(self, learn: Frames, held: Frames) -> list[str]:
        if self.o.surrogate_epochs or self._given is not None:
            return []
        batch = held.batch(range(min(32, len(held))))
        present = uniform_subsets(batch.exists, 2, generator(self.o.seed, "half"))
        half = Passes(self.classifier, self.o.fill)(batch, present).argmax(-1)
        full = self.classifier.logits(batch.images).argmax(1)
        same = float((half == full[:, None]).float().mean())
        note = (
            "Without a surrogate the classifier itself is asked about masked pictures, which it never learned from: it "
            f"keeps its answer on {same:.0%} of them here. A surrogate (--surrogate-epochs 10) knows what they still "
            "show."
        )
        return [note]

    def tensors(self) -> dict[str, Tensor]:
        self.stage.begin()
        kept = halved(HEAD, self.stage.network.head)
        if self.o.backbone_rate or self.stage.surrogate is not self.classifier:
            kept |= halved(BACKBONE, self.stage.network.module)
        if self.o.link == "identity":
            kept |= halved(SURROGATE, unfolded(self.stage.surrogate.module))
        return {**kept, NULL: self.stage.null}

    def settings(self) -> dict[str, Any]:
        return {"shape": self.shape.to_dict(), "objective": asdict(self.stage.objective)}

    def card(self, held: Frames, file: Path) -> dict[str, Any]:
        if self._card is None:
            return {}
        return self._card(load_model(file, self.classifier), self.stage.surrogate, held, file)


def train_salvage(
    classifier: Classifier,
    data: Dataset,
    options: SalvageTraining | None = None,
    out: Path | None = None,
    *,
    fresh: bool = False,
    surrogate: Classifier | None = None,
    reading: Reading = silent,
    card: Card | None = None,
) -> Generator[Training, None, Path]:
    """Train a Salvage explainer of a classifier: arguments and errors as of `core.training.run.trained`.

    Args:
        data: pictures; their labels are not looked at. With players "segments" each needs some.
        surrogate: one that is there already, of `load_model`; none is trained then.
        card: makes the results card of the trained explainer, the surrogate, the held-out pictures and the file.
    """
    recipe = SalvageRecipe(classifier, options or SalvageTraining(), surrogate, card)
    return (yield from trained(recipe, data, out, fresh=fresh, reading=reading))
