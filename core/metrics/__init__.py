"""Ways to judge explainers."""
