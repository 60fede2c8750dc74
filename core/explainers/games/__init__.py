"""Coalition games: players that can be absent, and what each is worth. Importing this package registers its methods."""

from core.explainers.games import rise, shapley

__all__ = ["rise", "shapley"]
