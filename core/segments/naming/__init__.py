"""Names that spread: masks as numbers, names from examples or from words, and the questions that are left."""
