"""Whether plain scikit-learn pipelines name masks as well as `core.segments.naming.namer`: same masks, same draws.

    uv run python benchmarks/naming_plain.py [birds] [wbc] [--draws 60] [--pictures 200]

Data, draws and figures are those of `naming.py` beside this, true masks without encoder features. A pipeline's
confidence is its highest probability. "names compete" adds the namer's own competition within a picture to a
pipeline's probabilities; "self-trained" is scikit-learn's own, on the same masks without names. Results go to
benchmarks/results/naming-plain.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from naming import LEFT_OUT, Table, draws, measured, summary
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from core.segments.naming.namer import BELIEVED, ROUNDS, UNSURE, Beliefs, Described, Namer, _compete, _Habits

RESULT = Path(__file__).resolve().parent / "results" / "naming-plain.json"
Way = Callable[[Described, Described], Beliefs]


def scaled(model: Any) -> Any:
    return make_pipeline(StandardScaler(), model)


def logistic(strength: float = 1.0) -> Any:
    return scaled(LogisticRegression(C=strength, max_iter=3000))


def shrunk() -> Any:
    """Ledoit and Wolf's covariance."""
    return scaled(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))


def calibrated(model: Callable[[], Any], examples: Described) -> Any:
    """Its temperature from leaving out each example picture; as it is where a name would be left out with it."""
    names, pictures = np.array(examples.names), np.array(examples.pictures)
    splits = [(np.flatnonzero(pictures != one), np.flatnonzero(pictures == one)) for one in np.unique(pictures)]
    if any(set(names[rest]) != set(names) for rest, _ in splits):
        return model()
    return CalibratedClassifierCV(model(), method="temperature", cv=splits, ensemble=False)


def plain(model: Callable[[], Any], *, calibrate: bool = False, taught: bool = False, compete: bool = False) -> Way:
    def name(examples: Described, held: Described) -> Beliefs:
        fitted = calibrated(model, examples) if calibrate else model()
        rows, names = examples.rows, np.array(examples.names)
        if taught:
            known = np.unique(names)
            fitted = SelfTrainingClassifier(fitted, threshold=BELIEVED, max_iter=ROUNDS)
            rows = np.concatenate([rows, held.rows])
            names = np.concatenate([np.searchsorted(known, names), np.full(len(held.rows), -1)])
            fitted.fit(rows, names)
            found, each = known, fitted.predict_proba(held.rows)
        else:
            fitted.fit(rows, names)
            found, each = fitted.classes_, fitted.predict_proba(held.rows)
        if compete:
            labels = np.searchsorted(found, np.array(examples.names))
            habits = _Habits.of(labels, np.array(examples.pictures), len(found))
            groups = np.unique(np.array(held.pictures), return_inverse=True)[1]
            each = _compete(np.log(each + 1e-12), np.ones(len(each)), habits, groups)
        return Beliefs(tuple(map(str, found)), each, np.zeros(len(each)))

    return name


def used(examples: Described, held: Described) -> Beliefs:
    return Namer(examples, held).beliefs(held.rows, held.pictures)


WAYS: dict[str, Way] = {
    "logistic regression, C 0.1": plain(lambda: logistic(0.1)),
    "logistic regression, C 1": plain(logistic),
    "logistic regression, C 10": plain(lambda: logistic(10.0)),
    "logistic regression, calibrated": plain(logistic, calibrate=True),
    "logistic regression, self-trained": plain(logistic, taught=True),
    "logistic regression, calibrated, names compete": plain(logistic, calibrate=True, compete=True),
    "logistic regression, self-trained, names compete": plain(logistic, taught=True, compete=True),
    "discriminant, Ledoit-Wolf": plain(shrunk),
    "discriminant, Ledoit-Wolf, calibrated": plain(shrunk, calibrate=True),
    "discriminant, Ledoit-Wolf, self-trained": plain(shrunk, taught=True),
    "discriminant, Ledoit-Wolf, self-trained, names compete": plain(shrunk, taught=True, compete=True),
    "what is used": used,
}


def measure(name: str, true: Table, named: int, options: argparse.Namespace) -> dict[str, Any]:
    chosen = list(draws(true, named, options.pictures, options.draws))
    result: dict[str, Any] = {"named_pictures": named, "held_out_pictures": len(chosen[0][1]), "draws": len(chosen)}
    result["ways"] = {}
    for title, way in WAYS.items():
        result["ways"][title] = {**worth(true, chosen, way), "names_left_out": left_out(name, true, chosen, way)}
        print(f"{name}, {title}:", json.dumps(result["ways"][title]), flush=True)
    return result


def _asked(true: Table, shown: Sequence[int], rest: Sequence[int], without: Sequence[str] = ()) -> Any:
    examples, held = true.of(shown, False, without), true.of(rest, False)
    return examples, held, replace(held, names=("",) * len(held.names))


def worth(true: Table, chosen: Sequence, way: Way) -> dict[str, Any]:
    accuracy, unsure, wrong_and_sure, milliseconds, said, good = [], [], [], [], [], []
    for shown, rest in chosen:
        examples, held, nameless = _asked(true, shown, rest)
        began = process_time()
        beliefs = way(examples, nameless)
        milliseconds.append(1000 * (process_time() - began))
        right = np.array(beliefs.best) == np.array(held.names)
        accuracy.append(right[np.isin(held.names, examples.names)].mean())
        sure = beliefs.confidence >= UNSURE
        unsure.append((~sure).mean())
        wrong_and_sure.append((sure & ~right).mean())
        said.append(beliefs.confidence)
        good.append(right)
    confidence, right = np.concatenate(said), np.concatenate(good)
    tenth = np.minimum((confidence * 10).astype(int), 9)
    gaps = [abs(confidence[tenth == t].sum() - right[tenth == t].sum()) for t in range(10)]
    return {
        "accuracy": summary(accuracy),
        "unsure": summary(unsure),
        "named_wrongly": summary(wrong_and_sure),
        "calibration_error": round(float(np.sum(gaps) / len(right)), 4),
        "cpu_ms": round(median(milliseconds), 1),
    }


def left_out(name: str, true: Table, chosen: Sequence, way: Way) -> dict[str, Any]:
    """Means over draws and the names that no example has, in turn."""
    unknown, known, area = [], [], []
    for without in LEFT_OUT[name]:
        for shown, rest in chosen:
            examples, held, nameless = _asked(true, shown, rest, without)
            if len(set(examples.names)) < 2:  # no pipeline tells one name apart
                continue
            confidence = way(examples, nameless).confidence
            new = ~np.isin(held.names, examples.names)
            unknown.append((confidence[new] < UNSURE).mean())
            known.append((confidence[~new] < UNSURE).mean())
            area.append((confidence[~new][:, None] > confidence[new]).mean())
    return {
        "unsure_of_unknown": summary(unknown),
        "unsure_of_known": summary(known),
        "known_ranked_above_unknown": summary(area),
    }


def main() -> None:
    measured(
        "How well plain pipelines name masks.",
        RESULT,
        lambda part, tables, named, options: measure(part, tables["true"], named, options),
    )


if __name__ == "__main__":
    main()
