"""Segmenters that name what they find. Importing this puts them on the list."""

from core.segments.named import semantic

__all__ = ["semantic"]
