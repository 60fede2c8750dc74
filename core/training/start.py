"""A training of whichever kind, with its results card: what the command line and the page begin."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from core.classifier import Classifier
from core.data import Dataset
from core.learning import MaskingTraining, SalvageTraining
from core.training.card import results_card
from core.training.loop import Training
from core.training.masking import train_masking
from core.training.masking_card import masking_card
from core.training.run import Reading, silent
from core.training.salvage import train_salvage


def started(
    classifier: Classifier,
    data: Dataset,
    options: SalvageTraining | MaskingTraining,
    out: Path | None = None,
    *,
    fresh: bool = False,
    reading: Reading = silent,
    card: bool = True,
    each: Callable[[str], None] = lambda what: None,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Generator[Training, None, Path]:
    """As `core.training.run.trained`, of the kind that the options are for.

    Args:
        card: measure in the end how good it is. each: told what is being measured. around: entered for that time.
    """
    shared: dict[str, Any] = {"fresh": fresh, "reading": reading}

    def salvage(model: Any, surrogate: Classifier, *made: Any) -> dict[str, Any]:
        with around():
            return results_card(model, classifier, surrogate, *made, each)

    def masking(model: Any, *made: Any) -> dict[str, Any]:
        with around():
            return masking_card(model, classifier, *made, each)

    if isinstance(options, MaskingTraining):
        return train_masking(classifier, data, options, out, card=masking if card else None, **shared)
    return train_salvage(classifier, data, options, out, card=salvage if card else None, **shared)
