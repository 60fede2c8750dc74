"""Ways to judge explainers. One module a question; importing this package registers every metric."""

from core.metrics import boxes, certainty, complexity, faithfulness, localisation, perturbation, sanity

__all__ = ["boxes", "certainty", "complexity", "faithfulness", "localisation", "perturbation", "sanity"]
