"""Score explainers over a data set, into a folder that a killed run takes up again.

settings.json      what was asked for
scores/            one Parquet file a shard: image, group, target, explainer, metric, value
costs/             likewise: image, explainer, seconds, forward_passes, backward_passes, saturated, alignment
problems/          pictures that were left out, and why
leaderboard.json   one entry an explainer and metric (see leaderboard.py)
manifest.json      last
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.choice import Choice, distinct
from core.classifier import Classifier
from core.data import Dataset, Item
from core.errors import UserError
from core.evaluation.leaderboard import leaderboard, warnings
from core.evaluation.store import FORMAT, Evaluation, open_evaluation
from core.explainer import BoundExplainer, controls
from core.metrics.metric import Case, Metric, parse_metric
from core.metrics.spectrum import spectrum_distance
from core.parameters import Parameters
from core.paths import user_path
from core.runtime import folders
from core.runtime.progress import Progress
from core.runtime.randomness import picture_seeds
from core.runtime.software import software
from core.sat.batch import Loaded, load

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


@dataclass(frozen=True)
class EvaluationOptions:
    """What to do.

    Attributes:
        contenders: who is compared; all controls run beside them.
        yardsticks: by what.
        scorer: the model that scores masked pictures; None for the classifier itself.
        shard: pictures a Parquet file; batch: pictures explained at once.
    """

    contenders: tuple[Choice, ...]
    yardsticks: tuple[Yardstick, ...]
    seed: int = 0
    scorer: Classifier | None = None
    shard: int = 4
    batch: int = 4

    def __post_init__(self) -> None:
        if not self.contenders or not self.yardsticks:
            raise UserError("An evaluation needs at least one explainer and one metric.")
        distinct(self.contenders)
        distinct(self.yardsticks, "metric")


def evaluate(data: Dataset, classifier: Classifier, out: Path, options: EvaluationOptions) -> Iterator[Progress]:
    """Write an evaluation into `out`, yielding progress; close the iterator to stop, run it again to go on.

    Raises:
        UserError: the data, the options or the folder do not do; an explainer refuses the classifier; a metric needs
            masks and the data has none.
    """
    return _Run(data, classifier, user_path(out), options).stages()


def so_far(data: Dataset, classifier: Classifier, out: Path, options: EvaluationOptions) -> Evaluation | None:
    """What an evaluation that is still being written says by now; None before its first shard. Arguments as there."""
    return _Run(data, classifier, user_path(out), options).result(datetime.now(UTC))


class _Run:
    """One evaluation being written."""

    def __init__(self, data: Dataset, classifier: Classifier, out: Path, options: EvaluationOptions) -> None:
        self.data, self.classifier, self.out, self.options = data, classifier, out, options
        given = {contender.explainer for contender in options.contenders}
        self.contenders = (*options.contenders, *(Choice(name) for name in controls() if name not in given))

    def stages(self) -> Iterator[Progress]:
        self.check()  # before the folder is made, which belongs to these settings once anything is in it
        bound = [contender.bind(self.classifier) for contender in self.contenders]
        if folders.begin(self.out, self.settings(), open_evaluation, "evaluation"):
            yield Progress("finished before", 1, 1)
            return
        started = datetime.now(UTC)
        total, size = len(self.data), self.options.shard
        for start in range(0, total, size):
            items = self.data.items[start : start + size]
            done = self.out / "scores" / f"{start // size:06d}.parquet"
            if not done.is_file():
                shard: dict[str, list[dict[str, Any]]] = {"problems": [], "costs": [], "scores": []}
                for at in range(0, len(items), self.options.batch):
                    for contender in self.score_batch(items[at : at + self.options.batch], bound, shard):
                        yield Progress(f"scoring {contender}", start + at, total)
                folders.write_shard(self.out, done.name, shard)
            yield Progress("scoring", start + len(items), total)
        yield from self.finish(started)

    def check(self) -> None:
        """What can be known before anything is computed."""
        bare = self.data.first_without_masks
        if self.mask_metrics and bare is not None:
            raise UserError(self.without_masks(bare))
        scorer, classifier = self.options.scorer or self.classifier, self.classifier
        if len(scorer.labels) != len(classifier.labels):
            raise UserError(
                f"{scorer.name} has {len(scorer.labels)} classes and {classifier.name} {len(classifier.labels)}; "
                "choose a scorer with the same classes."
            )
        if scorer.input_size != classifier.input_size:
            theirs, ours = ("{} x {}".format(*c.input_size) for c in (scorer, classifier))
            raise UserError(
                f"{scorer.name} takes pictures of {theirs} pixels and {classifier.name} of {ours}; "
                "choose a scorer of the same size."
            )

    def settings(self) -> dict[str, Any]:
        o = self.options
        return {
            "format": FORMAT,
            "data": self.data.source,
            "items": self.data.fingerprint(),
            "fingerprint": self.classifier.fingerprint,
            "scorer": (o.scorer or self.classifier).fingerprint,
            "explainers": [[c.label, c.key] for c in self.contenders],
            "metrics": [[y.label, y.metric.name, y.parameters.to_dict()] for y in o.yardsticks],
            "seed": o.seed,
            "shard": o.shard,
        }

    def score_batch(
        self,
        items: Sequence[Item],
        bound: Sequence[BoundExplainer],
        shard: dict[str, list[dict[str, Any]]],
    ) -> Iterator[str]:
        batch: list[Loaded] = []
        targets: list[int] = []
        for item in items:
            try:
                loaded = load(item, self.classifier)
                ((top,),) = self.classifier.predict(loaded.prepared.tensor[None], k=1)
            except UserError as error:  # a picture that cannot be read, or on which the model breaks
                shard["problems"].append({"image": item.id, "problem": str(error)})
            else:
                batch.append(loaded)
                targets.append(top.index)
        if not batch:
            return
        images = torch.stack([entry.prepared.tensor for entry in batch])
        seeds = picture_seeds(self.options.seed, images)
        masks = self.object_masks(batch)
        heads = [{"image": e.item.id, "group": e.item.group, "target": t} for e, t in zip(batch, targets)]
        for contender, explainer in zip(self.contenders, bound):
            yield contender.label
            case = Case.of(explainer, images, targets, seeds=seeds, masks=masks, scorer=self.options.scorer)
            pictures = explainer.visited(images, targets, count=ALIGNED_SAMPLES, seeds=seeds)
            alignment = None if pictures is None else spectrum_distance(case.images, pictures)
            for b, head in enumerate(heads):
                made = case.made[b]
                cost = {
                    "seconds": made.seconds,
                    "forward_passes": made.forward_passes,
                    "backward_passes": made.backward_passes,
                    "saturated": made.saturated,
                    "alignment": None if alignment is None else float(alignment[b]),
                }
                shard["costs"].append({**head, "explainer": contender.label, **cost})
            for yardstick in self.options.yardsticks:
                yield contender.label  # a slow metric is a step of its own: a caller that shares the device may pause
                values = yardstick.metric.score(case, yardstick.parameters).tolist()
                shard["scores"] += [
                    {**head, "explainer": contender.label, "metric": yardstick.label, "value": value}
                    for head, value in zip(heads, values)
                ]

    def object_masks(self, batch: Sequence[Loaded]) -> Tensor | None:
        """[B, H, W]: everything that is not context; None where some picture has no mask and no metric asks."""
        if not self.mask_metrics:
            return None
        masks = []
        for entry in batch:
            if entry.segments is None:
                raise UserError(self.without_masks(entry.item))
            masks.append(entry.scene(torch.device("cpu")).object_mask())
        return torch.stack(masks)

    @property
    def mask_metrics(self) -> tuple[str, ...]:
        return tuple(y.label for y in self.options.yardsticks if y.metric.needs_mask)

    def without_masks(self, item: Item) -> str:
        needs = "needs" if len(self.mask_metrics) == 1 else "need"
        return f"{item.id} has no masks, which {', '.join(self.mask_metrics)} {needs}; give masks or leave it out."

    def finish(self, started: datetime) -> Iterator[Progress]:
        found = self.result(started)
        if found is None:
            problems = folders.read_shards(self.out / "problems")
            first = f" ({problems['problem'].iloc[0]})" if len(problems) else ""
            folders.abandon(self.out)
            raise UserError(f"No picture of {self.data.name} could be scored{first}.")
        folders.write_json(self.out / "leaderboard.json", found.leaderboard)
        folders.write_json(self.out / "manifest.json", found.manifest)
        yield Progress("finished", 1, 1)

    def result(self, started: datetime) -> Evaluation | None:
        """What the shards say that are there; None if nothing yet."""
        scores, costs = folders.read_shards(self.out / "scores"), folders.read_shards(self.out / "costs")
        problems = folders.read_shards(self.out / "problems")
        if scores.empty:
            return None
        yardsticks = {y.label: y.metric for y in self.options.yardsticks}
        higher = {label: metric.higher_is_better for label, metric in yardsticks.items()}
        never_look = [c.label for c in self.contenders if c.explainer in controls()]
        board = leaderboard(scores, costs, higher, never_look, self.options.seed)
        scorer = self.options.scorer or self.classifier
        manifest = {
            "format": FORMAT,
            "model": self.classifier.name,
            "fingerprint": self.classifier.fingerprint,
            "scorer": scorer.name,
            "data": self.data.name,
            "pictures": int(scores["image"].nunique()),
            "explainers": [
                {**c.record(), "title": c.method.title, "control": c.label in never_look}
                for c in self.contenders
            ],
            "metrics": [
                {"label": label, "name": m.name, "title": m.title, "summary": m.summary, "family": m.family,
                 "higher_is_better": m.higher_is_better, "reference": m.reference}
                for label, m in yardsticks.items()
            ],
            "warnings": warnings(board, self.mask_metrics),
            "problems": problems.head(100).to_dict("records"),
            "problem_count": len(problems),
            "seed": self.options.seed,
            "created": started.isoformat(timespec="seconds"),
            "seconds": (datetime.now(UTC) - started).total_seconds(),
            "versions": software(),
            "device": str(self.classifier.device),
        }  # fmt: skip
        return Evaluation(self.out, manifest, board)
