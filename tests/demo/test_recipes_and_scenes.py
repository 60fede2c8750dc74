"""Recipes plant at the rates they state, and data sets render as they are read."""

import numpy as np
import pytest

from core.demo.birds import CLASSES
from core.demo.plants import BIASED, CLEAN, SWAPPED, Planting, Plants, Recipe, sample_plants, tag
from core.demo.scenes import scenes

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
