"""Small maps whose answer can be counted, and the Gini index."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core.metrics.metric import get_metric
from tests.metrics.conftest import case_with


def scored(name: str, values: Tensor, masks: Tensor, **options: object) -> list[float]:
    metric = get_metric(name)
    case = case_with(values, masks=masks, images=torch.zeros(len(values), 3, *values.shape[1:]))
    return metric.score(case, metric.parameters.parse(options)).tolist()


def dot(*places: tuple[int, int]) -> Tensor:
    """[N, 32, 32], one bright pixel each."""
    values = torch.zeros(len(places), 32, 32)
    for n, (row, column) in enumerate(places):
        values[n, row, column] = 1
    return values


def test_rank_counts_the_top_pixels_in_the_object() -> None:
    values = torch.tensor([[[9.0, 8.0, 7.0, 6.0], [5.0, 4.0, 3.0, 2.0]]])
    masks = torch.tensor([[[1.0, 0.0, 1.0, 0.0], [0.6, 0.4, 0.0, 0.0]]])
    assert scored("relevance-rank", values, masks) == pytest.approx([2 / 3])
    assert scored("relevance-rank", -values, masks) == [0]


def test_mass_is_the_positive_part_and_soft_masks_count_by_their_part() -> None:
    values = torch.tensor([[[4.0, -3.0], [2.0, 2.0]], [[-1.0, -2.0], [-3.0, -4.0]]])
    masks = torch.tensor([[[1.0, 1.0], [0.5, 0.0]]]).expand(2, -1, -1)
    first, second = scored("relevance-mass", values, masks)
    assert first == pytest.approx(5 / 8)
    assert second != second  # nothing positive


def test_pointing_tolerates_as_many_pixels_as_it_says() -> None:
    masks = torch.zeros(4, 32, 32)
    masks[:, 0:2, 0:2] = 1
    values = dot((1, 1), (1, 16), (1, 17), (12, 12))  # 0, 15, 16 and 15.6 pixels from (1, 1)
    assert scored("pointing-game", values, masks) == [1, 1, 0, 0]
    assert scored("pointing-game", values, masks, tolerance=16) == [1, 1, 1, 1]
    assert scored("pointing-game", values, masks, tolerance=0) == [1, 0, 0, 0]


def test_of_several_highest_pixels_one_is_drawn() -> None:
    values = (dot((0, 0)) + dot((31, 31))).expand(40, -1, -1)
    hits = scored("pointing-game", values, dot((0, 0)).expand(40, -1, -1), tolerance=0)
    assert 8 < sum(hits) < 32


def test_sparseness_of_one_pixel_and_of_an_even_ramp() -> None:
    ramp = torch.arange(1.0, 101).view(1, 10, 10)
    values = torch.cat([torch.zeros(1, 10, 10), ramp, -ramp])
    values[0, 3, 4] = -7
    scores = get_metric("sparseness").score(case_with(values, images=torch.zeros(3, 3, 10, 10)))
    assert torch.allclose(scores, torch.tensor([0.99, 99 / 300, 99 / 300]))
