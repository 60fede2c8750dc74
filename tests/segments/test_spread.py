"""A whole data set cut and named: from examples, taken up again, beside people who work on it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from parts import NAMES, draw, examples, nameless, parts_data
from PIL import Image

from core.data import Dataset, Item
from core.errors import UserError
from core.images import Picture
from core.runtime.versions import WriteError
from core.segments import Segments
from core.segments.files import coco, open_segments
from core.segments.naming.descriptions import Descriptions, Encoder, sam_encoder
from core.segments.naming.spread import name_dataset, segment_dataset
from core.segments.saved.records import mask_key
from core.segments.saved.store import Store


def run(steps) -> list:
    return [(step.stage, step.done, step.total) for step in steps]


def test_names_spread_from_three_pictures(tmp_path):
    store, data = Store(tmp_path), parts_data(8)
    steps = run(name_dataset(data, store, examples(0, 3, 5)))
    assert steps == [(stage, n, 8) for stage in ("describing", "naming") for n in range(1, 9)]
    for item in data.items:
        record = store.load(item.id)
        assert record.segments.names == NAMES
        certain = item.id in ("0", "3", "5")
        assert {s.naming for s in record.segments} == {"file" if certain else "proposed"}
        assert all((s.confidence is None) == certain and (certain or s.confidence > 0.5) for s in record.segments)
        assert record.segments.kinds == ("unset",) * 3
    assert (store.tally(8).named, store.tally(8).proposed) == (3, 5)


@pytest.mark.slow
def test_kinds_go_with_names_and_not_with_masks(tmp_path):
    """The kinds of examples hold for all that is proposed; a mask does not keep that of a name it had before."""
    shown = {
        picture: replace(masks, items=tuple(replace(s, kind="context") if s.name == "bar" else s for s in masks))
        for picture, masks in examples(2, 3, 5).items()  # the first picture that is named is no example
    }
    store, data = Store(tmp_path), parts_data(6)
    old = nameless(draw(4)[1])
    wrong = tuple(replace(s, name="old", kind="context", naming="proposed", confidence=0.6) for s in old)
    store.save("4", replace(old, items=wrong), None, "proposed")
    list(name_dataset(data, store, shown))
    for item in data.items:
        kinds = dict(zip(store.load(item.id).segments.names, store.load(item.id).segments.kinds))
        assert kinds == {"behind": "unset", "disc": "unset", "bar": "context"}
    store.set_kind("bar", "object")
    list(name_dataset(data, store, examples(0, 1, 2)))
    assert {store.load(item.id).segments.kinds for item in data.items} == {("unset", "unset", "object")}


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(tmp_path):
    looked_at: list[str] = []
    store, data, shown = Store(tmp_path), parts_data(6, looked_at.append), examples(0, 1, 2)
    list(itertools.islice(name_dataset(data, store, shown), 4))  # killed while describing
    assert looked_at == ["0", "1", "2", "3"]
    list(itertools.islice(name_dataset(data, store, shown), 6 + 3))  # killed while naming
    assert looked_at == ["0", "1", "2", "3", "4", "5"]
    third = store.load("2")
    assert store.load("3") is None
    list(name_dataset(data, Store(tmp_path), shown))
    assert len(looked_at) == 6
    assert store.load("2") == third  # not named again
    before = [store.load(item.id) for item in data.items]
    list(name_dataset(data, store, shown))
    assert [store.load(item.id) for item in data.items] == before
    whole = Store(tmp_path / "at once")
    list(name_dataset(data, whole, shown))
    assert [whole.load(item.id).segments for item in data.items] == [record.segments for record in before]


@pytest.mark.slow
def test_what_people_did_stays_and_teaches(tmp_path):
    """Names in the store are examples, too; a mask that was left without a name stays so."""
    store, data = Store(tmp_path), parts_data(6)
    for seed in (0, 1, 2):
        masks = draw(seed)[1]
        typed = tuple(replace(s, naming="typed") if s.name != "bar" else replace(s, name="", naming="") for s in masks)
        bar = mask_key(masks.items[2].mask)
        store.save(str(seed), replace(masks, items=typed), None, "typed", nameless=frozenset({bar}))
    list(name_dataset(data, store))
    assert [store.load(str(seed)).version for seed in (0, 1, 2)] == [1, 1, 1]
    assert [store.load(str(seed)).segments.names for seed in (3, 4, 5)] == [("behind", "disc", "")] * 3
    # now the first bar has a name after all, and all proposals are made anew
    record = store.load("0")
    named = (*record.segments.items[:2], replace(record.segments.items[2], name="bar", naming="typed"))
    store.save("0", replace(record.segments, items=named), record, "typed", nameless=frozenset())
    for seed in (1, 2):
        record = store.load(str(seed))
        store.save(str(seed), record.segments, record, "", nameless=frozenset())
    list(name_dataset(data, store))
    assert {store.load(str(seed)).segments.names for seed in range(6)} == {NAMES}
    assert [s.naming for s in store.load("1").segments] == ["typed", "typed", "proposed"]


def test_someone_saves_while_it_runs(tmp_path, monkeypatch):
    store, other, data = Store(tmp_path), Store(tmp_path, by="Anna"), parts_data(4)
    masks = nameless(draw(3)[1])
    typed = (replace(masks.items[0], name="mine", naming="typed"), *masks.items[1:])
    save = store.save

    def late(picture, *rest, **named):
        if picture == "3" and other.load("3") is None:
            other.save("3", replace(masks, items=typed), None, "typed mine")
        return save(picture, *rest, **named)

    monkeypatch.setattr(store, "save", late)
    list(name_dataset(data, store, examples(0, 1, 2)))
    record = other.load("3")
    assert record.version == 2
    assert record.segments.names == ("mine", "disc", "bar")
    assert [s.naming for s in record.segments] == ["typed", "proposed", "proposed"]


def test_examples_lie_where_they_lie(tmp_path):
    """An example names the mask it covers; one that covers none becomes a mask; a picture without masks gets them."""
    data = parts_data(4)
    bare = replace(data.items[1], segments=lambda: None)
    data = replace(data, items=(data.items[0], bare, *data.items[2:]))
    shown = examples(0, 1, 2)
    disc = shown["0"].items[1]
    corner = np.zeros(disc.mask.size, bool)
    corner[:3, :3] = True
    extra = Segments.from_masks(corner[None], ("corner",), ("context",))
    shown["0"] = replace(shown["0"], items=(disc, *extra))
    list(name_dataset(data, Store(tmp_path), shown))
    store = Store(tmp_path)
    first = store.load("0").segments
    assert (first.names[1], first.names[3], len(first)) == ("disc", "corner", 4)
    assert [s.naming for s in first][1::2] == ["file", "file"]
    assert store.load("1").segments.names == NAMES
    assert store.kinds["corner"] == "context"


@pytest.mark.slow
def test_two_names_for_one_mask(tmp_path):
    """Examples may call one mask by two names, or by one that it has; naming again adds nothing."""
    data, store, shown = parts_data(3), Store(tmp_path), examples(0, 1)
    disc = shown["0"].items[1]
    edge = np.array(disc.mask.decode())
    edge[disc.mask.box[1]] = False  # about the same mask
    near = Segments.from_masks(edge[None], ("button",), ("unset",))
    shown["0"] = replace(shown["0"], items=(*shown["0"].items, *near, disc))
    for _ in range(2):
        list(name_dataset(data, store, shown))
        record = store.load("0")
        assert record.segments.names == (*NAMES, "button")
        assert {s.naming for s in record.segments} == {"file"}
        # what has only one name, by a person, keeps that
        typed = replace(record.segments.items[1], name="mine", naming="typed")
        kept = Segments(record.segments.size, (record.segments.items[0], typed, record.segments.items[2]))
        other = Store(tmp_path / "typed")
        other.save("0", kept, other.load("0"), "typed mine")
        list(name_dataset(data, other, shown))
        assert other.load("0").segments.names == ("behind", "mine", "bar")


def test_what_no_named_mask_covers_on_request(tmp_path):
    data, store = parts_data(4), Store(tmp_path)
    some = {seed: Segments(found.size, found.items[1:]) for seed, found in examples(0, 1).items()}
    bare = replace(data, items=tuple(replace(item, segments=lambda: None) for item in data.items[:2]))
    list(name_dataset(bare, store, some))
    assert store.load("0").segments.names == NAMES[1:]
    for _ in range(2):  # also after it was named without
        list(name_dataset(bare, store, some, background=True))
        segments = store.load("0").segments
        assert (segments.names, store.load("0").version) == ((*NAMES[1:], "background"), 2)
        assert segments.items[2].mask == draw(0)[1].items[0].mask


def test_features_are_made_once(tmp_path):
    asked = []

    def encode(picture):
        asked.append(picture.name)
        return torch.from_numpy(picture.array().copy()).permute(2, 0, 1).float()

    data, store = parts_data(4), Store(tmp_path)
    list(name_dataset(data, store, examples(0, 1), Encoder("pixels", encode)))
    assert asked == ["0.png", "1.png", "2.png", "3.png"]
    assert store.load("3").segments.names == NAMES
    rows = Descriptions(tmp_path / "descriptions", Encoder("pixels", encode)).of(
        data.items[3], data.items[3].segments()
    )
    assert (len(asked), rows.shape) == (4, (3, 59 + 6))
    assert Descriptions(tmp_path / "descriptions", Encoder()).of(data.items[3], draw(3)[1]).shape == (3, 59)


def test_a_damaged_description_is_made_again(tmp_path):
    data, masks = parts_data(1), draw(0)[1]
    kept = Descriptions(tmp_path, Encoder())
    rows = kept.of(data.items[0], masks)
    (path,) = kept.folder.iterdir()
    for damage in (b"", b"half", path.read_bytes()[:200]):
        path.write_bytes(damage)
        assert np.array_equal(kept.of(data.items[0], masks), rows)
    part = replace(masks, items=masks.items[1:])
    assert np.array_equal(kept.of(data.items[0], part), rows[1:])
    assert len(list(kept.folder.iterdir())) == 1


def broken(item: Item) -> Item:
    def picture():
        raise UserError("3.png is damaged; export it again.")

    return replace(item, picture=picture)


def test_one_bad_picture_is_noted(tmp_path):
    data = parts_data(5)
    data = replace(data, items=(*data.items[:3], broken(data.items[3]), data.items[4]))
    store = Store(tmp_path)
    for _ in range(2):
        assert run(name_dataset(data, store, examples(0, 1)))[-1] == ("naming", 5, 5)
    assert store.journal.problems() == {"3": "3.png is damaged; export it again."}
    assert (tmp_path / "journal.jsonl").read_text().count("damaged") == 1
    assert store.load("3") is None
    assert store.load("4").segments.names == NAMES


def test_what_cannot_be_done(tmp_path):
    store, data = Store(tmp_path), parts_data(3)
    with pytest.raises(UserError, match="No example belongs to a picture of parts"):
        list(name_dataset(data, store, examples(9)))
    with pytest.raises(UserError, match="name a few"):
        list(name_dataset(data, store))
    bare = Dataset("bare", "bare", tuple(replace(item, segments=lambda: None) for item in data.items))
    with pytest.raises(UserError, match="No picture of bare has masks"):
        list(name_dataset(bare, store))
    wrong = {"0": Segments.from_masks(np.ones((1, 2, 2), bool), ("a",), ("unset",))}
    list(name_dataset(data, store, {**examples(1, 9), **wrong}))
    assert "make them equal" in store.journal.problems()["0"]


# -- cutting ---------------------------------------------------------------------------------------------------------


def halves(picture) -> Segments:
    masks = np.zeros((2, *picture.size), bool)
    masks[0, :16], masks[1, 16:] = True, True
    return Segments.from_masks(masks, ("", ""), ("unset",) * 2, "halves")


def test_a_data_set_is_cut_and_taken_up_again(tmp_path):
    looked_at: list[str] = []
    data, store = parts_data(4, looked_at.append), Store(tmp_path)
    list(itertools.islice(segment_dataset(data, store, halves, "halves 1"), 2))
    assert run(segment_dataset(data, store, halves, "halves 1"))[-1] == ("segmenting", 4, 4)
    assert looked_at == ["0", "1", "2", "3"]
    assert [len(store.load(item.id).segments) for item in data.items] == [2] * 4
    # cut with other settings, all but what a person has named
    record = store.load("2")
    typed = replace(record.segments.items[0], name="sky", naming="typed")
    kept = store.save("2", replace(record.segments, items=(typed, record.segments.items[1])), record, "typed")
    list(segment_dataset(data, store, lambda picture: draw(0)[1], "other"))
    assert store.load("2") == kept
    assert [len(store.load(item.id).segments) for item in data.items] == [3, 3, 2, 3]


def test_names_from_files_outlast_a_cut(tmp_path):
    """Those that came with the data set, and those of examples; what was there before is one step back."""
    data, store = parts_data(2), Store(tmp_path)
    data = replace(data, items=(replace(data.items[0], segments=lambda: draw(0)[1]), data.items[1]))
    list(segment_dataset(data, store, halves, "halves"))
    record = store.load("0")
    assert record.segments.names == (*NAMES, "", "")
    assert store.undo(record).segments == draw(0)[1]
    assert store.load("1").segments.names == ("", "")
    assert store.undo(store.load("1")).segments == nameless(draw(1)[1])
    list(name_dataset(data, store, examples(1)))
    list(segment_dataset(data, store, halves, "again"))
    assert store.load("1").segments.names[:3] == NAMES


def test_pictures_that_cannot_be_cut(tmp_path, monkeypatch):
    store, data = Store(tmp_path), parts_data(3)
    data = replace(data, items=(broken(data.items[0]), *data.items[1:]))
    list(segment_dataset(data, store, halves, "halves"))
    assert list(store.journal.problems()) == ["0"]
    with pytest.raises(UserError, match=r"No picture of parts could be cut \(3.png is damaged"):
        list(segment_dataset(replace(data, items=data.items[:1]), store, halves, "halves"))

    def full(*_, **__):
        raise WriteError("The disk is full.")

    monkeypatch.setattr(store, "save", full)
    steps = segment_dataset(data, store, halves, "others")
    with pytest.raises(WriteError):
        list(steps)
    assert list(store.journal.problems()) == ["0"]


def test_examples_from_a_file(tmp_path):
    """COCO names pictures by file name; masks of pictures that are not there, and without a name, are no examples."""
    data, shown = parts_data(4), examples(0, 1, 9)
    coco.write(tmp_path / "some.json", [*shown.items(), ("2", nameless(draw(2)[1]))])
    store = Store(tmp_path / "store")
    list(name_dataset(data, store, open_segments(tmp_path / "some.json")))
    assert [store.load(item.id).segments.names for item in data.items] == [NAMES] * 4
    assert [store.load(item.id).segments.items[0].naming for item in data.items] == ["file"] * 2 + ["proposed"] * 2


class FakeSam:
    fingerprint = "f"

    def embedding(self, picture: Picture) -> torch.Tensor:
        return torch.arange(8 * 8.0).reshape(1, 8, 8)


@pytest.mark.parametrize(("size", "grid"), [((20, 40), (4, 8)), ((40, 20), (8, 4)), ((9, 9), (8, 8))])
def test_a_sams_embedding_without_its_padding(size, grid):
    features = sam_encoder(FakeSam()).encode(Picture(Image.new("RGB", size[::-1])))
    assert torch.equal(features, torch.arange(8 * 8.0).reshape(1, 8, 8)[:, : grid[0], : grid[1]])
