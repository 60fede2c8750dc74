"""Random masks and segments that the tests of every format share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from text_models import WRITERS

from core.errors import UserError
from core.segments import KINDS, Mask, Segment, Segments, default_kind

SIZES = [(1, 1), (1, 9), (7, 1), (2, 2), (5, 8), (13, 6), (32, 32), (17, 40)]
NAMES = ("beak", "eye", "Beak", "a/b", "..", "<b>wing</b>", "\N{BIRD} é 鳥", "128", "CON", "x" * 200, "")


def random_mask(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """bool [h, w]: noise, a box, a ring, a blob or everything; empty now and then."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    centre = rng.random(2) * size
    distance = np.hypot(rows - centre[0], columns - centre[1])
    radius = rng.random() * max(size)
    return [
        lambda: rng.random(size) < rng.random(),
        lambda: (rows >= centre[0]) & (columns <= centre[1]),
        lambda: (distance < radius) & (distance >= radius / 2),
        lambda: distance < radius,
        lambda: np.ones(size, bool),
    ][rng.integers(5)]()


@pytest.fixture
def refused() -> Callable[..., None]:
    """refused(call, *words): it ends in a sentence of one line with all these words."""

    def check(call: Callable[[], object], *words: str) -> None:
        with pytest.raises(UserError) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert all(word in str(caught.value) for word in words), caught.value

    return check


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request) -> tuple[int, int]:
    return request.param


@pytest.fixture
def make_masks() -> Callable[..., list[np.ndarray]]:
    """make_masks(size, count, seed)"""

    def make(size: tuple[int, int], count: int = 12, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng([seed, *size])
        return [random_mask(rng, size) for _ in range(count)]

    return make


@pytest.fixture
def make_segments() -> Callable[..., Segments]:
    """make_segments(size, seed): overlapping segments, none empty, with every kind of name and provenance."""

    def make(size: tuple[int, int], seed: int = 0, overlaps: bool = True, count: int = 9) -> Segments:
        rng = np.random.default_rng([seed, *size])
        taken = np.zeros(size, bool)
        items = []
        for _ in range(count):
            dense = random_mask(rng, size)
            if not overlaps:
                dense &= ~taken
                taken |= dense
            if not dense.any():
                continue
            name = NAMES[rng.integers(len(NAMES))]
            plain = rng.random() < 0.4
            items.append(
                Segment(
                    Mask.from_dense(dense),
                    name,
                    kind=default_kind(name) if plain else KINDS[rng.integers(3)],
                    score=None if plain else float(rng.normal()),
                    source="files" if plain else "sam:compact",
                    naming=("file" if plain else "proposed") if name else "",
                    confidence=float(rng.random()) if name and not plain else None,
                )
            )
        return Segments(size, tuple(items))

    return make


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory) -> Callable[[str], Path]:
    """reader_folder(name): a tiny model that reads words, for the segmenter of that name."""
    root, made = tmp_path_factory.mktemp("readers"), {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = WRITERS[name](root / f"tiny-{name}")
        return made[name]

    return folder
