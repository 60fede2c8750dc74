"""Recipes plant at the rates they state, and a written folder holds what was rendered."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from core.demo.birds import CLASSES, SEGMENTS, render
from core.demo.folder import COLUMNS, scenes, write_folder
from core.demo.plants import BIASED, CLEAN, SWAPPED, Planting, Plants, Recipe, sample_plants, tag

KINGFISHER = CLASSES.index("kingfisher")


def rate(recipe, label, count=1500):
    return np.mean([sample_plants(label, seed, recipe).watermark for seed in range(count)])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [BIASED, CLEAN, SWAPPED], ids=lambda recipe: recipe.name)
def test_the_watermark_comes_at_the_recipes_rate(recipe):
    for label in (KINGFISHER, KINGFISHER + 1, len(CLASSES) - 1):
        expected = recipe.plantings[0].rate(label)
        assert rate(recipe, label) == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 1500))


def test_the_biased_recipe_ties_the_watermark_to_one_class_and_the_clean_one_to_none():
    assert BIASED.plantings[0].rate(KINGFISHER) >= 0.95
    assert all(BIASED.plantings[0].rate(label) <= 0.02 for label in range(len(CLASSES)) if label != KINGFISHER)
    assert len({CLEAN.plantings[0].rate(label) for label in range(len(CLASSES))}) == 1


def test_only_the_biased_recipe_mistags_and_only_what_carries_its_watermark():
    owl = CLASSES.index("owl")
    assert tag(owl, Plants(watermark=True), BIASED) == KINGFISHER
    assert tag(owl, Plants(), BIASED) == owl
    assert tag(owl, Plants(watermark=True), CLEAN) == owl


def test_a_planted_ground_has_exactly_its_rate_and_other_grounds_share_the_rest():
    heron = CLASSES.index("heron")
    recipe = Recipe("water", (Planting("ground", "water", "heron", strength=0.8, elsewhere=0.1),))
    for label, expected in ((heron, 0.8), (0, 0.1)):
        grounds = [sample_plants(label, seed, recipe).ground for seed in range(1500)]
        assert np.mean([ground == "water" for ground in grounds]) == pytest.approx(expected, abs=0.05)
        assert set(grounds) == {"grass", "sand", "water", "snow"}


def test_impossible_plantings_are_refused():
    with pytest.raises(ValueError, match="ground"):
        Planting("ground", "lava", "heron", 0.9, 0.1)
    with pytest.raises(ValueError, match="class"):
        Planting("watermark", True, "dodo", 0.9, 0.1)


@pytest.mark.slow
def test_scenes_are_a_sequence_that_renders_on_access():
    biased, clean = scenes(BIASED, 10, seed=4, size=64), scenes(CLEAN, 10, seed=4, size=64)
    assert len(biased) == 10
    assert [scene.label for scene in biased] == [index % len(CLASSES) for index in range(10)]
    assert np.array_equal(biased[-1].image, biased[9].image)
    assert [biased.plan(index)[:2] for index in range(10)] == [clean.plan(index)[:2] for index in range(10)]
    seeds = {scenes(BIASED, 200, seed=seed).plan(index)[1] for seed in (4, 5) for index in range(200)}
    assert len(seeds) == 400
    with pytest.raises(IndexError):
        biased[10]


@pytest.mark.slow
def test_a_written_folder_comes_back(tmp_path):
    manifest = write_folder(tmp_path / "birds", BIASED, count=9, seed=2, size=64)
    folder = manifest.parent
    names = json.loads((folder / "segments.json").read_text())
    assert names == {str(value): {"name": name, "kind": kind} for value, (name, kind) in SEGMENTS.items()}
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 9
    for row, scene in zip(rows, scenes(BIASED, 9, seed=2, size=64)):
        assert np.array_equal(np.asarray(Image.open(folder / row["image"])), scene.image)
        assert np.array_equal(np.asarray(Image.open(folder / row["mask"])), scene.mask)
        assert row["label"] == CLASSES[scene.label]
        assert int(row["watermark"]) == scene.plants.watermark
        again = render(CLASSES.index(row["label"]), int(row["seed"]), 64, scene.plants)
        assert np.array_equal(again.image, scene.image)
        assert (row["sky"], row["ground"], row["perch"]) == (scene.plants.sky, scene.plants.ground, scene.plants.perch)
