"""Satchel's own segmenters. Importing this puts them on the list."""

from core.segments.segmenters import clipseg, grounding_dino, sam3, semantic, unnamed

__all__ = ["clipseg", "grounding_dino", "sam3", "semantic", "unnamed"]
