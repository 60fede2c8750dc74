"""One module a family. Importing this package registers every explainer."""

from core.explainers import attention, cam, controls, gradients, relevance, removal

__all__ = ["attention", "cam", "controls", "gradients", "relevance", "removal"]
