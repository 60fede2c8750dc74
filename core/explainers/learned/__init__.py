"""Explainers that are trained beside a classifier. Importing this package registers them."""

from core.explainers.learned import salvage, single

__all__ = ["salvage", "single"]
