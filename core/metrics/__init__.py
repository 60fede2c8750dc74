"""Ways to judge explainers. One module a question; importing this package registers every metric."""

from core.metrics import certainty, complexity, faithfulness, localisation, perturbation, sanity

__all__ = ["certainty", "complexity", "faithfulness", "localisation", "perturbation", "sanity"]
