"""Score explainers over a data set, into a folder that a killed run takes up again.

settings.json      what was asked for
scores/            one Parquet file a shard: image, group, target, explainer, metric, value
costs/             likewise: image, explainer, seconds, forward_passes, backward_passes, saturated, alignment
problems/          pictures that were left out, and why
leaderboard.json   one entry an explainer and metric (see leaderboard.py)
manifest.json      last
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.classifier import Classifier
from core.data import Dataset, Item
from core.errors import UserError
from core.evaluation.leaderboard import leaderboard, warnings
from core.evaluation.store import FORMAT, Evaluation, open_evaluation
from core.explain import parse_explainer
from core.explainer import BoundExplainer, Explainer, get_explainer
from core.metrics.metric import Case, Metric, parse_metric
from core.metrics.spectrum import spectrum_distance
from core.parameters import Parameters
from core.paths import user_path
from core.runtime import folders
from core.runtime.progress import Progress
from core.runtime.randomness import derived_seed
from core.sat.batch import Loaded, asked_regions, load

CONTROLS = ("random", "edges", "centre")
REFERENCES = 16  # other pictures that expected gradients compare with
ALIGNED_SAMPLES = 8  # samples a picture whose spectrum is looked at


@dataclass(frozen=True)
class Contender:
    """An explainer with its parameters; `label` tells two settings of one explainer apart."""

    label: str
    explainer: Explainer
    parameters: Parameters

    @classmethod
    def parse(cls, text: str) -> Contender:
        """From the text of an option, such as "suppression:samples=64", which becomes the label; errors as there."""
        return cls(text, *parse_explainer(text))


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
        contenders: who is compared; the controls always run beside them.
        yardsticks: by what.
        scorer: the model that scores masked pictures; None for the classifier itself.
        shard: pictures a Parquet file; batch: pictures explained at once.
    """

    contenders: tuple[Contender, ...]
    yardsticks: tuple[Yardstick, ...]
    seed: int = 0
    scorer: Classifier | None = None
    shard: int = 4
    batch: int = 4

    def __post_init__(self) -> None:
        if not self.contenders or not self.yardsticks:
            raise UserError("An evaluation needs at least one explainer and one metric.")
        for entries in (self.contenders, self.yardsticks):
            labels = [entry.label for entry in entries]
            twice = next((label for label in labels if labels.count(label) > 1), None)
            if twice is not None:
                raise UserError(f"{twice} is named twice; name each once, or give it other parameters.")


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
        given = {contender.explainer.name for contender in options.contenders}
        controls = [get_explainer(name) for name in CONTROLS if name not in given]
        self.contenders = (*options.contenders, *(Contender(c.name, c, c.parameters()) for c in controls))

    def stages(self) -> Iterator[Progress]:
        self.check()  # before the folder is made, which belongs to these settings once anything is in it
        bound = [contender.explainer.bind(self.classifier) for contender in self.contenders]
        if folders.begin(self.out, self.settings(), open_evaluation, "evaluation"):
            yield Progress("finished before", 1, 1)
            return
        started = datetime.now(UTC)
        others = self.others()
        total, size = len(self.data), self.options.shard
        for start in range(0, total, size):
            items = self.data.items[start : start + size]
            done = self.out / "scores" / f"{start // size:06d}.parquet"
            if not done.is_file():
                shard: dict[str, list[dict[str, Any]]] = {"problems": [], "costs": [], "scores": []}
                references = self.references(others, items)
                for at in range(0, len(items), self.options.batch):
                    for contender in self.score_batch(items[at : at + self.options.batch], bound, references, shard):
                        yield Progress(f"scoring {contender}", start + at, total)
                folders.write_shard(self.out, done.name, shard)
            yield Progress("scoring", start + len(items), total)
        yield from self.finish(started)

    def check(self) -> None:
        """What can be known before anything is computed."""
        for contender in self.contenders:
            contender.explainer.check(contender.parameters)
        bare = self.data.first_without_masks
        if self.mask_users and bare is not None:
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
            "explainers": [[c.label, c.explainer.name, c.parameters.to_dict()] for c in self.contenders],
            "metrics": [[y.label, y.metric.name, y.parameters.to_dict()] for y in o.yardsticks],
            "seed": o.seed,
            "shard": o.shard,
        }

    def others(self) -> dict[str, Tensor]:
        """Pictures of the data set by id, drawn once: enough for every shard to have REFERENCES besides its own."""
        ranked = sorted(self.data.items, key=lambda item: derived_seed(self.options.seed, item.id, "reference"))
        found: dict[str, Tensor] = {}
        problem = ""
        for item in ranked:
            if len(found) == REFERENCES + self.options.shard:
                break
            try:
                found[item.id] = self.classifier.prepare(item.picture()).tensor
            except UserError as error:  # said when its turn comes
                problem = problem or f"{item.id}: {str(error).rstrip('.')}"
        if not found:
            raise UserError(f"No picture of {self.data.name} could be read ({problem}).")
        return found

    def references(self, others: dict[str, Tensor], items: Sequence[Item]) -> Tensor | None:
        """[R, 3, H, W]: pictures that a shard's own are compared with; None where there are no others."""
        own = {item.id for item in items}
        left = [picture for name, picture in others.items() if name not in own][:REFERENCES]
        return torch.stack(left) if left else None

    def score_batch(
        self,
        items: Sequence[Item],
        bound: Sequence[BoundExplainer],
        references: Tensor | None,
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
        seeds = tuple(derived_seed(self.options.seed, entry.item.id) for entry in batch)
        masks = self.object_masks(batch)
        heads = [{"image": e.item.id, "group": e.item.group, "target": t} for e, t in zip(batch, targets)]
        for contender, explainer in zip(self.contenders, bound):
            yield contender.label
            case = Case.of(
                explainer, images, targets, contender.parameters,
                seeds=seeds, masks=masks, scorer=self.options.scorer, references=references,
                regions=asked_regions(explainer, contender.parameters, batch),
            )  # fmt: skip
            pictures = explainer.visited(
                images, targets, contender.parameters, ALIGNED_SAMPLES, seeds=seeds, references=references
            )
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

    @property
    def mask_users(self) -> tuple[str, ...]:
        """Metrics that need masks, and explainers that are asked to remove them."""
        asked = (c.label for c in self.contenders if c.explainer.wants_regions(c.parameters))
        return (*self.mask_metrics, *asked)

    def without_masks(self, item: Item) -> str:
        needs = "needs" if len(self.mask_users) == 1 else "need"
        return f"{item.id} has no masks, which {', '.join(self.mask_users)} {needs}; give masks or leave it out."

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
        controls = [c.label for c in self.contenders if c.explainer.name in CONTROLS]
        board = leaderboard(scores, costs, higher, controls, self.options.seed)
        scorer = self.options.scorer or self.classifier
        manifest = {
            "format": FORMAT,
            "model": self.classifier.name,
            "fingerprint": self.classifier.fingerprint,
            "scorer": scorer.name,
            "data": self.data.name,
            "pictures": int(scores["image"].nunique()),
            "explainers": [
                {"label": c.label, "name": c.explainer.name, "title": c.explainer.title,
                 "control": c.explainer.name in CONTROLS, "parameters": c.parameters.to_dict()}
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
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "device": str(self.classifier.device),
        }  # fmt: skip
        return Evaluation(self.out, manifest, board)
