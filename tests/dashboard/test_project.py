"""Models and pictures that somebody brings to the page."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.models import squeezenet1_1

from core.data import open_dataset
from core.errors import UserError
from core.preprocessing import Preprocessing
from core.segments.saved.store import Store
from dashboard.allowed import Allowed
from dashboard.page import Page
from dashboard.project.choosing import (
    architecture_of,
    bring_model,
    bring_pictures,
    data_note,
    first_check,
    move_to,
)
from dashboard.project.data_sets import USUAL, DataSets, mine
from dashboard.project.own_models import OwnModels, Stated
from dashboard.project.uploads import unpacked
from dashboard.sessions import Session
from dashboard.stated import in_words, stated
from tests.dashboard.conftest import photo
from tests.toy import write_toy


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def png(folder: Path, seed: int = 0) -> bytes:
    photo(seed=seed).save(folder / "one.png")
    return (folder / "one.png").read_bytes()


# --- uploads


def test_a_zip_becomes_a_folder_of_classes_without_what_is_around_it(tmp_path: Path) -> None:
    files = {
        "pets/ant/1.png": png(tmp_path, 1), "pets/bee/2.png": png(tmp_path, 2), "pets/.DS_Store": b"x",
        "__MACOSX/pets/ant/._1.png": b"x", "pets/run.py": b"print()", "pets/notes.txt": b"mine",
    }  # fmt: skip
    place = unpacked([zipped(tmp_path / "My pets.zip", files)], tmp_path / "data")
    assert place == tmp_path / "data" / "my-pets"
    found = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    assert found == ["ant/1.png", "bee/2.png", "notes.txt"]
    assert open_dataset(place).labels == ("ant", "bee")


def test_one_class_alone_stays_a_class(tmp_path: Path) -> None:
    place = unpacked([zipped(tmp_path / "a.zip", {"ant/1.png": png(tmp_path)})], tmp_path / "data", "Ants")
    assert place.name == "ants"
    assert open_dataset(place).labels == ("ant",)


def test_a_second_zip_of_that_name_adds_to_the_first(tmp_path: Path) -> None:
    for number in (1, 2):
        archive = zipped(tmp_path / "a.zip", {f"x/ant/{number}.png": png(tmp_path, number), "x/y/0.txt": b""})
        place = unpacked([archive], tmp_path / "data")
    assert len(open_dataset(place)) == 2


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "a/../../evil.png", "C:\\evil.png"])
def test_a_zip_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.zip", {"ant/1.png": png(tmp_path), name: b"evil"})
    unpacked([archive], tmp_path / "deep" / "er" / "data")
    assert not list(tmp_path.rglob("*evil*"))
    assert not Path("/etc/evil.png").exists()


def test_links_in_a_zip_are_left_out(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"ant/1.png": png(tmp_path)})
    with zipfile.ZipFile(archive, "a") as file:
        link = zipfile.ZipInfo("ant/2.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    assert len(list(unpacked([archive], tmp_path / "data").rglob("*.png"))) == 1


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no pictures"),
        ({"readme.txt": b"hello"}, "holds no pictures"),
        (None, "cannot be unpacked"),
    ],
)
def test_a_zip_that_does_not_do_is_told_in_a_sentence(
    tmp_path: Path, files: dict[str, bytes] | None, said: str
) -> None:
    archive = tmp_path / "a.zip"
    if files is None:
        archive.write_bytes(b"PK\x03\x04 and no more")
    else:
        zipped(archive, files)
    with pytest.raises(UserError, match=said):
        unpacked([archive], tmp_path / "data")
    assert not list((tmp_path / "data").glob("*"))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("ant/1.png", bytes(50_000_000))
    with pytest.raises(UserError, match="times its size"):
        unpacked([archive], tmp_path / "data")


def test_pictures_one_by_one_and_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for folder in (tmp_path, tmp_path / "b"):
        photo().save(folder / "1.png")
    place = unpacked([tmp_path / "1.png", tmp_path / "b" / "1.png"], tmp_path / "data", "mine")
    assert sorted(path.name for path in place.iterdir()) == ["1 (2).png", "1.png"]
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(UserError, match="no picture and no zip"):
        unpacked([tmp_path / "a.pdf"], tmp_path / "data")
    with pytest.raises(UserError, match="No file was given"):
        unpacked([], tmp_path / "data")


# --- data sets


def test_data_sets_are_offered_and_opened_only_where_they_may(tmp_path: Path) -> None:
    write_toy(tmp_path / "roots" / "toys", 4)
    (tmp_path / "roots" / ".hidden").mkdir()
    sets = DataSets(Allowed([tmp_path / "roots"]), roots=[tmp_path / "roots"])
    assert sets.start == USUAL
    assert sets.choices([("mine", "/mine")])[:2] == [("mine", "/mine"), ("toys", str(tmp_path / "roots" / "toys"))]
    assert len(sets.get(str(tmp_path / "roots" / "toys"))) == 4
    for place in (tmp_path, tmp_path / "nowhere", ""):
        with pytest.raises(UserError):
            sets.get(str(place))


def test_a_picture_that_is_put_into_a_class_is_found(tmp_path: Path) -> None:
    (tmp_path / "set" / "ant").mkdir(parents=True)
    photo().save(tmp_path / "set" / "ant" / "1.png")
    sets = DataSets(Allowed([tmp_path]))
    first = sets.get(str(tmp_path / "set"))
    assert sets.get(str(tmp_path / "set")) is first
    photo(seed=1).save(tmp_path / "set" / "ant" / "2.png")
    assert len(sets.get(str(tmp_path / "set"))) == 2


def test_what_was_named_of_a_data_set_is_what_a_report_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATCHEL_DATA", str(tmp_path / "own"))
    source = str(write_toy(tmp_path / "toys", 4))
    sets = DataSets(Allowed([source]))
    before = sets.named(source)
    assert before.items[0].segments().names == ("object", "corner", "sky")
    store = Store(sets.segments_folder(source))
    segments = before.items[0].segments()
    store.save("images/000.png", replace(segments, items=segments.items[:1]), None, "cut")
    named = sets.named(source, 2)
    assert [len(item.segments()) for item in named.items] == [1, 4]
    assert sets.named(source) is sets.named(source)
    store.save("images/001.png", replace(segments, items=segments.items[:2]), None, "cut")
    counts = [len(item.segments()) for item in before.items[2:]]  # of these nothing was saved
    assert [len(item.segments()) for item in sets.named(source).items] == [1, 2, *counts]
    seen = sets.named(source)
    (tmp_path / "toys" / "segments.json").write_text((tmp_path / "toys" / "segments.json").read_text() + " ")
    again = sets.named(source)  # what lies beside the pictures may say something else now
    assert again is not seen
    assert again is sets.named(source)


def test_some_pictures_of_a_data_set_stand_on_the_page_with_label_and_segments(
    small_page: Page, session: Session, tmp_path: Path
) -> None:
    small_page.data_sets.allowed = Allowed([tmp_path])
    move_to(small_page, session, str(write_toy(tmp_path / "toys", 30)))
    shown = list(small_page.sources(session).values())
    assert len(shown) == 24
    assert {source.label for source in shown} == {"plain", "stamped"}
    view = small_page.view(session)
    assert view.segments.names[-1] == "sky"
    assert data_note(small_page, session.data).count("30 pictures, 2 classes, with masks") == 1
    move_to(small_page, session, "demo:birds")
    assert list(small_page.sources(session)) == list(small_page.examples)


def test_pictures_that_were_brought_are_those_of_the_page(small_page: Page, session: Session, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"s/ant/1.png": png(tmp_path, 1), "s/bee/2.png": png(tmp_path, 2)})
    source = bring_pictures(small_page, session, [archive], "", "")
    assert session.data == source
    assert mine(session) == [("a  (yours)", source)]
    assert first_check(small_page, session).startswith("Right on ")
    with pytest.raises(UserError, match="not both"):
        bring_pictures(small_page, session, [archive], "", "/data")
    with pytest.raises(UserError, match="opens only what was named"):
        bring_pictures(small_page, session, [], "", "/etc")
    assert session.data == source


def test_labels_that_are_no_classes_are_told(small_page: Page, session: Session, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"s/x/1.png": png(tmp_path, 1), "s/y/2.png": png(tmp_path, 2)})
    bring_pictures(small_page, session, [archive], "", "")
    assert "No label of a (x, y, ...) is a class of this model (ant, bee, cat, ...)" in first_check(small_page, session)


# --- models


def weights(folder: Path, classes: int = 3) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(squeezenet1_1(num_classes=classes).state_dict(), folder / "SqueezeNet1_1-mine.pth")
    return folder / "SqueezeNet1_1-mine.pth"


def test_the_architecture_is_guessed_by_the_files_name(tmp_path: Path) -> None:
    assert architecture_of("SqueezeNet1_1-mine.pth") == "torchvision:squeezenet1_1"
    assert architecture_of("resnet50-0676ba61.pth") == "torchvision:resnet50"
    assert architecture_of("best.pth") is None


def test_a_model_is_kept_with_all_that_was_said_of_it(tmp_path: Path) -> None:
    own = OwnModels(lambda: tmp_path / "models")
    asked = Stated("mine.pth", "torchvision:squeezenet1_1", ("a", "b", "c"), {"mean": (0.5,), "size": 64})
    spec = own.add(asked, weights(tmp_path))
    assert own.add(asked, weights(tmp_path)) == spec
    again = OwnModels(lambda: tmp_path / "models")
    assert list(again.choices()) == [("mine.pth  (yours)", spec)]
    classifier = again.load(spec)
    assert classifier.labels == ("a", "b", "c")
    assert classifier.preprocessing.mean == (0.5, 0.5, 0.5)
    assert classifier.input_size == (64, 64)
    own.remove(spec)
    for gone in (spec, "own:../../etc", "own:"):
        with pytest.raises(UserError, match="There is no model"):
            again.get(gone)


@pytest.mark.slow
def test_a_file_is_tried_in_another_process_and_then_is_the_model(
    small_page: Page, session: Session, tmp_path: Path
) -> None:
    said = ["", "", "64", "", ""]
    spec = bring_model(small_page, session, weights(tmp_path), "torchvision:squeezenet1_1", "ant\nbee\ncat\n", said)
    assert small_page.classifiers.get(spec).classifier.labels == ("ant", "bee", "cat")
    assert small_page.classifiers.title(spec) == "SqueezeNet1_1-mine.pth"
    assert (f"{weights(tmp_path).name}  (yours)", spec) in small_page.classifiers.choices()
    session.spec = spec
    changed = bring_model(small_page, session, None, None, "", ["0.5", "0.5", "", "", "bicubic"])
    after = small_page.classifiers.get(changed).classifier
    assert (after.preprocessing.mean[0], after.preprocessing.interpolation, after.input_size) == (
        0.5,
        "bicubic",
        (64,) * 2,
    )
    assert after.labels == ("ant", "bee", "cat")
    (tmp_path / "bad.pth").write_bytes(b"no weights at all")
    with pytest.raises(UserError, match="no weights file"):
        bring_model(small_page, session, tmp_path / "bad.pth", "torchvision:resnet18", "", said)
    assert len(small_page.classifiers.own.choices()) == 2  # what does not load is not kept


@pytest.mark.parametrize(
    ("file", "architecture", "said"),
    [
        (True, "", "Choose the architecture"),
        (True, "hf:/etc", "Name the architecture as torchvision:NAME"),
        (True, "torchvision:resnet50@/etc/passwd", "Name the architecture as torchvision:NAME"),
        (True, "torchvision:resnet5000", "has no classifier"),
        (False, "", "Choose a file of weights"),
    ],
)
def test_what_is_no_model_is_told_before_anything_is_loaded(
    small_page: Page, session: Session, tmp_path: Path, file: bool, architecture: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        bring_model(small_page, session, weights(tmp_path) if file else None, architecture, "", [""] * 5)


def test_a_page_that_is_open_to_others_takes_no_weights(small_page: Page, session: Session, tmp_path: Path) -> None:
    small_page.shared = True
    with pytest.raises(UserError, match="open to others"):
        bring_model(small_page, session, weights(tmp_path), "torchvision:squeezenet1_1", "", [""] * 5)
    assert not str(small_page.brought).startswith(str(tmp_path / "own"))


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(),
        Preprocessing(resize=(96, 64), crop=None, mean=(0.5,) * 3, std=(0.25,) * 3, interpolation="bicubic"),
    ],
)
def test_what_is_shown_of_the_preprocessing_says_the_same_when_typed(preprocessing: Preprocessing) -> None:
    words = in_words(preprocessing)
    asked = stated(words["mean"], words["std"], words["size"], words["crop"], words["interpolation"])
    assert Preprocessing(resize=10, crop=(8, 8)).changed(**asked) == preprocessing
    assert stated("", None, " ", "", "") == {}
