"""Real ImageNet weights on real photos give the reference answers."""

from __future__ import annotations

import csv

import pytest
import torch

from core.classifier import Classifier
from core.images import read_picture
from core.loading import load_classifier


class Function(torch.nn.Module):
    """A softmax that no layer tells of."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.softmax(1)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("last", [torch.nn.Softmax(1), Function()], ids=["layer", "function"])
def test_behind_a_softmax_photos_keep_their_probabilities_and_what_a_removal_costs(data, last):
    plain = load_classifier(f"torchvision:squeezenet1_1@{data / 'weights' / 'squeezenet1_1.pth'}", device="cpu")
    made = Classifier(torch.nn.Sequential(plain.module, last), preprocessing=plain.preprocessing, device="cpu")
    photos = sorted((data / "imagenet100").rglob("*.[jJ][pP]*[gG]"))[:4]
    images = torch.stack([plain.prepare(read_picture(photo)).tensor for photo in photos])
    removed = images.clone()
    removed[..., 60:160, 60:160] = 0.5
    targets = plain.logits(images).argmax(1)
    costs = []
    for one in (plain, made):
        logits = one.logits(images)
        costs.append(one.margin(logits, targets) - one.margin(one.logits(removed), targets))
        torch.testing.assert_close(one.probabilities(logits), plain.logits(images).softmax(1), rtol=0, atol=1e-4)
    assert len(made.notes) == 1
    assert float(costs[0].abs().max()) > 1
    torch.testing.assert_close(costs[1], costs[0], rtol=1e-4, atol=1e-4)
