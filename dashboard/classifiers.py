"""The classifiers that are loaded, shared by all visitors."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from core.choice import Choice, Trained
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import BoundExplainer
from core.runtime.progress import OnProgress
from core.runtime.recent import Recent
from dashboard.allowed import Allowed
from dashboard.loads import Loads
from dashboard.log import timed
from dashboard.machine import usual_model_bytes
from dashboard.project.own_models import OWN, OwnModels
from dashboard.subject import short


@dataclass
class LoadedClassifier:
    """A classifier and the explainers that are tied to it so far."""

    spec: str
    classifier: Classifier
    _bound: dict[tuple[str, Trained | None], BoundExplainer] = field(default_factory=dict)

    @cached_property
    def bytes(self) -> int:
        """What its parameters and buffers take."""
        module = self.classifier.module
        held = {tensor.data_ptr(): tensor for tensor in (*module.parameters(), *module.buffers())}  # some share theirs
        return sum(tensor.numel() * tensor.element_size() for tensor in held.values())

    def bind(self, choice: Choice) -> BoundExplainer:
        """An explainer is tied once, then remembered (finding a target layer costs passes)."""
        known = (choice.explainer, choice.weights)
        if known not in self._bound:
            self._bound[known] = choice.bind(self.classifier)
        return choice.tied(self._bound[known])


class Classifiers:
    """Loads by spec, keeps those used last as far as a budget of memory goes.

    One that is forgotten goes from memory when nothing works with it any more: a run, a report or a training in hand
    has its own hold on it.
    """

    def __init__(
        self,
        start: str = "demo:biased",
        labels: Path | None = None,
        stated: Mapping[str, Any] | None = None,
        allowed: Allowed | None = None,
        own: OwnModels | None = None,
        memory: int | None = None,
    ) -> None:
        """
        Args:
            start: the spec given on the command line, which alone may be a Python factory.
            labels: label file for the start spec.
            stated: what else the command line says of the start spec: `output`, `preprocessing` of `load_classifier`.
            allowed: what other specs may name; without it only what comes with Satchel.
            own: those that people brought; without it none is known.
            memory: bytes that the parameters and buffers of all that is kept may have together; the one used last is
                kept whatever it has. None for a part of the machine's.
        """
        self.start, self.labels = start, labels
        self._stated: dict[str, Any] = {"labels": labels, **(stated or {})}
        self.allowed, self.own = allowed or Allowed(), own
        self._kept: Recent[str, LoadedClassifier] = Recent(
            usual_model_bytes() if memory is None else max(1, memory), lambda loaded: loaded.bytes
        )
        self._loads: Loads[str, LoadedClassifier] = Loads()

    def get(self, spec: str, progress: OnProgress | None = None) -> LoadedClassifier:
        """Load a classifier, or find it.

        Raises:
            UserError: the spec or its file does not fit, it may not be loaded from the page, it takes too long, or too
                much is being loaded already.
        """
        spec = (spec or "").strip()
        if not spec:
            raise UserError("No model was named; choose one or type a spec such as torchvision:mobilenet_v2.")
        found = self._kept.get(spec)
        if found is not None:
            return found
        return self._loads.get(spec, spec, lambda told: self._kept.get(spec) or self._loaded(spec, told), progress)

    def _loaded(self, spec: str, progress: OnProgress) -> LoadedClassifier:
        with timed("model", "loaded", model=short(spec)) as about:
            found = self.add(spec, self._load(spec, progress))
            about["megabytes"] = round(found.bytes / 2**20, 1)
            return found

    def title(self, spec: str) -> str:
        """What to call a model before people."""
        if spec.startswith(OWN) and self.own is not None:
            with suppress(UserError):
                return self.own.get(spec).title
        return short(spec)

    def add(self, spec: str, classifier: Classifier) -> LoadedClassifier:
        """Put a classifier there that is loaded already."""
        return self._kept.put(spec, LoadedClassifier(spec, classifier))

    def __len__(self) -> int:
        return len(self._kept)

    def choices(self) -> list[tuple[str, str]]:
        """(title, spec) to choose from: what is at hand first, then what is fetched at first use."""
        from core.loading import known_models
        from core.loading.timm_models import COMMON

        known = known_models()
        ready = [(f"{m['spec']}  ({m['title']})", m["spec"]) for m in known if m["needs"] == "nothing"]
        fetched = [
            (m["spec"], m["spec"]) for m in known if m["spec"].startswith("torchvision:") and "@" not in m["spec"]
        ]
        fetched += [(f"timm:{name}", f"timm:{name}") for name in COMMON]
        own = list(self.own.choices()) if self.own is not None else []
        start = [] if self.start in [spec for _, spec in (*ready, *fetched)] else [(self.start, self.start)]
        return [*start, *own, *ready, *fetched]

    def _load(self, spec: str, progress: OnProgress | None) -> Classifier:
        from core.loading import load_classifier
        from core.loading.specs import added_sources

        if spec.startswith(OWN) and self.own is not None:
            return self.own.load(spec, progress)
        own = spec == self.start
        if spec.startswith("python:") and not own:
            raise UserError("A Python factory runs code, so it can be given on the command line only.")
        if not own and spec.partition(":")[0] in added_sources():  # nobody knows what its code takes for a name
            raise UserError("A model of another package can be given on the command line only.")
        if not own:
            self.allowed.check_spec(spec)
        return load_classifier(spec, progress=progress, allow_python=own, **(self._stated if own else {}))
