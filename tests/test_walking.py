"""What counts as a picture, and what is said of the rest."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from core.data import open_dataset
from core.errors import UserError
from core.walking import pictures_in


def put(folder: Path, *names: str) -> None:
    """Small pictures under these names, whatever their suffix."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name, format="PNG")


def found(folder: Path, **more) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in pictures_in(folder, **more).files]


def note(folder: Path, **more) -> str:
    (said,) = pictures_in(folder, **more).notes
    return said


def test_every_suffix_that_is_read_in_any_case(tmp_path: Path) -> None:
    names = ["a.JPG", "b.jfif", "c.jpe", "d.Pjpeg", "e.mpo", "f.apng", "g.dib", "h.TIFF", "i.WebP"]
    put(tmp_path, *names, "j.txt", "k.json", "noext")
    assert found(tmp_path) == names
    assert pictures_in(tmp_path).notes == ()
    assert all(item.picture().size == (4, 4) for item in open_dataset(tmp_path).items)


def test_pictures_that_are_not_read_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.png", "cat/b.HEIC", "cat/c.heic", "dog/d.heic", "dog/e.avif")
    assert found(tmp_path) == ["cat/a.png"]
    assert note(tmp_path) == "3 .heic, 1 .avif files are not read; save them as JPEG."
    put(tmp_path / "dog", "x/y.svg")
    assert note(tmp_path / "dog" / "x") == "1 .svg file is not read; save it as JPEG."
    with pytest.raises(UserError, match=r"holds no pictures \(1 \.svg file is not read; save it as JPEG\); put them"):
        open_dataset(tmp_path / "dog" / "x")


def test_hidden_files_and_copies_of_other_programs(tmp_path: Path) -> None:
    hidden = [
        "cat/.ipynb_checkpoints/1-checkpoint.png", "__MACOSX/cat/._1.png", "cat/@eaDir/1.png/SYNOPHOTO.jpg",
        "cat/._2.png", "$RECYCLE.BIN/S-1/$R1.png", ".thumbnails/1.png", "cat/.trash/deep/down/1.png",
    ]  # fmt: skip
    put(tmp_path, "cat/1.png", "cat/2.png", *hidden)
    assert found(tmp_path) == ["cat/1.png", "cat/2.png"]
    assert note(tmp_path) == (
        "7 pictures among hidden files and in what other programs keep for themselves were left out "
        "($RECYCLE.BIN, .thumbnails, __MACOSX)."
    )
    data = open_dataset(tmp_path)
    assert (len(data), data.labels, data.notes) == (2, ("cat",), (note(tmp_path),))


def test_what_satchel_wrote_is_no_data(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.png", "report/examples/1.png", "maps/1.grad-cam.png", "cat/1.suppression-2.png", "cat/v.1.png")
    settings = dict.fromkeys(("format", "data", "items", "fingerprint", "explainers", "seed"), 1)
    (tmp_path / "report/settings.json").write_text(json.dumps(settings))
    listed = [{"values_file": "1.grad-cam.npy", "overlay_file": "1.grad-cam.png"}]
    (tmp_path / "maps/attribution.json").write_text(json.dumps(listed))
    for name in ("1.suppression-2", "v.1"):  # values of a map, and somebody's own beside a picture
        (tmp_path / f"cat/{name}.npy").touch()
    assert found(tmp_path) == ["cat/1.png", "cat/v.1.png"]
    assert note(tmp_path) == (
        "3 pictures that Satchel wrote were left out (cat/1.suppression-2.png, maps/1.grad-cam.png, report)."
    )
    with pytest.raises(UserError, match="is a folder that Satchel wrote"):
        open_dataset(tmp_path / "report")
    (tmp_path / "report/settings.json").write_text('{"volume": 3}')  # of another program
    assert "report/examples/1.png" in found(tmp_path)


def test_where_results_go_is_no_data(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.png", "out/old.png")
    assert len(open_dataset(tmp_path)) == 2
    data = open_dataset(tmp_path, results=[tmp_path / "cat/../out"])
    assert [item.id for item in data.items] == ["cat/1.png"]
    assert data.notes == ("1 picture that Satchel wrote was left out (out).",)
    assert len(open_dataset(tmp_path, results=[tmp_path, tmp_path.parent])) == 2  # no folder is its own result


def test_masks_are_no_pictures(tmp_path: Path) -> None:
    put(tmp_path, "images/1.jpg", "masks/1.png")
    assert len(open_dataset(tmp_path)) == 2
    (tmp_path / "masks/segments.json").write_text('{"0": "all"}')
    assert found(tmp_path) == ["images/1.jpg"]
    assert note(tmp_path) == "1 picture that is a mask was left out (masks/1.png)."
    (tmp_path / "masks/segments.json").rename(tmp_path / "segments.json")
    assert found(tmp_path) == ["images/1.jpg"]
    (tmp_path / "segments.json").write_text('{"beak": "beak"}')
    put(tmp_path, "beak/1.png")
    assert found(tmp_path) == ["images/1.jpg", "masks/1.png"]
    assert found(tmp_path, masks=[tmp_path / "masks"]) == ["images/1.jpg"]
    put(tmp_path / "voc", "JPEGImages/1.jpg", "SegmentationClass/1.png", "SegmentationObject/1.png")
    assert found(tmp_path / "voc") == found(tmp_path / "voc", masks=[tmp_path / "voc"]) == ["JPEGImages/1.jpg"]


def test_an_annotation_file_beside_pictures_hides_none(tmp_path: Path) -> None:
    put(tmp_path, "train/1.png")
    document = {
        "images": [{"id": 1, "file_name": "1.png", "width": 4, "height": 4}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}],
        "categories": [{"id": 1, "name": "all"}],
    }
    (tmp_path / "train/_annotations.json").write_text(json.dumps(document))
    (item,) = open_dataset(tmp_path, segments=tmp_path / "train").items
    assert item.id == "train/1.png"
    assert item.load()[1].names == ("all",)


def test_links_are_followed_without_loops(tmp_path: Path) -> None:
    put(tmp_path / "pool", "1.png", "2.png", "more/3.png")
    data = tmp_path / "data"
    put(data, "cat/own.png")
    (data / "ant").symlink_to(tmp_path / "pool")  # a class folder elsewhere
    (data / "cat/loop").symlink_to(data)
    (data / "ant_again").symlink_to(tmp_path / "pool/more")
    (data / "cat/a.png").symlink_to("own.png")
    (data / "cat/gone.png").symlink_to("nothing.png")
    (data / "dog").symlink_to(tmp_path / "nothing")
    (data / "circle.png").symlink_to("circle.png")
    os.mkfifo(data / "cat/pipe.png")
    assert found(data) == ["ant/1.png", "ant/2.png", "ant/more/3.png", "cat/own.png"]
    assert open_dataset(data).labels == ("ant", "cat")
    assert set(pictures_in(data).notes) == {
        "2 pictures that are reached twice, through links, were counted once (ant_again, cat/a.png).",
        "A link to a folder that it lies in was not followed (cat/loop).",
        "4 links that lead nowhere, or devices or pipes, were left out (cat/gone.png, cat/pipe.png, circle.png).",
    }
    (tmp_path / "view").symlink_to(data)
    assert found(tmp_path / "view") == found(data)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, closed: Path) -> None:
    put(tmp_path, "cat/1.png")
    assert note(tmp_path) == "A folder cannot be read and was left out (closed); check its permissions."
    with pytest.raises(UserError, match=r"cannot be read .Permission denied"):
        open_dataset(closed)


def test_accents_are_compared_in_one_form(tmp_path: Path) -> None:
    written, stored = unicodedata.normalize("NFC", "Käse"), unicodedata.normalize("NFD", "Käse")
    put(tmp_path, f"{stored}/{stored}.png")
    (item,) = open_dataset(tmp_path).items
    assert (item.id, item.label) == (f"{stored}/{stored}.png", written)
    masks = tmp_path / "masks"
    put(masks, f"{written}.png")
    (masks / "segments.json").write_text('{"0": "all"}')
    assert open_dataset(tmp_path, segments=masks).items[0].load()[1].names == ("all",)
