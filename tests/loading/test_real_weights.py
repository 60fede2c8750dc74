"""Real ImageNet weights on real photos give the reference answers."""

from __future__ import annotations

import csv

import pytest
import torch

from core.images import read_picture
from core.loading import load_classifier


@pytest.mark.data
@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_reference_answers(data, name):
    """Index for index, and the probability to the four decimals that the reference states."""
    classifier = load_classifier(f"torchvision:{name}@{data / 'weights' / name}.pth", device="cpu")
    assert classifier.labels[1] == "goldfish"
    with (data / "imagenet100" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[::5]
    pictures = [read_picture(data / "imagenet100" / row["image"]) for row in rows]
    answers = classifier.predict(torch.stack([classifier.prepare(picture).tensor for picture in pictures]), k=1)
    for row, (best,) in zip(rows, answers):
        assert best.index == int(row[f"{name}_top1_idx"])
        assert best.probability == pytest.approx(float(row[f"{name}_top1_prob"]), abs=2e-4)
