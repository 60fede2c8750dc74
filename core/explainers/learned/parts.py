"""A trained explainer as a classifier of one picture: its prediction as a sum of parts, and without some of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from core.classifier import Classifier
from core.explainers.games.players import Cells, Given, Players
from core.explainers.learned.model import SalvageModel
from core.fills import fill_plate
from core.regions import SEGMENTS, Regions

REST = "the rest of the picture"


@dataclass(frozen=True)
class Part:
    """One term of the sum.

    Attributes:
        name: of a segment, or where a patch is.
        players: their numbers. value: what they add to the target's logit.
    """

    name: str
    players: tuple[int, ...]
    value: float


@dataclass(frozen=True)
class Total:
    """null + the sum of the parts' values = logit, all of the target; probabilities under link "identity".

    Under a softmax, logits are less their mean over the classes, as values are: it cannot tell the difference.

    Attributes:
        parts: the strongest first, what is left in one at the end.
        empty, probability: of the target, of the picture of which nothing is there, and of the whole one.
    """

    null: float
    parts: tuple[Part, ...]
    logit: float
    empty: float
    probability: float


@dataclass(frozen=True)
class Sum:
    """One picture as a trained explainer sees it.

    Attributes:
        image: [3, H, W] in [0, 1], on the classifier's device.
        values: [P, C]. players: those of the picture. names: of each; None where it has none.
    """

    model: SalvageModel
    image: Tensor
    values: Tensor
    players: Players
    names: tuple[str | None, ...]

    @classmethod
    def of(cls, model: SalvageModel, image: Tensor, regions: Regions | None = None) -> Sum:
        """In one pass.

        Args:
            image: [3, H, W] in [0, 1]. regions: the picture's segments, which a model of those needs.
        """
        device = model.null.device
        image = image.to(device)
        if model.about.players != SEGMENTS:
            players: Players = Cells(model.labels((image.shape[1], image.shape[2]))[None].to(device), 1)
            columns = model.network.shape.grid[1]
            names = tuple(f"row {n // columns + 1}, column {n % columns + 1}" for n in range(players.counts[0]))
            return cls(model, image, model.values(image[None])[0], players, names)
        assert regions is not None
        own = regions.to(device)
        return cls(model, image, model.values(image[None], own.masks)[0], Given(own), regions.names[0])

    def total(self, target: int, most: int = 8) -> Total:
        """What the parts add to a class: segments of one name are one part, and so is what is left after `most`."""
        objective = self.model.objective
        scale = 1.0 if objective.link == "identity" else objective.temperature
        each = (self.values[:, target] / scale).tolist()
        parts = [Part(name, players, sum(each[p] for p in players)) for name, players in self._named().items()]
        parts.sort(key=lambda part: -abs(part.value))
        if len(parts) > most + 1:  # one that is left stands for itself
            left = tuple(p for part in parts[most:] for p in part.players)
            what = "segments" if self.model.about.players == SEGMENTS else "patches"
            parts = [*parts[:most], Part(f"all other {what}", left, sum(each[p] for p in left))]
        nobody, everybody = self._logits([[False] * len(each), [True] * len(each)])
        empty, whole = (float(self.model.probabilities(one)[target]) for one in (nobody, everybody))
        if objective.link != "identity" and not objective.sigmoid:
            nobody, everybody = nobody - nobody.mean(), everybody - everybody.mean()
        return Total(float(nobody[target]), tuple(parts), float(everybody[target]), empty, whole)

    def predicted(self, absent: Collection[int] = ()) -> Tensor:
        """[C]: probabilities that the explainer predicts without these players, without another pass."""
        return self.model.probabilities(self._logits([self._present(absent)])[0])

    def picture(self, absent: Collection[int] = ()) -> Tensor:
        """[3, H, W]: the picture without these players, filled as in training."""
        present = torch.tensor([self._present(absent)], dtype=torch.float32, device=self.image.device)
        kept = self.players.kept(torch.zeros(1, dtype=torch.long, device=self.image.device), present)
        plate = fill_plate(self.image[None], self.model.about.settings["training"]["fill"])
        return torch.lerp(plate, self.image[None], kept[:, None])[0]

    def asked(self, classifier: Classifier, absent: Collection[int] = ()) -> Tensor:
        """[C]: what the classifier itself says of that picture, in one pass."""
        with torch.no_grad():
            return classifier.probabilities(classifier.finite_logits(self.picture(absent)[None]))[0]

    def _named(self) -> dict[str, tuple[int, ...]]:
        unnamed = [p for p, name in enumerate(self.names) if not name]
        found: dict[str, tuple[int, ...]] = {}
        for p, name in enumerate(self.names):
            said = name or (REST if len(unnamed) == 1 else f"unnamed {unnamed.index(p) + 1}")
            found[said] = (*found.get(said, ()), p)
        return found

    def _present(self, absent: Collection[int]) -> list[bool]:
        return [p not in absent for p in range(len(self.values))]

    def _logits(self, present: list[list[bool]]) -> Tensor:
        return self.model.logits(self.values[None], torch.tensor([present], device=self.values.device))[0]
