"""Satchel shows what an image classifier looks at, by name, and tests it by taking it away.

    import satchel

    classifier = satchel.load_classifier("torchvision:mobilenet_v2")
    explanation = satchel.explain(classifier, "photo.jpg", "suppression", parameters={"samples": 64})
    explanation.overlay().save("overlay.png")
    satchel.report("my_pictures", classifier, "report", segments="my_masks", context=["background"])

Each name is imported when it is first used, so that importing this costs next to nothing.
(This file is `core/satchel.py` in the source and `satchel/__init__.py` where Satchel is installed.)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.attribution import Attribution
    from core.calls import evaluate, report
    from core.choice import Choice
    from core.classifier import Classifier
    from core.data import open_dataset
    from core.errors import UserError
    from core.evaluation.saved_evaluation import open_evaluation
    from core.explain import explain
    from core.explainer import explainers
    from core.explainer import register as register_explainer
    from core.explanation import Explanation
    from core.loading import load_classifier
    from core.metrics.metric import metrics
    from core.metrics.metric import register as register_metric
    from core.sat.saved_report import open_report
    from core.segments import Segments
    from core.segments.files import open_segments
    from core.segments.registry import register as register_segmenter
    from core.segments.registry import segmenters

    __version__: str

__all__ = [
    "Attribution",
    "Choice",
    "Classifier",
    "Explanation",
    "Segments",
    "UserError",
    "__version__",
    "evaluate",
    "explain",
    "explainers",
    "load_classifier",
    "metrics",
    "open_dataset",
    "open_evaluation",
    "open_report",
    "open_segments",
    "register_explainer",
    "register_metric",
    "register_segmenter",
    "report",
    "segmenters",
]

# name -> where it stands: "module", or "module:name" where it has another name there
_PLACES = {
    "Attribution": "core.attribution",
    "Choice": "core.choice",
    "Classifier": "core.classifier",
    "Explanation": "core.explanation",
    "Segments": "core.segments",
    "UserError": "core.errors",
    "evaluate": "core.calls",
    "explain": "core.explain",
    "explainers": "core.explainer",
    "load_classifier": "core.loading",
    "metrics": "core.metrics.metric",
    "open_dataset": "core.data",
    "open_evaluation": "core.evaluation.saved_evaluation",
    "open_report": "core.sat.saved_report",
    "open_segments": "core.segments.files",
    "register_explainer": "core.explainer:register",
    "register_metric": "core.metrics.metric:register",
    "register_segmenter": "core.segments.registry:register",
    "report": "core.calls",
    "segmenters": "core.segments.registry",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("satchel")
    elif name in _PLACES:
        module, _, own = _PLACES[name].partition(":")
        found = getattr(import_module(module), own or name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
