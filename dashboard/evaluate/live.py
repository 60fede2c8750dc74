"""An evaluation run from the page: the device handed round after every step, stopped when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from core.classifier import Classifier
from core.data import Dataset, Item
from core.errors import UserError
from core.evaluation.evaluate import EvaluationOptions, evaluate, so_far
from dashboard.evaluate.standing import Standing
from dashboard.log import served, told
from dashboard.pictures import Source, item_of
from dashboard.runs import FairLock
from dashboard.temporary import new_folder


@dataclass(frozen=True)
class Step:
    """`text`: what is being done; `standing`: how things stand, where that is new."""

    text: str
    standing: Standing | None = None


@dataclass
class LiveEvaluation:
    """One press of the button."""

    stopped: bool = False

    def stop(self) -> None:
        """End after the step in hand."""
        self.stopped = True

    def stream(
        self, lock: FairLock, data: Dataset, classifier: Classifier, options: EvaluationOptions
    ) -> Iterator[Step]:
        """Yield after every step: one explainer on one batch, or one metric on it.

        Args:
            lock: held for a step, then given back.
            data, classifier, options: as of `core.evaluation.evaluate.evaluate`; a shard should be one batch.

        Raises:
            UserError: as of `evaluate`.
        """
        total, began, visitor, ending = len(data), monotonic(), served(), "stopped"
        told("evaluation begun", visitor=visitor, pictures=total)
        with new_folder("evaluation-") as folder:
            out = Path(folder) / "evaluation"
            steps = evaluate(data, classifier, out, options)
            try:
                while True:
                    with lock.turn(lambda: self.stopped) as mine:
                        step = next(steps, None) if mine else None
                    if step is None:
                        return
                    if step.stage == "finished":
                        ending = "finished"
                        yield Step("Finished", self._standing(data, classifier, out, options, None))
                    elif step.stage == "scoring" and step.done < total:
                        yield Step(
                            f"{step.done} of {total} pictures", self._standing(data, classifier, out, options, total)
                        )
                    else:
                        yield Step(f"{step.done} of {total} pictures, {step.stage}")
            except UserError:
                ending = "refused"
                raise
            finally:
                steps.close()  # ty: ignore[missing-attribute]
                seconds = round(monotonic() - began, 3)
                told("evaluation ended", visitor=visitor, phase=ending, seconds=seconds)

    @staticmethod
    def _standing(
        data: Dataset, classifier: Classifier, out: Path, options: EvaluationOptions, planned: int | None
    ) -> Standing | None:
        found = so_far(data, classifier, out, options)
        return None if found is None else Standing(found, planned)


def dataset_of(sources: Iterable[Source], name: str) -> Dataset:
    """Pictures of the page as a data set."""
    items: dict[str, Item] = {}
    for source in sources:
        title, number = source.name, 2
        while title in items:
            title, number = f"{source.name} ({number})", number + 1
        items[title] = item_of(source, title)
    return Dataset(name, name, tuple(items.values()))
