"""What a person does to one picture's segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.errors import UserError
from core.segments import edits
from core.segments.mask import Mask
from core.segments.saved.records import mask_key
from core.segments.segments import MIN_AREA, Segment, Segments

SIZE = (40, 60)


def box(top: int, left: int, height: int, width: int) -> Mask:
    dense = np.zeros(SIZE, bool)
    dense[top : top + height, left : left + width] = True
    return Mask.from_dense(dense)


WING, TAIL = box(0, 0, 10, 10), box(5, 5, 10, 10)  # they share 25 pixels
FAR = box(30, 40, 6, 8)
THREE = Segments(
    SIZE,
    (
        Segment(WING, "wing", "object", 0.9, "sam:compact", "accepted", 0.8),
        Segment(TAIL, "tail", naming="proposed", confidence=0.4),
        Segment(FAR),
    ),
)


def keys(*masks: Mask) -> list[str]:
    return [mask_key(mask) for mask in masks]


def test_a_typed_name_replaces_any_other_and_an_empty_one_takes_it_away() -> None:
    done = edits.rename(keys(TAIL, FAR), " foot ")(THREE)
    assert [(item.name, item.naming, item.confidence) for item in done.segments] == [
        ("wing", "accepted", 0.8), ("foot", "typed", None), ("foot", "typed", None),
    ]  # fmt: skip
    assert done.action == "named 2 masks foot"
    assert not done.nameless
    bare = edits.rename(keys(WING), "")(THREE)
    assert bare.segments.items[0].name == bare.segments.items[0].naming == ""
    assert bare.nameless == set(keys(WING))
    assert THREE.items[0].name == "wing"  # nothing is changed in place


def test_accepting_agrees_with_proposals_only() -> None:
    done = edits.accept(keys(WING, TAIL))(THREE)
    assert [item.naming for item in done.segments] == ["accepted", "accepted", ""]
    assert done.segments.items[1].confidence == 0.4
    with pytest.raises(UserError, match="proposed"):
        edits.accept(keys(WING, FAR))(THREE)


def test_merging_unites_the_masks_under_the_largest_name_that_a_person_gave() -> None:
    done = edits.merge(keys(WING, FAR))(THREE)
    whole = done.segments.items[0]
    assert whole.mask == WING.union(FAR)
    assert whole.name == "wing"
    assert whole.source == edits.DRAWN
    assert done.touched == (mask_key(whole.mask),)
    assert len(done.segments) == 2
    # the proposal was for a mask that is no more
    assert edits.merge(keys(TAIL, FAR))(THREE).segments.items[1].name == ""
    with pytest.raises(UserError, match="two or more"):
        edits.merge(keys(WING))(THREE)


def test_splitting_gives_the_pieces_back_the_largest_first() -> None:
    merged = edits.merge(keys(WING, FAR))(THREE).segments
    done = edits.split([mask_key(merged.items[0].mask)])(merged)
    assert [item.mask for item in done.segments][:2] == [WING, FAR]
    assert [item.name for item in done.segments] == ["wing", "wing", "tail"]
    with pytest.raises(UserError, match="one piece"):
        edits.split(keys(WING))(THREE)


def test_crumbs_go_in_a_split() -> None:
    crumb = box(38, 58, 2, 2)
    assert crumb.area < MIN_AREA
    both = Segments(SIZE, (Segment(WING.union(FAR, crumb)),))
    done = edits.split([mask_key(both.items[0].mask)])(both)
    assert [item.mask for item in done.segments] == [WING, FAR]


def test_of_two_masks_the_smaller_is_taken_out_of_the_larger() -> None:
    small = box(2, 2, 4, 4)
    two = Segments(SIZE, (Segment(small, "eye"), Segment(WING, "wing")))
    done = edits.split(keys(WING, small))(two)
    assert [item.name for item in done.segments] == ["eye", "wing"]
    rest = done.segments.items[1].mask
    assert rest.area == WING.area - small.area
    assert rest.union(small) == WING
    with pytest.raises(UserError, match="do not overlap"):
        edits.split(keys(WING, FAR))(THREE)
    with pytest.raises(UserError, match="one mask"):
        edits.split(keys(WING, TAIL, FAR))(THREE)


def test_adding_refuses_crumbs_and_masks_that_are_there() -> None:
    new = box(20, 20, 5, 5)
    done = edits.add(new, "sam:compact", 0.7)(THREE)
    added = done.segments.items[-1]
    assert (added.mask, added.source, added.score, added.name) == (new, "sam:compact", 0.7, "")
    with pytest.raises(UserError, match="at least 16"):
        edits.add(box(0, 0, 3, 5))(THREE)
    with pytest.raises(UserError, match="there already"):
        edits.add(FAR)(THREE)


def test_a_new_cut_replaces_what_no_person_named() -> None:
    found = Segments(SIZE, (Segment(WING), Segment(box(0, 30, 20, 20))))
    by_model = replace(THREE, items=(*THREE.items, Segment(box(20, 0, 5, 9), "grass", naming="model")))
    done = edits.recut(found)(by_model)
    assert [item.name for item in done.segments] == ["wing", ""]
    assert done.segments.items[1].mask == found.items[1].mask


@pytest.mark.parametrize("edit", [edits.delete, edits.merge, edits.split, edits.accept, lambda k: edits.rename(k, "x")])
def test_an_edit_says_when_nothing_is_chosen_or_it_is_gone(edit) -> None:
    with pytest.raises(UserError, match="Choose a mask first"):
        edit([])(THREE)
    with pytest.raises(UserError, match="not there any more"):
        edit([*keys(WING), "0" * 24])(THREE)


def test_deleting_leaves_the_others_in_order() -> None:
    assert edits.delete(keys(TAIL))(THREE).segments.names == ("wing", "")
    assert len(edits.delete(keys(WING, TAIL, FAR))(THREE).segments) == 0


@pytest.mark.parametrize("name", ["a" * 10_000, "two\nlines"])
def test_names_that_cannot_be_kept_are_refused_before_anything_is_done(name: str) -> None:
    with pytest.raises(UserError, match=r"shorten it|line break"):
        edits.rename(keys(WING), name)


def test_two_segments_on_one_mask_are_told_apart() -> None:
    two = Segments(SIZE, (Segment(WING, "beak"), Segment(FAR), Segment(WING, "bill"), Segment(WING, "bill")))
    first, _, second, third = edits.segment_keys(two)
    assert edits.rename([second], "nib")(two).segments.names == ("beak", "", "nib", "bill")
    assert edits.delete([third])(two).segments.names == ("beak", "", "bill")
    assert edits.delete([first])(two).action == "deleted 1 mask"
    assert edits.merge([second, third])(two).touched == (second,)  # the same mask once more
