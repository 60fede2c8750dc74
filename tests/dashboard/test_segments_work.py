"""The Segments tab without a browser: what is drawn, what is saved, and two visitors at once."""

from __future__ import annotations

import base64
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from core.data import Dataset, Item, no_segments
from core.errors import UserError
from core.images import Picture
from core.segments import edits
from core.segments.colours import coloured
from core.segments.mask import Mask
from core.segments.naming.review import Review
from core.segments.saved.records import mask_key
from core.segments.saved.store import Store
from core.segments.segments import Segment, Segments
from dashboard.segments.drawing import (
    close_up,
    holder,
    masks_data,
    picture_data,
    progress_html,
    state_data,
    strip_html,
)
from dashboard.segments.layers import layers
from dashboard.segments.of_page import SavedSegments, page_data, picture_id
from dashboard.segments.work import Bench, Work
from tests.dashboard.conftest import photo

SIZE = (60, 90)


def disc(y: float, x: float, radius: float, size: tuple[int, int] = SIZE) -> Mask:
    ys, xs = np.mgrid[: size[0], : size[1]]
    return Mask.from_dense((ys - y) ** 2 + (xs - x) ** 2 < radius**2)


LEFT, RIGHT, SMALL = disc(30, 30, 15), disc(30, 60, 20), disc(30, 32, 4)
CUT = Segments(SIZE, (Segment(LEFT), Segment(RIGHT), Segment(SMALL)))


def dataset(count: int = 3) -> Dataset:
    def item(seed: int) -> Item:
        name = f"{seed}.png"
        return Item(name, None, lambda: Picture(photo(seed=seed), name), no_segments)

    return Dataset("three", "three", tuple(item(seed) for seed in range(count)))


def bench(folder: Path, by: str = "one") -> Bench:
    return Bench(Work(dataset(), Store(folder, by)))


def test_every_pixel_knows_its_masks_the_smallest_first() -> None:
    laid = layers(CUT, SIZE)
    dense = CUT.masks
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            here = np.flatnonzero(dense[:, y, x])
            assert sorted(here) == sorted(laid.members[laid.sets[y, x]])
    assert laid.members[laid.sets[30, 32]] == (2, 0)
    for mask, anchor in zip(dense, laid.anchors):
        assert anchor is not None
        assert mask[int(anchor[1] * SIZE[0]), int(anchor[0] * SIZE[1])]


def test_layers_on_a_smaller_copy_and_of_no_masks() -> None:
    laid = layers(CUT, (30, 45))
    assert laid.sets.shape == (30, 45)
    assert {place for members in laid.members for place in members} == {0, 1, 2}
    nothing = layers(Segments(SIZE, ()), SIZE)
    assert not nothing.sets.any()
    assert nothing.members == ((),)


def test_the_page_gets_what_the_script_needs(tmp_path: Path) -> None:
    one = bench(tmp_path / "store")
    one.apply(edits.recut(CUT))
    one.apply(edits.rename([mask_key(LEFT)], '"><script>alert(1)</script>'))
    values, state = masks_data(one), state_data(one, coloured, [mask_key(LEFT)], "said")
    sets = np.frombuffer(zlib.decompress(base64.b64decode(values["map"])), np.uint32).reshape(values["size"])
    assert [values["segments"][place]["key"] for place in values["sets"][sets[30, 20]]] == [mask_key(LEFT)]
    assert [entry["naming"] for entry in values["segments"]] == ["typed", "", ""]
    assert (state["undo"], state["redo"], state["chosen"]) == (True, False, [mask_key(LEFT)])
    assert [(entry["name"][:3], entry["count"]) for entry in state["names"]] == [('"><', 1)]
    text = holder("masks", values) + holder("state", state)
    assert "<script>" not in text  # a name is data
    assert picture_data(one)["size"] == SIZE
    assert 'class="named" aria-current=true' in strip_html(one)
    assert "1 of 3 named" in progress_html(one.work)


def test_everything_is_saved_as_it_happens_and_can_be_undone_to_the_start(tmp_path: Path) -> None:
    one = bench(tmp_path / "store")
    one.apply(edits.add(LEFT))
    one.apply(edits.rename([mask_key(LEFT)], "wing"))
    again = bench(tmp_path / "store", "after a crash")
    assert again.segments is not None
    assert again.segments.names == ("wing",)
    with pytest.raises(UserError, match=r"last change here is by one \(named 1 mask wing\).*press Undo again"):
        again.undo()
    assert again.undo() == "took back: named 1 mask wing (by one)"
    again.undo()
    assert again.segments is not None
    assert len(again.segments) == 0
    with pytest.raises(UserError, match="nothing to undo"):
        again.undo()
    again.redo()
    assert again.redo() == "named 1 mask wing"
    assert again.segments is not None
    assert again.segments.names == ("wing",)


def test_two_browsers_keep_both_changes(tmp_path: Path) -> None:
    one, two = bench(tmp_path / "store", "browser 1"), bench(tmp_path / "store", "browser 2")
    one.apply(edits.recut(CUT))
    two.apply(edits.add(disc(10, 80, 6)))  # two still had the empty picture in view
    assert two.segments is not None
    assert len(two.segments) == 4
    assert one.newer() == "browser 2 changed this picture (cut a mask); this is how it is now."
    one.apply(edits.rename([mask_key(LEFT)], "wing"))
    two.apply(edits.rename([mask_key(RIGHT)], "tail"))
    assert two.segments.names == ("wing", "tail", "", "")
    one.apply(edits.delete([mask_key(SMALL)]))
    with pytest.raises(UserError, match="not there any more"):
        two.apply(edits.rename([mask_key(SMALL)], "eye"))  # said, not done silently
    assert two.segments.names == ("wing", "tail", "")


def test_nobody_undoes_what_they_have_not_seen(tmp_path: Path) -> None:
    one, two = bench(tmp_path / "store", "browser 1"), bench(tmp_path / "store", "browser 2")
    one.apply(edits.add(LEFT))
    two.open("0.png")
    one.apply(edits.rename([mask_key(LEFT)], "wing"))
    with pytest.raises(UserError, match=r"browser 1 changed this picture \(named 1 mask wing\).*press again"):
        two.undo()
    assert two.segments is not None
    assert two.segments.names == ("wing",)
    assert two.undo() == "took back: named 1 mask wing (by browser 1)"


def test_what_is_typed_or_undone_on_the_picture_teaches_the_review(tmp_path: Path) -> None:
    one, other = bench(tmp_path / "store"), bench(tmp_path / "store", "browser 2")
    for picture in ("0.png", "1.png"):
        one.open(picture)
        one.apply(edits.recut(CUT))
    one.apply(edits.rename([mask_key(LEFT)], "wing"))
    one.review = Review(one.work.data, one.work.store)
    list(one.review.gather())
    assert one.review.left == 5
    first = one.review.questions(9)[0]
    one.open(first.picture)
    one.apply(edits.rename([first.key], "crest"))
    assert first.key not in {question.key for question in one.review.questions(9) if question.picture == first.picture}
    assert "crest" in {name for question in one.review.questions(9) for name, _ in question.others} | {
        question.name for question in one.review.questions(9)
    }
    one.undo()
    assert one.review.left == 5
    second = one.review.questions(9)[0]
    one.review.accept(second)
    one.open(second.picture)
    one.undo()
    assert one.review.left == 5
    other.open(second.picture)
    other.apply(edits.delete([second.key]))
    one.newer()
    assert one.review.left == 4


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    benches = [bench(tmp_path / "store", f"browser {number}") for number in range(4)]
    benches[0].apply(edits.add(LEFT))

    def work(number: int) -> None:
        for step in range(4):
            benches[number].apply(edits.add(disc(5 + 4 * step, 10 + 20 * number, 3 + number / 10)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    benches[0].open("0.png")
    assert benches[0].segments is not None
    assert len(benches[0].segments) == 17


def test_stepping_goes_round_and_a_picture_that_is_gone_is_said(tmp_path: Path) -> None:
    one = bench(tmp_path / "store")
    one.step(-1)
    assert one.picture == "2.png"
    one.step(2)
    assert one.picture == "1.png"
    one.use(dataset(1))
    assert one.picture == "0.png"
    with pytest.raises(UserError, match="choose another"):
        one.open("1.png")


def test_a_close_up_shows_the_mask_bright_and_the_rest_dim() -> None:
    picture = Picture(photo(), "photo")
    shown = close_up(picture, LEFT, 64).astype(float)
    plain = np.asarray(picture.image.crop((0, 0, 60, 60)).resize((64, 64)), float)
    assert abs(shown[32, 32].mean() - plain[32, 32].mean()) < 12
    assert shown[2, 2].mean() < 0.6 * plain[2, 2].mean()
    assert close_up(Picture(photo(20, 400), "wide"), disc(10, 395, 5, (20, 400)), 32).shape == (32, 32, 3)


def test_names_given_here_are_what_the_explain_tab_lies_evidence_on(tmp_path: Path) -> None:
    from dashboard.pictures import Pictures

    saved = SavedSegments(lambda: tmp_path / "store")
    path = tmp_path / "photo.png"
    photo().save(path)
    source = Pictures(saved).read(path)
    assert saved.version(source) == 0
    assert saved.named(source, SIZE) is None
    one = Bench(Work(page_data([source]), Store(tmp_path / "store")))
    assert one.picture == picture_id(source)
    one.apply(edits.add(LEFT))
    assert saved.named(source, SIZE) is None  # nothing has a name yet
    one.apply(edits.rename([mask_key(LEFT)], "wing"))
    found = saved.named(source, (30, 45))
    assert found is not None
    assert found.names == ("wing",)
    assert found.size == (30, 45)
    assert saved.version(source) == 3


def test_a_kind_is_taken_back_as_a_name_is(tmp_path: Path) -> None:
    place = bench(tmp_path)
    place.apply(edits.add(LEFT, "drawn", None))
    key = mask_key(LEFT)

    def it() -> tuple[str, str]:
        assert place.segments is not None
        return place.segments.items[0].name, place.segments.items[0].kind

    place.apply(edits.rename([key], "ring"))
    place.set_kind("ring", "object")
    assert it() == ("ring", "object")
    assert place.undo() == "ring is of kind unset again"
    assert it() == ("ring", "unset")
    place.set_kind("ring", "context")
    place.apply(edits.rename([key], "hoop"))
    place.undo()  # the name, which was changed last
    assert it() == ("ring", "context")
    place.undo()
    assert it() == ("ring", "unset")


def test_a_kind_chosen_for_a_name_of_the_data_set_holds_before_anything_is_saved(tmp_path: Path) -> None:
    named = Segments(SIZE, (Segment(LEFT, "mark", naming="file"), Segment(RIGHT, "bird", naming="file")))
    items = tuple(Item(f"{s}.png", None, lambda s=s: Picture(photo(seed=s), "x"), lambda: named) for s in range(2))
    place = Bench(Work(Dataset("two", "two", items), Store(tmp_path)))
    place.work.store.set_kind("mark", "context")
    place.open("0.png")
    assert place.record is None
    assert place.segments.kinds == ("context", "unset")
    place.apply(edits.rename([mask_key(RIGHT)], "mark"))
    assert place.segments.kinds == ("context", "context")
    place.undo()
    assert (place.segments.names, place.segments.kinds) == (("mark", "bird"), ("context", "unset"))
    place.open("1.png")
    assert place.segments.kinds == ("context", "unset")
