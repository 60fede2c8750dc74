"""What explainers share that cannot explain before they were trained."""

from __future__ import annotations

from core.classifier import Classifier
from core.explainer import Explainer
from core.explainers.learned.files import trained_for


class TrainedExplainer(Explainer):
    """One that needs the weights of a file, which is found by the classifier's fingerprint or named."""

    family = "learned"
    needs_weights = True

    def supports(self, classifier: Classifier) -> str | None:
        if trained_for(self.name, classifier):
            return None
        return (
            f"No {self.title} explainer is trained for {classifier.name} yet; train one (satchel train {self.name}), "
            f"or name a file of one ({self.name}@FILE)."
        )
