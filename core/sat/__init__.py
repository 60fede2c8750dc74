"""Segment Attribution Tables: rows, tables, tests, verdicts, reports."""
