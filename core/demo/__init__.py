"""The demo world: rendered birds with exact masks, shortcuts planted on request, and classifiers trained on them."""

#: The data sets demo:NAME, each with the recipe that its pictures follow (`core.demo.plants.RECIPES`).
DATA_SETS = {"birds": "biased", "birds-clean": "clean", "birds-swapped": "swapped"}
