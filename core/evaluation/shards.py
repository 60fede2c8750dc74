"""The parts that an evaluation is computed in: pictures, each explained by all and judged by all metrics."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from core.choice import Choice, tied_by_label
from core.classifier import Classifier
from core.data import Item
from core.errors import UserError
from core.explainer import BoundExplainer
from core.metrics.metric import Case, Metric, parse_metric
from core.metrics.spectrum import spectrum_distance
from core.parameters import Parameters
from core.runtime.progress import Progress
from core.runtime.randomness import picture_seeds
from core.sat.batch import LoadedPicture, asked_regions, label_index, load
from core.sat.noticed import noticed_in
from core.work.shards import Recipe, Tables

ALIGNED_SAMPLES = 8  # samples a picture whose spectrum is looked at


@dataclass(frozen=True)
class Yardstick:
    """A metric with its parameters."""

    label: str
    metric: Metric
    parameters: Parameters

    @classmethod
    def parse(cls, text: str) -> Yardstick:
        """From the text of an option, such as "insertion:fill=blur"."""
        return cls(text, *parse_metric(text))


def masked(yardsticks: Sequence[Yardstick], contenders: Sequence[Choice] = ()) -> list[str]:
    """Labels of metrics that need to know where the object is, and of explainers that are asked to remove segments."""
    asked = [c.label for c in contenders if c.method.wants_regions(c.parameters)]
    return [y.label for y in yardsticks if y.metric.needs_mask] + asked


def without_masks(item: Item, labels: Sequence[str]) -> str:
    """What is told of a picture without masks that these need."""
    needs = "needs" if len(labels) == 1 else "need"
    return f"{item.id} has no masks, which {', '.join(labels)} {needs}; give masks or leave it out."


@dataclass
class Bench:
    """What one process scores with; as of `EvaluationOptions`, the explainers tied."""

    classifier: Classifier
    scorer: Classifier | None
    contenders: dict[str, BoundExplainer]
    yardsticks: tuple[Yardstick, ...]
    seed: int
    batch: int


@dataclass(frozen=True)
class BenchMaker:
    """Makes the bench of another process."""

    recipe: Recipe
    scorer: Recipe | None
    contenders: tuple[Choice, ...]
    yardsticks: tuple[Yardstick, ...]
    seed: int
    batch: int

    def __call__(self, device: str | None = None) -> Bench:
        classifier = self.recipe.load(device)
        scorer = None if self.scorer is None else self.scorer.load(device)
        tied = tied_by_label(self.contenders, classifier)
        return Bench(classifier, scorer, tied, self.yardsticks, self.seed, self.batch)


@dataclass(frozen=True)
class ScoreShard:
    """Pictures to score all explainers on."""

    file: str
    items: tuple[Item, ...]
    last: ClassVar[str] = "scores"

    @property
    def size(self) -> int:
        return len(self.items)

    def compute(self, tools: Bench) -> Generator[Progress, None, Tables]:
        found: Tables = {kind: [] for kind in ("problems", "noticed", "costs", "scores")}
        for at in range(0, self.size, tools.batch):
            for contender in _score(self.items[at : at + tools.batch], tools, found):
                yield Progress(f"scoring {contender}", at, self.size)
        return found


def _score(items: Sequence[Item], tools: Bench, found: Tables) -> Iterator[str]:
    batch: list[LoadedPicture] = []
    targets: list[int] = []
    for item in items:
        try:
            loaded = load(item, tools.classifier)
            ((top,),) = tools.classifier.predict(loaded.prepared.tensor[None], k=1)
        except UserError as error:  # a picture that cannot be read, or on which the model breaks
            found["problems"].append({"image": item.id, "problem": str(error)})
        else:
            batch.append(loaded)
            targets.append(top.index)
    if not batch:
        return
    found["noticed"] += noticed_in(batch)
    images = torch.stack([entry.prepared.tensor for entry in batch])
    seeds = picture_seeds(tools.seed, images)
    masks = _object_masks(batch, tools.yardsticks)
    known = [label_index(tools.classifier, entry.item.label) for entry in batch]
    labels = torch.tensor([-1 if label is None else label for label in known])
    heads = [{"image": e.item.id, "group": e.item.group, "target": t} for e, t in zip(batch, targets)]
    for contender, explainer in tools.contenders.items():
        yield contender
        regions = asked_regions(explainer, batch)
        case = Case.of(
            explainer, images, targets, seeds=seeds, masks=masks, scorer=tools.scorer, regions=regions, labels=labels
        )
        pictures = explainer.visited(images, targets, count=ALIGNED_SAMPLES, seeds=seeds)
        alignment = None if pictures is None else spectrum_distance(case.images, pictures)
        for b, head in enumerate(heads):
            made = case.made[b]
            cost: dict[str, Any] = {
                "seconds": made.seconds,
                "forward_passes": made.forward_passes,
                "backward_passes": made.backward_passes,
                "saturated": made.saturated,
                "alignment": None if alignment is None else float(alignment[b]),
            }
            found["costs"].append({**head, "explainer": contender, **cost})
        for yardstick in tools.yardsticks:
            yield contender  # a slow metric is a step of its own: a caller that shares the device may pause
            values = yardstick.metric.score(case, yardstick.parameters).tolist()
            found["scores"] += [
                {**head, "explainer": contender, "metric": yardstick.label, "value": value}
                for head, value in zip(heads, values)
            ]


def _object_masks(batch: Sequence[LoadedPicture], yardsticks: Sequence[Yardstick]) -> Tensor | None:
    """[B, H, W]: everything that is not context; None where no metric asks."""
    if not masked(yardsticks):
        return None
    masks = []
    for entry in batch:
        if entry.segments is None:
            raise UserError(without_masks(entry.item, masked(yardsticks)))
        masks.append(entry.scene(torch.device("cpu")).object_mask())
    return torch.stack(masks)
