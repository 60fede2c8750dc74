"""Changed pictures on a world whose masks are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy import write_toy

from core.data import open_dataset
from core.errors import UserError
from core.repair.counterfactuals import Counterfactuals
from core.repair.faults import Fault

MARK = Fault("segment", "mark", "stamped", "")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_dataset(write_toy(tmp_path_factory.mktemp("toy"), 12))


def blue(image) -> int:
    """Pixels as blue as only the mark is."""
    array = np.asarray(image).astype(int)
    return int((array[..., 2] - array[..., 0] > 120).sum())


def test_a_segment_is_removed_where_it_is_and_pasted_where_it_is_not(data):
    made = list(Counterfactuals(data.items, MARK, (48, 48), 0).all(1))
    assert [one.done for one in made] == ["pasted", "removed"] * 6
    assert all(blue(one.image) == (48 if one.done == "pasted" else 0) for one in made)
    donors = [one.donor for one in made if one.done == "pasted"]
    assert len(set(donors)) > 1
    assert all(item.label == "stamped" for item in data.items if item.id in donors)


def test_copies_differ_and_the_seed_decides(data):
    made = Counterfactuals(data.items, MARK, (48, 48), 0)
    again = Counterfactuals(data.items, MARK, (48, 48), 0)
    first, second = (np.asarray(made.made(1, copy).image) for copy in (0, 1))
    assert not np.array_equal(first, second)  # another fill
    assert np.array_equal(first, np.asarray(again.made(1, 0).image))
    assert made.made(0, 0).donor != made.made(0, 1).donor


def test_what_is_large_is_swapped_with_another_classes(data):
    made = [one for one in Counterfactuals(data.items, replace(MARK, name="sky"), (48, 48), 0).all(1) if one]
    labels = {item.id: item.label for item in data.items}
    assert [one.done for one in made] == ["swapped"] * 12
    assert all(labels[one.donor] != one.item.label for one in made)


def test_a_property_is_given_by_another_class(data):
    fault = Fault("property", "brightness", "stamped", "")
    made = Counterfactuals(data.items, fault, (48, 48), 0).made(0, 0)
    donor = next(item for item in data.items if item.id == made.donor)
    lent, own = (np.asarray(one.picture().image).mean() for one in (donor, data.items[0]))
    assert abs(np.asarray(made.image).mean() - lent) < abs(own - lent)


def test_large_pictures_are_reduced(data):
    made = Counterfactuals(data.items, MARK, (12, 12), 0).made(1, 0)
    assert made.image.size == (24, 24)


def test_nothing_to_lend_is_told(data):
    with pytest.raises(UserError, match="shows ruler"):
        Counterfactuals(data.items, replace(MARK, name="ruler"), (48, 48), 0)
    with pytest.raises(UserError, match="one class"):
        Counterfactuals(data.items[1::2], replace(MARK, name="sky"), (48, 48), 0)
