"""Which perturbations keep the spectrum of a natural picture: synthetic 1/f fields."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from core.metrics.spectrum import radial_power, spectrum_distance
from core.randomised import pink_pictures

SIDE, DRAWS = 96, 8


@pytest.fixture(scope="module")
def clean() -> Tensor:
    return pink_pictures((SIDE, SIDE), 0, torch.device("cpu"))[:3]


def perturbed(clean: Tensor) -> dict[str, Tensor]:
    """[3, DRAWS, 3, H, W] each."""
    generator = torch.Generator().manual_seed(0)
    copies = clean.unsqueeze(1).expand(-1, DRAWS, -1, -1, -1)
    mean = copies.mean((3, 4), keepdim=True)
    pixels = torch.rand(3, DRAWS, 1, SIDE, SIDE, generator=generator)
    cells = torch.rand(3, DRAWS, 1, SIDE // 16, SIDE // 16, generator=generator)
    patches = cells.repeat_interleave(16, 3).repeat_interleave(16, 4)
    gaussian = torch.randn(copies.shape, generator=generator)
    uniform = torch.rand(copies.shape, generator=generator) - 0.5
    return {
        "scale": mean + 0.4 * (copies - mean),
        "patch keep .9": mean + (patches < 0.9) * (copies - mean),
        "pixel keep .9": mean + (pixels < 0.9) * (copies - mean),
        "patch keep .5": mean + (patches < 0.5) * (copies - mean),
        "pixel gain": mean + pixels * (copies - mean),
        "pixel keep .5": mean + (pixels < 0.5) * (copies - mean),
        "uniform .5": copies + uniform,
        "gaussian .5": copies + 0.5 * gaussian,
        "gaussian .15": copies + 0.15 * gaussian,
        "pixel keep .5, black": copies * (pixels < 0.5),
    }


def test_coarse_and_mild_suppression_is_natural_and_noise_is_not(clean: Tensor) -> None:
    distance = {name: float(spectrum_distance(clean, x).mean()) for name, x in perturbed(clean).items()}
    order = ["scale", "patch keep .9", "pixel keep .9", "patch keep .5", "pixel gain", "pixel keep .5", "uniform .5"]
    values = [distance[name] for name in order]
    assert values == sorted(values)
    assert distance["scale"] < 1e-4
    assert distance["patch keep .5"] < distance["gaussian .15"] < distance["uniform .5"] < distance["gaussian .5"]
    assert distance["pixel keep .5, black"] > distance["uniform .5"]


def test_one_distance_a_picture_whatever_its_neighbours(clean: Tensor) -> None:
    samples = perturbed(clean)["pixel gain"]
    distances = spectrum_distance(clean, samples)
    assert (distances.shape, distances.dtype) == ((3,), torch.float32)
    assert torch.allclose(spectrum_distance(clean[1:2], samples[1:2]), distances[1:2])
    assert torch.allclose(spectrum_distance(clean, clean.unsqueeze(1)), torch.zeros(3))


@pytest.mark.parametrize("frame", [(64, 64), (32, 96), (33, 50)])
def test_a_wave_has_its_power_in_its_own_ring(frame: tuple[int, int]) -> None:
    height, width = frame
    shorter = min(frame)
    cycles = 6 * height // shorter
    wave = torch.sin(2 * torch.pi * cycles * torch.arange(height) / height).view(1, 1, -1, 1).expand(1, 3, -1, width)
    power = radial_power(wave)
    assert power.shape == (1, shorter // 2)
    assert int(power.argmax()) == round(cycles / height * shorter) - 1
    assert torch.allclose(radial_power(wave + 0.3), power, atol=1e-6)
