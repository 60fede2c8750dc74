"""One module a family. Importing this package registers every explainer."""

from core.explainers import attention, cam, controls, games, gradients, learned, mask_optimisation, relevance, removal

__all__ = ["attention", "cam", "controls", "games", "gradients", "learned", "mask_optimisation", "relevance", "removal"]
