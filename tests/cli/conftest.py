"""A small classifier as files, and the command line in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1
from typer.testing import CliRunner

from dashboard.cli.main import app

SIDE = 64
CLASSES = ("finch", "kingfisher", "bee-eater")


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def satchel() -> Callable[..., Outcome]:
    """Run a command line; an exception that is no exit fails the test."""

    def run(*words: object) -> Outcome:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options that name an untrained SqueezeNet with three classes for pictures of 64 x 64 pixels."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    small = {"preprocessing": json.dumps({"resize": SIDE, "crop": [SIDE, SIDE]})}
    save_file(squeezenet1_1(num_classes=len(CLASSES)).state_dict(), folder / "tiny.safetensors", small)
    (folder / "labels.txt").write_text("\n".join(CLASSES) + "\n")
    return (
        "--model",
        f"torchvision:squeezenet1_1@{folder / 'tiny.safetensors'}",
        "--labels",
        str(folder / "labels.txt"),
    )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small picture file of noise."""
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)).save(path)
    return path
