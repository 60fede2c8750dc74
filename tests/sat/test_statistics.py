"""Intervals and tests against textbook values and simulation."""

import math

import numpy as np
import pytest

from core.sat.sentences import in_words
from core.sat.statistics import Interval, benjamini_hochberg, bootstrap_interval, group_means, mean_interval, p_above


def test_student_interval_by_hand():
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    half = 3.182446 * math.sqrt(5 / 3) / 2  # t(0.975, 3 degrees) times the standard error
    assert interval.estimate == 2.5
    assert (interval.low, interval.high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-5)


def test_an_interval_ends_where_its_quantity_does():
    assert Interval(0.9, 0.7, 1.1, 5).within(-1, 1) == Interval(0.9, 0.7, 1, 5)
    assert Interval(-0.9, -1.2, 0.1, 5).within(-1, 1) == Interval(-0.9, -1, 0.1, 5)
    unknown = Interval(0.5, math.nan, math.nan, 1).within(-1, 1)
    assert math.isnan(unknown.low)
    assert math.isnan(unknown.high)


def test_intervals_of_nothing_and_of_one_are_not_numbers():
    assert math.isnan(mean_interval([]).estimate)
    assert math.isnan(mean_interval([2.0]).low)
    assert math.isnan(p_above([2.0], 0.0))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        interval = mean_interval(random.normal(1.0, 2.0, 12))
        hits += interval.low <= 1.0 <= interval.high
    assert 0.92 <= hits / 400 <= 0.98


def test_p_is_uniform_under_the_null():
    random = np.random.default_rng(1)
    p = np.array([p_above(random.normal(0.5, 1.0, 15), 0.5) for _ in range(400)])
    assert 0.02 <= (p < 0.05).mean() <= 0.09
    assert 0.4 <= p.mean() <= 0.6


def test_identical_values_are_decided_without_a_division_by_zero():
    assert p_above([1.0, 1.0, 1.0], 0.5) == 0.0
    assert p_above([0.2, 0.2], 0.5) == 1.0


def test_groups_count_once_however_many_pictures_they_have():
    means = group_means([0.0, 0.0, 0.0, 3.0, math.nan], ["a", "a", "a", "b", "c"])
    assert sorted(means) == [0.0, 3.0]


def test_bootstrap_is_the_same_for_the_same_seed_and_holds_the_median():
    values, groups = list(np.arange(30.0)), [str(i) for i in range(30)]
    first, again = bootstrap_interval(values, groups, seed=3), bootstrap_interval(values, groups, seed=3)
    assert first == again
    assert first.estimate == 14.5
    assert 7 < first.low < 14.5 < first.high < 22


def test_benjamini_hochberg_by_hand_and_nan_does_not_count():
    q = benjamini_hochberg([0.01, 0.04, 0.03, math.nan])
    assert q[:3] == pytest.approx([0.03, 0.04, 0.04])
    assert math.isnan(q[3])


@pytest.mark.parametrize("nothing", [1e-7, -1e-7, 0.0, -0.04])
def test_an_effect_of_nothing_reads_the_same_whatever_its_last_bit(nothing):
    verb, turned, link = in_words(Interval(nothing, nothing - 0.01, nothing + 0.01, 9), "adds", "takes")
    assert (verb, link) == ("adds", "to")
    assert turned.estimate == nothing
    assert turned.low < turned.high


def test_the_verb_turns_with_a_sign_that_is_printed():
    verb, turned, link = in_words(Interval(-0.06, -0.1, 0.2, 9), "adds", "takes")
    assert (verb, link) == ("takes", "from")
    assert (turned.estimate, turned.low, turned.high) == (0.06, -0.2, 0.1)
