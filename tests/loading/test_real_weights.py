"""Real ImageNet weights on real photos give the reference answers."""

from __future__ import annotations

import csv

import pytest

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
    for row in rows:
        picture = read_picture(data / "imagenet100" / row["image"])
        best = classifier.predict(classifier.prepare(picture).tensor[None], k=1)[0][0]
        assert best.index == int(row[f"{name}_top1_idx"])
        assert best.probability == pytest.approx(float(row[f"{name}_top1_prob"]), abs=2e-4)
