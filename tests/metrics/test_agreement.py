"""Agreement with Quantus and captum wherever they compute the same thing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn

from core.classifier import Classifier
from core.fills import PLATES, fill_plate
from core.metrics.faithfulness import curve
from core.metrics.metric import get_metric, parse_metric
from core.metrics.perturbation import noise_of, squares
from tests.explainers.conftest import FRAMES, classifier_of, pictures
from tests.metrics.conftest import case_with, made_case, some_masks

FRAME = (24, 24)
QUIET = {"disable_warnings": True, "display_progressbar": False}


def quantus_scores(name: str, values: Tensor, masks: Tensor | None = None, module: nn.Module | None = None, **options):
    """What Quantus says of maps [B, H, W] of target 1."""
    quantus = pytest.importorskip("quantus")
    images, count = pictures(len(values), tuple(values.shape[1:])), len(values)
    metric = getattr(quantus, name)(**QUIET, **options)
    scores = metric(
        model=module,
        x_batch=images.numpy(),
        y_batch=np.ones(count, int),
        a_batch=values.unsqueeze(1).numpy().copy(),
        s_batch=None if masks is None else masks.unsqueeze(1).numpy(),
        device="cpu",
        softmax=True,
    )
    return torch.tensor(np.array(scores), dtype=torch.float32)


def some_maps(count: int = 3, positive: bool = False) -> Tensor:
    maps = torch.randn(count, *FRAME, generator=torch.Generator().manual_seed(1))
    return maps.abs() if positive else maps


class Logits(nn.Module):
    """A classifier of this project as the plain module that Quantus asks for."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.logits(images)


@pytest.mark.slow
@pytest.mark.parametrize("positive", [False, True])
def test_sparseness_is_quantus(positive: bool) -> None:
    maps = some_maps(positive=positive)
    mine = get_metric("sparseness").score(case_with(maps))
    assert torch.allclose(mine, quantus_scores("Sparseness", maps), atol=1e-5)


@pytest.mark.parametrize(
    ("mine", "theirs", "positive"),
    [
        ("relevance-rank", "RelevanceRankAccuracy", False),
        ("relevance-mass", "RelevanceMassAccuracy", True),  # Quantus lets negative values cancel positive ones
        ("pointing-game:tolerance=0", "PointingGame", False),
    ],
)
def test_localisation_is_quantus(mine: str, theirs: str, positive: bool) -> None:
    maps, masks = some_maps(8, positive), some_masks(8, FRAME)
    maps[::2] += 5 * masks[::2]
    metric, parameters = parse_metric(mine)
    scores = metric.score(case_with(maps, masks=masks), parameters)
    assert len(scores.unique()) > 1
    assert torch.allclose(scores, quantus_scores(theirs, maps, masks), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_deletion_and_insertion_are_quantus_pixel_flipping(kind: str) -> None:
    """Insertion is flipping in the opposite order, read backwards. Quantus leaves out the untouched picture."""
    classifier, steps = classifier_of(kind, frame="wide"), 24
    maps = torch.randn(2, *FRAMES["wide"], generator=torch.Generator().manual_seed(1))
    each = {"features_in_step": 3 * 32 * 96 // steps, "perturb_baseline": "black"}  # a channel of a pixel is a feature
    for inserted in (False, True):
        mine = curve(case_with(maps, classifier=classifier), inserted=inserted, steps=steps, fill="black", patch=1)
        order = -maps if inserted else maps
        theirs = quantus_scores("PixelFlipping", order, module=Logits(classifier).eval(), **each)
        assert torch.allclose(mine.flip(1)[:, 1:] if inserted else mine[:, 1:], theirs, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("fill", PLATES)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_infidelity_is_captums(kind: str, scaled: bool, fill: str) -> None:
    case, samples = made_case(kind, explainer="integrated-gradients"), 12
    metric = get_metric("infidelity")
    mine = metric.score(case, metric.parameters(samples=samples, scaled=scaled, fill=fill, largest=0.5))
    copies = [n for _ in range(3) for n in range(1, samples + 1)]
    seeds = [seed for seed in case.seeds for _ in range(samples)]
    masks = squares((32, 32), 0.5, seeds, copies, torch.device("cpu")).unsqueeze(1).expand(-1, 3, -1, -1)
    plates = fill_plate(case.images, fill).repeat_interleave(samples, 0)

    def perturb(images: Tensor) -> tuple[Tensor, Tensor]:
        return masks, torch.lerp(images, plates, masks)

    # captum's maps have three channels; a third of ours in each sums to the same
    maps = case.values.unsqueeze(1).expand(-1, 3, -1, -1) / 3
    with torch.no_grad():
        theirs = infidelity(
            case.classifier.logits, perturb, case.images, maps, target=case.targets, n_perturb_samples=samples,
            normalize=scaled,
        )  # fmt: skip
        answers = case.classifier.logits(torch.lerp(case.images.repeat_interleave(samples, 0), plates, masks))
    if scaled:  # where captum's factor is negative, ours is zero, and what is left is the mean squared loss itself
        targets = case.targets.repeat_interleave(samples).view(-1, 1)
        whole = case.classifier.logits(case.images).gather(1, case.targets.view(-1, 1))
        lost = whole - answers.gather(1, targets).view(3, samples)
        foretold = (masks[:, 0] * case.values.repeat_interleave(samples, 0)).sum((1, 2)).view(3, samples)
        theirs = torch.where((lost * foretold).sum(1) > 0, theirs, lost.square().mean(1))
    assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("explainer", ["gradient", "integrated-gradients", "smoothgrad"])
def test_max_sensitivity_is_captums(explainer: str) -> None:
    case, samples, metric = made_case("vit", explainer=explainer), 4, get_metric("max-sensitivity")
    mine = metric.score(case, metric.parameters(samples=samples, radius=0.05))
    noise = torch.stack([noise_of(case.images, 0.05, case.seeds, n) for n in range(samples)], 1).flatten(0, 1)

    def explain(images: tuple[Tensor, ...] | Tensor) -> tuple[Tensor, ...] | Tensor:
        if isinstance(images, tuple):
            return (case.explain(case.classifier, images[0]),)
        rounds = images.view(3, samples, *images.shape[1:]).unbind(1)  # captum shows all copies of a picture at once
        return torch.stack([case.explain(case.classifier, part) for part in rounds], 1).flatten(0, 1)

    theirs = sensitivity_max(explain, case.images, lambda images: images + noise, n_perturb_samples=samples)
    assert torch.allclose(mine, theirs, rtol=1e-4)
