"""Training of Salvage: first a surrogate that knows masked pictures, then the explainer that predicts it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.classifier import Classifier
from core.data import Dataset
from core.errors import UserError
from core.explainers.learned.files import About, save_trained, usual_file
from core.explainers.learned.model import BACKBONE, HEAD, NULL, SURROGATE, SalvageModel, load_model
from core.explainers.learned.network import Network, Shape, shape_for, trainable
from core.explainers.learned.objective import Objective, of_class
from core.explainers.learned.subsets import Likelihood, balance, drawn, shapley_subsets, uniform_subsets
from core.fills import fill_plate
from core.learning import SalvageTraining
from core.runtime.chunks import FixedChunk, chunked
from core.runtime.folding import unfolded
from core.runtime.randomness import generator
from core.training import together
from core.training.loop import Training, alone, checkpoint_of, train
from core.training.pictures import Batch, Frames, split
from core.training.stage import PictureStage

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
            options.link, options.divergence, options.temperature, classifier.output == "sigmoid"
        )
        with torch.random.fork_rng(devices=[classifier.device] if classifier.device.type == "cuda" else []):
            torch.manual_seed(options.seed)
            self.network = Network(trainable(classifier), shape)
        self._known: list[tuple[Tensor, ...]] = []  # of each held-out batch, what does not depend on the explainer
        self._begun = False

    def _begin(self) -> None:
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
        self._begin()
        return self.network

    def optimiser(self) -> torch.optim.Optimizer:
        self._begin()
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
            values = self.objective.values(self.network(batch.images, batch.masks), self.null, whole)
            yield self._apart(values, batch.exists, full, present, wanted).mean(), len(batch.images)

    def _loss(self, batch: Batch, random: torch.Generator, sampler: str, count: int) -> tuple[Tensor, Tensor]:
        full, whole = self._whole(batch)
        targets = full.argmax(1)
        values = self.objective.values(self.network(batch.images, batch.masks), self.null, whole)
        likelihood = Likelihood(values.detach(), self.null, targets, self.o.temperature, self.objective.sigmoid)
        subsets = drawn(sampler, batch.exists, likelihood, count, random, self.o.unbiased)
        wanted = self.passes(batch, subsets.present)
        loss = self._apart(values, batch.exists, full, subsets.present, wanted, subsets.weights).mean()
        return loss, of_class(wanted, targets)

    @torch.no_grad()
    def _whole(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Probabilities of the whole pictures [B, C]: the classifier's, and what the values are to sum to."""
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


def train_salvage(
    classifier: Classifier,
    data: Dataset,
    options: SalvageTraining | None = None,
    out: Path | None = None,
    *,
    fresh: bool = False,
    surrogate: Classifier | None = None,
    reading: Callable[[int, int], None] = lambda done, total: None,
    card: Callable[[SalvageModel, Classifier, Frames, Path], dict[str, Any]] | None = None,
) -> Generator[Training, None, Path]:
    """Train an explainer of a classifier, yielding after every step; the generator's value is the file.

    It goes on from a checkpoint that lies beside `out`. Stopped (`close`), it leaves one. Started by torchrun in
    several processes, each learns from its part of every batch, and the first one writes the files.

    Args:
        data: pictures; their labels are not looked at. With players "segments" each needs some.
        out: a .safetensors file; None for the place where Satchel looks for it.
        fresh: leave a checkpoint that is there, and begin anew.
        surrogate: one that is there already, of `load_model`; none is trained then.
        reading: told how many pictures have been read, of how many.
        card: makes the results card of the trained explainer, the surrogate, the held-out pictures and the file.

    Raises:
        UserError: the classifier keeps no map over the picture, pictures cannot be read, the disk is full, the loss is
            no number, another training writes the same file, or a checkpoint belongs to another one.
    """
    o = options or SalvageTraining()
    o.check()
    segments = o.players == "segments"
    out = out or usual_file("salvage", o.players, classifier)
    shape = shape_for(classifier, o.grid, segments, o.width)
    if shape is None:
        raise UserError(
            f"{classifier.name} keeps no map over the picture, so there are no features that an explainer can read; "
            "methods that only ask for answers, such as kernel-shap, can explain it."
        )
    if o.grid > min(classifier.input_size):
        raise UserError(f"The grid has more patches than pixels; choose at most {min(classifier.input_size)} a side.")
    together.begin(classifier.device)
    with alone(out):
        seen, kept = split(data, o.seed)
        learn, held = (Frames(classifier, items, shape.grid, segments) for items in (seen, kept))
        total = len(seen) + len(kept)
        learn.read_all(lambda done, of: reading(done, total))
        held.read_all(lambda done, of: reading(len(seen) + done, total))
        notes = _notes(classifier, o, learn, held, surrogate)
        before = SurrogateStage(classifier, o, learn, held) if o.surrogate_epochs and surrogate is None else None
        last = ExplainerStage(classifier, o, learn, held, shape, lambda: before.made if before else surrogate)
        stages = [stage for stage in (before, last) if stage is not None]
        identity = {"classifier": classifier.fingerprint, "data": data.fingerprint(), "options": o.to_dict()}
        if surrogate is not None:
            identity["surrogate"] = surrogate.fingerprint
        told = Training(())
        # closed here, and not when it is forgotten, it can say that the disk is full
        with closing(train(stages, out, identity, notes, fresh=fresh)) as steps:
            for told in steps:
                yield told
        last._begin()
        if together.rank() > 0:
            return out
        results = _card(told, last, learn, held)
        _save(out, classifier, o, last, results)
        if card is not None:
            results |= card(load_model(out, classifier), last.surrogate, held, out)
            _save(out, classifier, o, last, results)
        checkpoint_of(out).unlink(missing_ok=True)
    return out


def _notes(
    classifier: Classifier, o: SalvageTraining, learn: Frames, held: Frames, surrogate: Classifier | None
) -> list[str]:
    notes = []
    problems = [*learn.problems, *held.problems]
    if problems:
        several = (
            f"{len(problems)} pictures are left out, the first is" if len(problems) > 1 else "One picture is left out:"
        )
        notes.append(f"{several} {problems[0]}")
    if not o.surrogate_epochs and surrogate is None:
        batch = held.batch(range(min(32, len(held))))
        present = uniform_subsets(batch.exists, 2, generator(o.seed, "half"))
        half = Passes(classifier, o.fill)(batch, present).argmax(-1)
        full = classifier.logits(batch.images).argmax(1)
        same = float((half == full[:, None]).float().mean())
        notes.append(
            "Without a surrogate the classifier itself is asked about masked pictures, which it never learned from: it "
            f"keeps its answer on {same:.0%} of them here. A surrogate (--surrogate-epochs 10) knows what they still "
            "show."
        )
    return notes


def _card(told: Training, stage: ExplainerStage, learn: Frames, held: Frames) -> dict[str, Any]:
    """What training itself knows."""
    ends = [point for point in told.points if point.held_out is not None and point.stage == stage.name]
    best = min(ends, key=lambda point: point.held_out or 0.0) if ends else None
    return {
        "pictures": len(learn),
        "held_out_pictures": len(held),
        "minutes": round(told.seconds / 60, 2),
        "held_out_loss": None if best is None else best.held_out,
        "best_step": None if best is None else best.step,
        "curve": [asdict(point) for point in told.points if point.held_out is not None],
    }


def _save(out: Path, classifier: Classifier, o: SalvageTraining, stage: ExplainerStage, card: dict[str, Any]) -> None:
    tensors = _halved(HEAD, stage.network.head)
    if o.backbone_rate or stage.surrogate is not classifier:
        tensors |= _halved(BACKBONE, stage.network.module)
    if o.link == "identity":
        tensors |= _halved(SURROGATE, unfolded(stage.surrogate.module))
    tensors[NULL] = stage.null
    settings = {"shape": stage.shape.to_dict(), "objective": asdict(stage.objective), "training": o.to_dict()}
    about = About("salvage", o.players, classifier.fingerprint, classifier.name, classifier.labels, settings, card)
    save_trained(out, about, tensors)


def _halved(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Weights at half the bytes: what that rounds off is far below what training leaves open.

    Left as they are where that is too narrow, as for the variance of pictures counted from 0 to 255.
    """
    most = torch.finfo(torch.float16).max

    def halved(value: Tensor) -> Tensor:
        return value.half() if value.is_floating_point() and bool((value.abs() <= most).all()) else value

    return {f"{prefix}{name}": halved(value) for name, value in module.state_dict().items()}
