"""What a panel says of its map in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.explainer import get_explainer
from dashboard.explain.panels import map_panel
from tests.dashboard.conftest import attribution


@pytest.mark.parametrize(("unit", "partial", "said"), [
    ("density", False, True), ("density", True, False), ("intensity", False, False),
])  # fmt: skip
def test_a_finished_density_says_what_it_sums_to(unit: str, partial: bool, said: bool) -> None:
    values = torch.zeros(8, 8)
    values[0, 0], values[1, 1] = 1.0, -3.5
    one = replace(attribution(values, signed=True, partial=partial), unit=unit)
    panel = map_panel(get_explainer("suppression"), None, one, None, running=False)
    assert ("−2.5 in all" in panel) == said
