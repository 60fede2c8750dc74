"""A report, an evaluation: one call each that runs to the end, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from core.choice import Choice, default_choices, reported_choices
from core.classifier import Classifier
from core.data import Dataset, open_dataset
from core.errors import UserError
from core.evaluation.evaluate import EvaluationOptions, Yardstick
from core.evaluation.evaluate import evaluate as run_evaluation
from core.evaluation.saved_evaluation import Evaluation, open_evaluation
from core.loading import load_classifier
from core.metrics.metric import usual_metrics
from core.paths import user_path
from core.runtime.progress import Progress
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import Report, open_report

Told = Callable[[Progress], object]


def report(
    data: Dataset | str | Path,
    model: Classifier | str,
    out: str | Path,
    *,
    explainers: Sequence[Choice | str] = (),
    segments: str | Path | None = None,
    context: Sequence[str] = (),
    check: bool = True,
    limit: int | None = None,
    seed: int = 0,
    delta: float | None = None,
    progress: Told | None = None,
) -> Report:
    """Report over a data set which named segments the model leans on. Called again, it goes on where it was stopped.

    Args:
        data: opened, or what `open_dataset` takes.
        model: loaded, or a spec as of `load_classifier`.
        out: folder for the report.
        explainers: choices, or texts such as "suppression:samples=64"; the first one leads. None for those that are
            usual in reports.
        segments, limit: as of `open_dataset`, for data that is not opened yet.
        context: names of segments that are context, so that relying on them is a shortcut.
        check: test every segment by removing and transplanting it.
        seed: same seed, same report.
        delta: smallest effect on the log-odds that matters; None for the usual one.
        progress: called after each step.

    Raises:
        UserError: the data, the model or the folder do not do.
    """
    chosen = _chosen(explainers)
    opened, classifier, out = _opened(data, segments, limit, out), _loaded(model), user_path(out)
    options = ReportOptions(
        explainers=tuple(chosen or reported_choices(classifier)),
        check=check,
        seed=seed,
        delta=delta,
        context=tuple(context),
    )
    _to_the_end(build_report(opened, classifier, out, options), progress)
    return open_report(out)


def evaluate(
    data: Dataset | str | Path,
    model: Classifier | str,
    out: str | Path,
    *,
    explainers: Sequence[Choice | str] = (),
    metrics: Sequence[str] = (),
    segments: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    scorer: Classifier | str | None = None,
    progress: Told | None = None,
) -> Evaluation:
    """Compare explainers over a data set by metrics, beside controls that never look at the model.

    Args:
        data, model, out, segments, limit, seed, progress: as of `report`.
        explainers: likewise; none for those that are shown where nobody has chosen.
        metrics: texts such as "insertion:fill=blur"; none for the usual ones.
        scorer: another model of the same classes that scores masked pictures; None for the model itself.

    Raises:
        UserError: the data, the model, the folder or what was chosen do not do.
    """
    contenders = _chosen(explainers)
    yardsticks = [Yardstick.parse(text) for text in metrics]
    opened, classifier, out = _opened(data, segments, limit, out), _loaded(model), user_path(out)
    masked = opened.first_without_masks is None
    yardsticks = yardsticks or [Yardstick.parse(metric.name) for metric in usual_metrics(masked)]
    options = EvaluationOptions(
        contenders=tuple(contenders or default_choices(classifier)),
        yardsticks=tuple(yardsticks),
        seed=seed,
        scorer=None if scorer is None else _loaded(scorer),
    )
    _to_the_end(run_evaluation(opened, classifier, out, options), progress)
    return open_evaluation(out)


def _opened(data: Dataset | str | Path, segments: str | Path | None, limit: int | None, out: str | Path) -> Dataset:
    if not isinstance(data, Dataset):
        return open_dataset(data, segments=segments, limit=limit, results=[out])
    if segments is not None or limit is not None:
        raise UserError("The data set is opened already; give segments and limit to open_dataset instead.")
    return data


def _chosen(explainers: Sequence[Choice | str]) -> list[Choice]:
    return [one if isinstance(one, Choice) else Choice.parse(one) for one in explainers]


def _loaded(model: Classifier | str) -> Classifier:
    return model if isinstance(model, Classifier) else load_classifier(model)


def _to_the_end(work: Iterable[Progress], progress: Told | None) -> None:
    for step in work:
        if progress is not None:
            progress(step)
