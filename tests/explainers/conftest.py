"""Classifiers and pictures that the explainers' tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.classifier import Classifier
from core.explainer import Explainer, explainers
from core.explainers.learned.files import VARIABLE
from core.learning import PLAYERS
from core.parameters import Parameters
from core.preprocessing import Preprocessing
from core.runtime import chunks
from core.runtime.chunks import FixedChunk
from tests.conftest import small_classifier
from tests.trained import write_explainer, write_masker

KINDS = ("cnn", "vit", "swin")
FRAMES = {"square": (32, 32), "wide": (32, 96)}
LOGITS = {"softmax": 4, "one-logit": 1}


@cache
def classifier_of(kind: str, logits: str = "softmax", frame: str = "square") -> Classifier:
    return small_classifier(kind, LOGITS[logits], FRAMES[frame])


def plain(module: nn.Module, side: int) -> Classifier:
    """A classifier of square pictures that sees them as they are, without normalisation."""
    preprocessing = Preprocessing(resize=(side, side), crop=(side, side), mean=(0, 0, 0), std=(1, 1, 1))
    return Classifier(module, preprocessing=preprocessing, device="cpu")


FOLDER = Path(tempfile.mkdtemp(prefix="satchel-explainers-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def with_trained() -> None:
    """Learned explainers for the small classifiers, where Satchel looks for them; before anything is collected."""
    os.environ[VARIABLE] = str(FOLDER)
    for kind, logits, frame in product(KINDS, LOGITS, FRAMES):
        classifier, name = classifier_of(kind, logits, frame), f"{kind}-{logits}-{frame}"
        for players in PLAYERS:
            write_explainer(classifier, FOLDER / f"{name}-{players}.safetensors", players)
        write_masker(classifier, FOLDER / f"{name}-mask.safetensors")


with_trained()


@cache
def kinds_for(name: str) -> tuple[str, ...]:
    """The kinds of small classifier that an explainer can explain."""
    return tuple(kind for kind in KINDS if explainers()[name].supports(classifier_of(kind)) is None)


def home_of(name: str) -> Classifier:
    """A small classifier that an explainer can explain."""
    return classifier_of(kinds_for(name)[0])


def pictures(count: int, frame: tuple[int, int], seed: int = 0) -> Tensor:
    """[count, 3, H, W] in [0, 1]: smooth colour with some grain, different for each."""
    generator = torch.Generator().manual_seed(seed)
    smooth = F.interpolate(torch.rand(count, 3, 5, 5, generator=generator), frame, mode="bilinear")
    return (smooth + 0.05 * torch.randn(count, 3, *frame, generator=generator)).clamp(0, 1)


def thirds(frame: tuple[int, int]) -> Tensor:
    """[3, H, W]: a partition into an upright strip, what is right of it at the top, and the rest."""
    height, width = frame
    regions = torch.zeros(3, *frame)
    regions[0, :, : width // 4] = 1
    regions[1, : height // 2, width // 4 :] = 1
    regions[2, height // 2 :, width // 4 :] = 1
    return regions


QUICK = {"samples": 4, "window": 0.4, "stride": 0.75, "grid": 2, "steps": 10, "cells": 8}


def quick(explainer: Explainer, **options: object) -> Parameters:
    """Parameters that need few passes."""
    names = {spec.name for spec in explainer.parameters.specs()}
    return explainer.parameters.parse({**{k: v for k, v in QUICK.items() if k in names}, **options})


def variants(explainer: Explainer) -> Iterator[Parameters]:
    """Every choice, both sides of every switch and both ends of every bound but the dearest, one at a time.

    Without what only some models can do: `tests/explainers/test_games.py` leaves out tokens.
    """
    for spec in explainer.parameters.specs():
        values = spec.choices or ((False, True) if spec.kind == "bool" else (spec.low, spec.high))
        for value in values:
            if (spec.name, value) not in (("samples", spec.high), ("steps", spec.high), ("fill", "tokens")):
                yield quick(explainer, **{spec.name: value})


def agree(a: Tensor, b: Tensor, relative: float = 1e-5) -> bool:
    """Whether two maps are equal to a part of the largest value."""
    return bool((a - b).abs().max() <= relative * max(float(a.abs().max()), float(b.abs().max())))


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing from several threads, and lose much where other work shares the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def chunk_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Call it with a size: from then on chunks are of that size."""

    def fix(size: int) -> None:
        monkeypatch.setattr(chunks, "tuner_for", lambda *key: FixedChunk(size))

    return fix
