"""Segmenters that name what they find. Importing this puts them on the list."""

from core.segments.named import clipseg, grounding_dino, sam3, semantic

__all__ = ["clipseg", "grounding_dino", "sam3", "semantic"]
