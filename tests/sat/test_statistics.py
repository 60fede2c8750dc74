"""Intervals and tests against textbook values and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from core.sat.sentences import in_words
from core.sat.statistics import Interval, Mean, benjamini_hochberg, bootstrap_interval, clopper_pearson, group_means


def test_an_interval_is_at_least_students():
    interval = Mean([1.0, 2.0, 3.0, 4.0]).interval
    half = 3.182446 * math.sqrt(5 / 3) / 2  # t(0.975, 3 degrees) times the standard error
    assert (interval.estimate, interval.count) == (2.5, 4)
    assert interval.low <= 2.5 - half + 1e-5
    assert interval.high >= 2.5 + half - 1e-5


def test_an_interval_ends_where_its_quantity_does():
    assert Interval(0.9, 0.7, 1.1, 5).within(-1, 1) == Interval(0.9, 0.7, 1, 5)
    assert Interval(-0.9, -1.2, 0.1, 5).within(-1, 1) == Interval(-0.9, -1, 0.1, 5)
    unknown = Interval(0.5, math.nan, math.nan, 1).within(-1, 1)
    assert math.isnan(unknown.low)
    assert math.isnan(unknown.high)


def test_intervals_of_nothing_and_of_one_are_not_numbers():
    assert math.isnan(Mean([]).interval.estimate)
    assert Mean([2.0]).interval.estimate == 2.0
    for unknown in (Mean([2.0]).interval.low, Mean([2.0]).p_above(0.0), Mean([2.0]).least_seen(0.5)):
        assert math.isnan(unknown)


@pytest.mark.parametrize(
    ("draw", "mean", "count", "least"),
    [
        (lambda r, n: r.normal(1, 2, n), 1.0, 12, 0.93),
        (lambda r, n: r.standard_t(3, n), 0.0, 20, 0.93),
        (lambda r, n: r.lognormal(0, 1, n), math.exp(0.5), 20, 0.9),
        (lambda r, n: r.lognormal(0, 1, n), math.exp(0.5), 60, 0.92),
    ],
    ids=["normal", "heavy tails", "skew", "skew, 60"],
)
def test_intervals_cover_the_truth_about_as_often_as_they_say(draw, mean, count, least):
    random = np.random.default_rng(0)
    intervals = [Mean(draw(random, count)).interval for _ in range(400)]
    covered = np.mean([one.low <= mean <= one.high for one in intervals])
    assert least - 0.02 <= covered <= 0.99  # 400 draws leave 0.02 open


def test_p_is_at_most_uniform_under_the_null():
    random = np.random.default_rng(1)
    p = np.array([Mean(random.normal(0.5, 1.0, 15)).p_above(0.5) for _ in range(400)])
    assert 0.02 <= (p < 0.05).mean() <= 0.08
    assert 0.4 <= p.mean() <= 0.6


def test_p_below_mirrors_p_above_and_falls_with_distance():
    values = np.random.default_rng(2).normal(0, 1, 30)
    mean = Mean(values)
    assert [mean.p_above(t) for t in (-9, -2, -1, 0, 1)] == sorted(mean.p_above(t) for t in (-9, -2, -1, 0, 1))
    assert 0 < mean.p_above(-9) < 1e-12  # far beyond what can be drawn
    assert mean.p_below(-0.2) == pytest.approx(1 - mean.p_above(-0.2), abs=0.1)


def test_identical_values_are_decided_without_a_division_by_zero():
    same = Mean([1.0, 1.0, 1.0])
    assert (same.interval.low, same.interval.high) == (1.0, 1.0)
    assert (same.p_above(0.5), same.p_below(0.5)) == (0.0, 1.0)
    assert Mean([0.2, 0.2]).p_above(0.5) == 1.0


def test_one_odd_value_bounds_something():
    interval = Mean([5.0, *[0.0] * 59]).interval
    assert interval.low < 0 < interval.high < 1


def test_what_would_go_unseen_is_seen_four_times_of_five():
    random = np.random.default_rng(3)
    least = np.mean([Mean(random.normal(0, 1, 40)).least_seen(0.5) for _ in range(50)])
    found = np.mean([Mean(random.normal(least, 1, 40)).p_above(0.5) <= 0.05 for _ in range(300)])
    assert 0.72 <= found <= 0.86


def test_bounds_of_a_share_are_the_textbook_ones():
    assert clopper_pearson(0, 29) == (0.0, pytest.approx(1 - 0.05 ** (1 / 29)))
    assert clopper_pearson(29, 29) == (pytest.approx(0.05 ** (1 / 29)), 1.0)
    low, high = clopper_pearson(3, 40)
    assert stats.binom.sf(2, 40, low) == pytest.approx(0.05)
    assert stats.binom.cdf(3, 40, high) == pytest.approx(0.05)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


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
