"""Segment Attribution Tables: rows, tables, tests, verdicts, reports."""

# Smallest change of the log-odds that matters, for a model whose answers are well apart: from even odds, 12 points of
# probability. Here, where the help of the command line finds it without pandas.
DELTA = 0.5
