"""Measures of boxes and masks on maps whose answers are known."""

from __future__ import annotations

from math import log

import pytest
import torch
from sklearn.metrics import average_precision_score

from core.metrics.boxes import pooled_precision
from core.metrics.metric import Case, get_metric
from tests.explainers.conftest import classifier_of, pictures
from tests.metrics.conftest import case_with

FRAME = (40, 40)


def boxes(*ends: tuple[int, int, int, int]) -> torch.Tensor:
    """[B, 40, 40], one a picture."""
    maps = torch.zeros(len(ends), *FRAME)
    for b, (top, left, bottom, right) in enumerate(ends):
        maps[b, top : bottom + 1, left : right + 1] = 1
    return maps


def scored(name: str, case: Case, **options: object) -> torch.Tensor:
    metric = get_metric(name)
    return metric.score(case, metric.parameters.parse(options))


def test_a_hit_overlaps_by_more_than_half() -> None:
    truth = boxes(*[(10, 10, 19, 19)] * 3)
    maps = boxes((10, 10, 19, 19), (10, 10, 19, 29), (10, 10, 19, 28))  # overlaps of 1, 0.5 and 100 / 190
    case = case_with(maps, masks=truth)
    assert scored("localisation-error", case).tolist() == [0, 1, 0]
    assert scored("localisation-error", case, overlap=0.9).tolist() == [0, 1, 1]
    # one pixel short: 81 of 100
    assert scored("localisation-error", case, overlap=0.9, strict_repo=True).tolist() == [1, 1, 1]


def test_the_answer_counts_too() -> None:
    truth = boxes(*[(10, 10, 19, 19)] * 4)
    classifier, images = classifier_of("cnn", frame="square"), pictures(4, (32, 32))
    truth, said = truth[:, :32, :32], classifier.logits(images).argmax(1)
    maps = truth.clone()
    maps[1] = boxes((0, 20, 5, 30))[0, :32, :32]
    labels = torch.stack([said[0], said[1], (said[2] + 1) % 4, torch.tensor(-1)])
    case = Case(classifier, images, said, maps, False, (0, 1, 2, 3), truth, lambda c, x: maps, labels=labels)
    found = scored("official-error", case)
    assert found[:3].tolist() == [0, 1, 1]
    assert found[3].isnan()


def test_f1_is_of_the_mask_as_it_is() -> None:
    truth = boxes((0, 0, 9, 9))
    soft = 0.5 * boxes((0, 0, 9, 19))
    mask = Case(classifier_of("cnn"), pictures(1, FRAME), torch.tensor([0]), soft, False, (0,), truth,
                lambda c, x: soft, unit="mask")  # fmt: skip
    assert float(scored("box-f1", mask)) == pytest.approx(0.5, abs=1e-5)  # half of it inside, half of the box filled
    assert float(scored("box-f1", case_with(soft, masks=truth))) == pytest.approx(2 / 3, abs=1e-5)  # scaled to 1


def test_the_saliency_metric_weighs_the_crop_against_the_answer() -> None:
    classifier, images = classifier_of("cnn"), pictures(1, (32, 32))
    maps = torch.zeros(1, 32, 32)
    maps[:, 8:24, 8:24] = 1
    crop = torch.nn.functional.interpolate(images[:, :, 8:24, 8:24], (32, 32), mode="bicubic").clamp(0, 1)
    expected = log(0.25) - float(classifier.logits(crop).log_softmax(1)[0, 1])
    case = case_with(maps, classifier=classifier, images=images)
    assert float(scored("saliency-metric", case)) == pytest.approx(expected, abs=1e-4)
    tiny = torch.zeros(1, 32, 32)
    tiny[:, 3:5, 3:5] = 1
    small = torch.nn.functional.interpolate(images[:, :, 3:5, 3:5], (32, 32), mode="bicubic").clamp(0, 1)
    expected = log(0.05) - float(classifier.logits(small).log_softmax(1)[0, 1])
    assert float(scored("saliency-metric", case_with(tiny, classifier=classifier, images=images))) == pytest.approx(
        expected, abs=1e-4
    )


def test_average_precision_is_scikit_learns() -> None:
    """On values that lie in the middle of the bins."""
    generator = torch.Generator().manual_seed(0)
    maps = (torch.randint(0, 100, (2, *FRAME), generator=generator) + 0.5) / 100
    truth = (maps + torch.randn(maps.shape, generator=generator) > 1).float()
    expected = average_precision_score(truth.flatten().numpy(), maps.flatten().numpy())
    assert float(pooled_precision(maps, truth)) == pytest.approx(expected, abs=1e-9)
    assert pooled_precision(maps, torch.zeros_like(maps)).isnan()
