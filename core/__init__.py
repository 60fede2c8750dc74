"""Satchel's core: explanations and Segment Attribution Tables for image classifiers, without any interface.

picture -> classifier.prepare -> explainer -> attribution -> (x segments) -> SAT rows -> table -> tests -> verdict
"""
