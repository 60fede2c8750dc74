"""Score explainers over a data set, into a folder that a killed run takes up again.

settings.json      what was asked for
scores/            one Parquet file a shard: image, group, target, explainer, metric, value
costs/             likewise: image, explainer, seconds, forward_passes, backward_passes, saturated, alignment
problems/          pictures that were left out, and why
noticed/           what was noticed about pictures and masks
leaderboard.json   one entry an explainer and metric (see leaderboard.py)
manifest.json      last
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.choice import Choice, distinct, tied_by_label
from core.classifier import Classifier
from core.data import Dataset
from core.errors import UserError
from core.evaluation.leaderboard import leaderboard, warnings
from core.evaluation.saved_evaluation import FORMAT, Evaluation, open_evaluation
from core.evaluation.shards import Bench, BenchMaker, ScoreShard, Yardstick, masked, without_masks
from core.explainer import controls
from core.paths import user_path
from core.runtime import folders
from core.runtime.progress import Progress
from core.runtime.software import software
from core.sat.noticed import noticed
from core.work.shards import MakeEngine, Recipe, parts, working


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


def evaluate(
    data: Dataset, classifier: Classifier, out: Path, options: EvaluationOptions, engine: MakeEngine | None = None
) -> Iterator[Progress]:
    """Write an evaluation into `out`, yielding progress; close the iterator to stop, run it again to go on.

    Args:
        engine: what computes the shards (`core.work.engines`); None for this process.

    Raises:
        UserError: the data, the options or the folder do not do; an explainer refuses the classifier; a metric needs
            masks and the data has none.
    """
    return _EvaluationRun(data, classifier, user_path(out), options, engine).stages()


def so_far(data: Dataset, classifier: Classifier, out: Path, options: EvaluationOptions) -> Evaluation | None:
    """What an evaluation that is still being written says by now; None before its first shard. Arguments as there."""
    return _EvaluationRun(data, classifier, user_path(out), options).result(datetime.now(UTC))


class _EvaluationRun:
    """One evaluation being written."""

    def __init__(
        self,
        data: Dataset,
        classifier: Classifier,
        out: Path,
        options: EvaluationOptions,
        engine: MakeEngine | None = None,
    ) -> None:
        self.data, self.classifier, self.out, self.options, self.make_engine = data, classifier, out, options, engine
        given = {contender.explainer for contender in options.contenders}
        chosen = (contender.found(classifier) for contender in options.contenders)
        self.contenders = (*chosen, *(Choice(name) for name in controls() if name not in given))

    def stages(self) -> Iterator[Progress]:
        self.check()  # before the folder is made, which belongs to these settings once anything is in it
        o = self.options
        given = (o.yardsticks, o.seed, o.batch)
        bench = Bench(self.classifier, o.scorer, tied_by_label(self.contenders, self.classifier), *given)
        if folders.begin(self.out, self.settings(), open_evaluation, "evaluation"):
            yield Progress("finished before", 1, 1)
            return
        started = datetime.now(UTC)

        def maker() -> BenchMaker:
            scorer = None if o.scorer is None else Recipe.of(o.scorer)
            return BenchMaker(Recipe.of(self.classifier), scorer, self.contenders, *given)

        with working(self.make_engine, bench, maker, self.out) as engine:
            yield from engine.run("scoring", [ScoreShard(*part) for part in parts(self.data.items, o.shard)])
        yield from self.finish(started)

    def check(self) -> None:
        """What can be known before anything is computed."""
        bare = self.data.first_without_masks
        users = masked(self.options.yardsticks, self.contenders)
        if users and bare is not None:
            raise UserError(without_masks(bare, users))
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
            "warnings": warnings(board, masked(self.options.yardsticks)),
            "problems": problems.head(100).to_dict("records"),
            "problem_count": len(problems),
            "noticed": noticed(
                self.classifier.notes, self.data, folders.read_shards(self.out / "noticed").to_dict("records"), None
            ),
            "seed": self.options.seed,
            "created": started.isoformat(timespec="seconds"),
            "seconds": (datetime.now(UTC) - started).total_seconds(),
            "versions": software(),
            "device": str(self.classifier.device),
        }  # fmt: skip
        return Evaluation(self.out, manifest, board)
