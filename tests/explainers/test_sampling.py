"""Samplers, reductions, scales, the tolerance and what is reported about samples."""

from __future__ import annotations

import gc
from itertools import permutations, product

import pytest
import torch
from captum.attr import GradientShap
from torch import Tensor, nn

from core.attribution import Attribution
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import get_explainer
from core.explainers.integration import input_gradient, integrate
from core.explainers.presets import SAMPLERS, preset
from core.explainers.samplers import Chain, Draw, ExpectedPath, Noise, Path, Sampler
from core.explainers.suppression import OPERATORS, Suppression
from core.fills import PLATES, fill_plate
from core.job import Job
from tests.explainers.conftest import agree, classifier_of, pictures, plain

SIDE = 8


def explain(name: str, classifier: Classifier, images: Tensor, **options: object) -> Attribution:
    explainer = get_explainer(name)
    return explainer.bind(classifier).explain(images, [1], explainer.parameters.parse(options))[0]


def visits(sampler: Sampler, image: Tensor, count: int, plate: Tensor | None = None) -> Tensor:
    """[count, 3, H, W]: samples 0, 1, ... of one picture."""
    images = image.expand(count, -1, -1, -1)
    start = torch.zeros_like(images) if plate is None else plate.expand_as(images)
    draw = Draw(images, start, [3] * count, list(range(count)))
    return sampler.visit(Draw(images, sampler.begin(draw), draw.seeds, draw.indices))


class FourCells(nn.Module):
    """Logit 1 is a multilinear game of the means of four 4 x 4 cells; logit 0 is 0."""

    def forward(self, x: Tensor) -> Tensor:
        a, b, c, d = x.mean(1).unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4)).flatten(1).unbind(1)
        value = 2 * a + 3 * a * b - 4 * b * c * d + 5 * a * b * c * d
        return torch.stack([torch.zeros_like(value), value], dim=1)


def shapley(value, players: int) -> list[float]:
    """Exact Shapley values: the mean marginal gain over all orders."""
    out, orders = [0.0] * players, list(permutations(range(players)))
    for order in orders:
        present = [0.0] * players
        for player in order:
            before = value(present)
            present[player] = 1.0
            out[player] += (value(present) - before) / len(orders)
    return out


@pytest.mark.slow
def test_suppressed_patches_times_input_converge_to_exact_shapley_values() -> None:
    classifier = plain(FourCells(), SIDE)
    strength = torch.tensor([0.9, 0.6, 0.8, 0.7])
    image = strength.view(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1).expand(1, 3, SIDE, SIDE).clone()
    a, b, c, d = strength.tolist()

    def game(on: list[float]) -> float:
        w, x, y, z = (s * o for s, o in zip((a, b, c, d), on))
        return 2 * w + 3 * w * x - 4 * x * y * z + 5 * w * x * y * z

    # players are the four cells, so the grid must not shift: each sample drops whole quadrants
    class Quadrants(Sampler):
        def visit(self, draw: Draw) -> Tensor:
            rate = draw.uniform(1, use="rate").view(-1, 1, 1)
            kept = (draw.uniform(2, 2) < rate).to(draw.images.dtype)
            mask = kept.repeat_interleave(4, 1).repeat_interleave(4, 2).unsqueeze(1)
            return draw.start + mask * (draw.images - draw.start)

    job = Job(image, torch.tensor([1]), None, None, (0,), None)
    reading = input_gradient(classifier, job, "times input", "logit")
    errors = []
    for samples in (100, 6400):
        *_, last = integrate(classifier, job, Quadrants(samples), reading, "black")
        mine = last.values[0].unfold(0, 4, 4).unfold(1, 4, 4).sum((2, 3)).flatten()
        errors.append(float((mine - torch.tensor(shapley(game, 4))).abs().max()))
    assert errors[1] < 0.03
    assert errors[1] < errors[0]


@pytest.mark.slow
def test_the_owen_estimate_sums_to_the_difference_of_scores() -> None:
    """Of the real operator, whose grid shifts: efficiency holds for every grid, so it holds on average."""
    classifier = plain(FourCells(), SIDE)
    image = torch.full((1, 3, SIDE, SIDE), 0.8)
    one = explain(
        "suppression", classifier, image,
        operator="patch", cell=4, keep=0, fade=False, fill="black", reduction="times input", samples=1000,
    )  # fmt: skip
    with torch.no_grad():
        wanted = float((classifier.logits(image) - classifier.logits(torch.zeros_like(image)))[0, 1])
    assert float(one.values.sum()) == pytest.approx(wanted, abs=float(one.standard_error.sum()))


@pytest.mark.slow
def test_expected_gradients_agree_with_captums_gradient_shap(small_cnn: Classifier) -> None:
    image, references = pictures(1, (32, 32)), pictures(4, (32, 32), seed=9)
    method = get_explainer("expected-gradients")
    (mine,) = method.bind(small_cnn).explain(
        image, [1], method.parameters.parse({"samples": 1000}), references=references
    )
    torch.manual_seed(0)
    theirs = GradientShap(small_cnn.logits).attribute(image, references, n_samples=1000, target=1)
    bar = mine.standard_error * 2**0.5
    assert float(((mine.values - theirs.sum(1)[0]).abs() < 4 * bar).float().mean()) > 0.99


@pytest.mark.slow
def test_expected_gradients_of_one_black_reference_are_integrated_gradients(small_cnn: Classifier) -> None:
    image = pictures(1, (32, 32))
    method = get_explainer("expected-gradients")
    (mine,) = method.bind(small_cnn).explain(
        image, [1], method.parameters.parse({"samples": 1000}), references=torch.zeros_like(image)
    )
    path = explain("integrated-gradients", small_cnn, image, fill="black")
    assert float((mine.values - path.values).norm() / path.values.norm()) < 0.1


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("fade", [False, True])
def test_suppression_takes_away_and_adds_nothing(operator: str, fade: bool) -> None:
    image, plate = pictures(1, (32, 96)), fill_plate(pictures(1, (32, 96)), "mean")
    seen = visits(Suppression(6, operator, 8, 0.2, fade), image, 6, plate)
    before, after = (image - plate).square().sum(), (seen - plate).square().sum((1, 2, 3))
    assert (after < before).all()
    assert (after > 0).all()
    if operator not in ("lowpass",):
        strength = (seen - plate) / (image - plate)
        inside = (image - plate).abs().expand_as(seen) > 0.05
        assert float(strength[inside].min()) > -1e-4
        assert float(strength[inside].max()) < 1 + 1e-4


def test_lowpass_keeps_the_mean_and_loses_the_finest_most() -> None:
    image = pictures(1, (32, 32))
    seen = visits(Suppression(4, "lowpass", 16, 0.0, False), image, 4)
    assert torch.allclose(seen.mean((2, 3)), image.mean((2, 3)).expand(4, -1), atol=1e-5)
    power = torch.fft.rfft2(seen).abs() / torch.fft.rfft2(image).abs().clamp(min=1e-6)
    assert (power[:, :, 16, 8].mean(1) < power[:, :, 1, 1].mean(1)).all()


def test_noise_has_the_variance_that_was_asked_for() -> None:
    image = torch.full((1, 3, 32, 32), 0.5)
    for distribution in ("gaussian", "uniform"):
        seen = visits(Noise(20, 0.2, distribution), image, 20)
        assert float(seen.std()) == pytest.approx(0.2, rel=0.02)
        assert float(seen.mean()) == pytest.approx(0.5, abs=0.01)
    assert float((seen - 0.5).abs().max()) <= 0.2 * 3**0.5 + 1e-6


def test_links_of_a_chain_draw_their_own_numbers() -> None:
    image = torch.full((1, 3, 32, 32), 0.5)
    once, twice = visits(Noise(2, 0.1), image, 2), visits(Chain(2, (Noise(2, 0.1), Noise(2, 0.1))), image, 2)
    assert float((twice - 0.5).std() / (once - 0.5).std()) == pytest.approx(2**0.5, rel=0.05)


def test_the_path_is_a_straight_line_that_is_visited_evenly_from_the_start() -> None:
    image = torch.ones(1, 3, 4, 4)
    seen = visits(Path(32), image, 4)[:, 0, 0, 0]
    assert (seen.sort().values * 4).long().tolist() == [0, 0, 2, 3]  # dense at the ends, where the nodes are


@pytest.mark.parametrize("fill", PLATES)
def test_every_fill_is_a_picture(fill: str) -> None:
    images = pictures(2, (32, 96))
    plate = fill_plate(images, fill)
    assert plate.shape == images.shape
    assert 0 <= float(plate.min()) <= float(plate.max()) <= 1
    alone = fill_plate(images[1:], fill)
    assert agree(plate[1:], alone)


def test_an_inpainted_plate_shows_nothing_of_a_cell_in_that_cell() -> None:
    images = torch.full((1, 3, 28, 28), 0.2)
    images[:, :, 8:12, 8:12] = 1.0  # exactly one cell of the grid of sevenths
    assert torch.allclose(fill_plate(images, "inpaint")[:, :, 8:12, 8:12], torch.full((1, 3, 4, 4), 0.2), atol=1e-5)


def test_reductions_by_hand() -> None:
    """A linear model's gradient is its weight, whatever the sample."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4, 2, bias=False))
    weight = torch.linspace(-1, 1, 24).view(2, 12)
    module[1].weight.data = weight.clone()
    classifier, image = plain(module, 2), torch.full((1, 3, 2, 2), 0.5)
    w = weight[1].view(3, 2, 2)
    assert torch.allclose(explain("smoothgrad", classifier, image, reduction="absolute").values, w.abs().sum(0))
    assert torch.allclose(explain("smoothgrad", classifier, image, reduction="signed").values, w.sum(0), atol=1e-6)
    assert torch.allclose(explain("smoothgrad", classifier, image, reduction="squared").values, w.square().sum(0))
    assert float(explain("smoothgrad", classifier, image, reduction="variance").values.abs().max()) < 1e-5
    path = explain("integrated-gradients", classifier, image, fill="black").values
    assert torch.allclose(path, (w * 0.5).sum(0), atol=1e-6)


@pytest.mark.parametrize(("kind", "logits"), product(["cnn", "vit"], ["softmax", "one-logit"]))
def test_scales_are_related_by_the_chain_rule(kind: str, logits: str) -> None:
    classifier, image = classifier_of(kind, logits), pictures(1, (32, 32))
    with torch.no_grad():
        p = float(classifier.probabilities(classifier.logits(image))[0, 1])
    of_log, of_p = (
        explain("gradient", classifier, image, reduction="signed", scale=scale).values
        for scale in ("log-probability", "probability")
    )
    assert agree(of_log * p, of_p, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smoothgrad", "suppression", "expected-gradients"])
def test_sampling_stops_at_the_tolerance_and_not_before(name: str, small_cnn: Classifier, chunk_of) -> None:
    images = pictures(3, (32, 32))
    method = get_explainer(name)
    reduction = {"reduction": "absolute"}
    full = method.bind(small_cnn).explain(images, [1], method.parameters.parse({"samples": 200, **reduction}))
    maps = {}
    for size in (3, 7):
        chunk_of(size)
        parameters = method.parameters.parse({"samples": 200, "tolerance": 0.1, **reduction})
        maps[size] = method.bind(small_cnn).explain(images, [1], parameters)
    for one, other, whole in zip(maps[3], maps[7], full):
        assert one.converged is True
        assert one.relative_error <= 0.1
        assert 16 <= one.forward_passes < 200
        assert one.forward_passes == other.forward_passes
        assert agree(one.values, other.values)
        assert not one.partial
        assert whole.converged is None
        assert whole.forward_passes == 200
        assert float((one.values - whole.values).norm() / whole.values.norm()) < 0.5


def test_a_tolerance_out_of_reach_takes_all_samples_and_says_so(small_cnn: Classifier) -> None:
    one = explain("smoothgrad", small_cnn, pictures(1, (32, 32)), samples=20, tolerance=0.01)
    assert (one.converged, one.forward_passes) == (False, 20)


def test_convergence_is_told_sample_by_sample(small_cnn: Classifier, chunk_of) -> None:
    chunk_of(5)
    one = explain("smoothgrad", small_cnn, pictures(1, (32, 32)), samples=40)
    assert [samples for samples, _ in one.convergence] == list(range(5, 41, 5))
    assert one.convergence[-1][1] == pytest.approx(one.relative_error)
    assert one.convergence[-1][1] < one.convergence[0][1]
    assert explain("gradient", small_cnn, pictures(1, (32, 32))).convergence == ()


@pytest.mark.slow
def test_saturated_samples_are_counted() -> None:
    """A logit that grows with brightness: on the path from black to white a known part is saturated."""

    class Bright(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([torch.zeros(len(x)), 20 * (x.mean((1, 2, 3)) - 0.5)], dim=1)

    classifier = plain(Bright(), 2)
    one = explain("integrated-gradients", classifier, torch.ones(1, 3, 2, 2), fill="black", samples=200)
    # p (1 - p) < 0.01 where |log-odds| > 4.585, that is beyond 0.229 either side of the middle
    assert one.saturated == pytest.approx(1 - 2 * 0.2293, abs=0.01)


def test_a_variance_of_one_sample_is_refused(small_cnn: Classifier) -> None:
    with pytest.raises(UserError, match="at least 2 samples"):
        explain("smoothgrad", small_cnn, pictures(1, (32, 32)), samples=1, reduction="variance")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grad-cam", "layer-cam"])
@pytest.mark.parametrize("kind", ["cnn", "vit", "swin"])
def test_any_sampler_drives_a_cam(name: str, kind: str) -> None:
    classifier, image = classifier_of(kind), pictures(1, (32, 32))
    alone = explain(name, classifier, image, relu=False)
    for sampler in SAMPLERS:
        one = explain(name, classifier, image, relu=False, sampler=sampler, samples=3)
        assert one.forward_passes == (1 if sampler == "none" else 3)
        assert agree(one.values, alone.values) == (sampler == "none")
        assert (one.standard_error is None) == (sampler in ("none", "path"))


def test_a_cam_of_samples_that_change_nothing_is_the_cam(small_cnn: Classifier) -> None:
    flat = torch.full((1, 3, 32, 32), 0.4)
    alone, averaged = (explain("grad-cam", small_cnn, flat, sampler=s, samples=4) for s in ("none", "path"))
    assert agree(alone.values, averaged.values)


def test_presets_are_the_explainers_defaults() -> None:
    method = get_explainer("suppression")
    job = Job(torch.zeros(1, 3, 4, 4), torch.tensor([0]), None, None, (0,), None)
    assert preset("suppression", 50) == method.sampler(method.parameters(), job)  # ty: ignore[missing-attribute]
    assert preset("gaussian", 50) == get_explainer("smoothgrad").sampler(get_explainer("smoothgrad").parameters(), job)  # ty: ignore[missing-attribute]


def test_references_must_be_pictures_of_the_same_size(small_cnn: Classifier) -> None:
    bound = get_explainer("expected-gradients").bind(small_cnn)
    for wrong in (torch.zeros(3, 32, 32), torch.zeros(0, 3, 32, 32), torch.zeros(2, 3, 16, 16)):
        with pytest.raises(UserError, match="references"):
            bound.steps(pictures(1, (32, 32)), [1], references=wrong)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples(small_cnn: Classifier) -> None:
    """What lives between two chunks is the same for few and for many samples."""

    def held(samples: int) -> int:
        parameters = get_explainer("smoothgrad").parameters.parse({"samples": samples})
        steps = get_explainer("smoothgrad").bind(small_cnn).steps(pictures(1, (32, 32)), [1], parameters)
        next(steps)
        gc.collect()
        total = sum(o.numel() for o in gc.get_objects() if type(o) is Tensor)
        steps.close()  # ty: ignore[missing-attribute]
        return total

    held(16)
    assert held(1000) <= held(16) + 2000


def test_expected_path_draws_plain_colours_without_references() -> None:
    image = pictures(1, (8, 8))
    images = image.expand(5, -1, -1, -1)
    start = ExpectedPath(5).begin(Draw(images, torch.zeros_like(images), [0] * 5, list(range(5))))
    assert float(start.std((2, 3)).max()) == 0
    assert len(start[:, :, 0, 0].unique(dim=0)) == 5


@pytest.mark.parametrize("fill", ["mean", "blur", "inpaint"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("integrated-gradients", {}), ("suppression", {"reduction": "times input", "noise": 0})],
)
def test_rounding_is_no_evidence(name: str, options: dict, fill: str, small_cnn: Classifier) -> None:
    """Of one colour, a plate is the picture but for the last digits; which colours float32 gets exactly is chance."""
    for colour in ((37, 120, 201), (1, 2, 3), (250, 77, 13), (128, 128, 128)):
        flat = (torch.tensor(colour) / 255).view(1, 3, 1, 1).expand(1, 3, 32, 32)
        assert explain(name, small_cnn, flat, samples=4, fill=fill, **options).condition == "flat"


def test_one_sample_never_settles(small_cnn: Classifier) -> None:
    image = pictures(1, (32, 32))
    assert explain("smoothgrad", small_cnn, image, samples=1, tolerance=0.1).converged is False
    assert explain("smoothgrad", small_cnn, image, samples=1).converged is None


def test_a_tolerance_of_what_has_no_error_is_refused(small_cnn: Classifier) -> None:
    with pytest.raises(UserError, match="cannot stop at a tolerance"):
        explain("smoothgrad", small_cnn, pictures(1, (32, 32)), samples=4, reduction="variance", tolerance=0.1)


def test_grad_cam_settles_and_draws_from_references_too(small_cnn: Classifier) -> None:
    image, method = pictures(1, (32, 32)), get_explainer("grad-cam")
    loose = method.parameters.parse({"sampler": "suppression", "samples": 200, "tolerance": 0.5})
    (one,) = method.bind(small_cnn).explain(image, [1], loose)
    assert one.converged
    assert one.forward_passes < 200
    expected = method.parameters.parse({"sampler": "expected", "samples": 4})
    colours, drawn = (
        method.bind(small_cnn).explain(image, [1], expected, references=references)[0].values
        for references in (None, pictures(3, (32, 32), seed=5))
    )
    assert not torch.equal(colours, drawn)
