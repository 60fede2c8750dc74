"""One module a family. Importing this package registers every explainer."""

from core.explainers import cam, controls, gradients, removal

__all__ = ["cam", "controls", "gradients", "removal"]
