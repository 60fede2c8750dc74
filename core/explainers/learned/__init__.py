"""Explainers that are trained beside a classifier. Importing this package registers them."""

from core.explainers.learned import masking, salvage, single

__all__ = ["masking", "salvage", "single"]
