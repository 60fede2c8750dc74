"""`satchel segment`, `satchel name` and `satchel export`: a data set cut and named, gone on with, read by others."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path

import pytest
from parts import NAMES, draw, nameless
from PIL import Image

import dashboard.cli.segment
from core.runtime import versions
from core.segments.files import coco, label_maps, open_segments
from core.segments.registry import segmenters
from core.segments.sam import checkpoints
from core.segments.sam.compact import Shape, build, save
from core.segments.saved.store import Store
from core.segments.segmenters.unnamed import Superpixels

COUNT = 8
CUT = ("--superpixels", "--set", "count=8,compactness=1")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of drawn parts in two classes; beside them COCO files: all masks unnamed, three pictures named."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "pictures").mkdir()
    with (folder / "pictures" / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", "label"])
        for seed in range(COUNT):
            draw(seed)[0].image.save(folder / "pictures" / f"{seed}.png")
            writer.writerow([f"{seed}.png", ("finch", "kingfisher")[seed % 2]])
    coco.write(folder / "unnamed.json", [(f"{seed}.png", nameless(draw(seed)[1])) for seed in range(COUNT)])
    coco.write(folder / "named.json", [(f"{seed}.png", draw(seed)[1]) for seed in (0, 3, 5)])
    return folder


def assert_told(done, *words: str):
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("satchel: ")
    for word in words:
        assert word in done.err


def test_cut_and_again(satchel, parts, tmp_path):
    words = ("segment", parts / "pictures", *CUT, "--out", tmp_path / "out")
    done = satchel(*words)
    assert (done.code, done.err) == (0, "")
    assert f"{COUNT} pictures cut, 0 done before" in done.out
    assert "Cut by superpixels (count=8, compactness=1.0)" in done.out
    store = Store(tmp_path / "out")
    records = [store.load(f"{seed}.png") for seed in range(COUNT)]
    assert {record.made_by["segmenter"] for record in records} == {"superpixels (count=8, compactness=1.0)"}
    assert {item.source for record in records for item in record.segments} == {"superpixels"}
    assert records[0].segments.size == (32, 32)
    again = satchel(*words)
    assert again.code == 0
    assert "Everything is done already: 8 pictures" in again.out
    assert [store.load(f"{seed}.png") for seed in range(COUNT)] == records
    other = satchel("segment", parts / "pictures", "--superpixels", "--set", "count=3", "--out", tmp_path / "out")
    assert f"{COUNT} pictures cut, 0 done before" in other.out


def test_a_stopped_run_goes_on(satchel, parts, tmp_path, monkeypatch):
    show = dashboard.cli.segment.show_stages

    def stop_after_two(work, notes):
        next(work), next(work)
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboard.cli.segment, "show_stages", stop_after_two)
    words = ("segment", parts / "pictures", *CUT, "--out", tmp_path / "out")
    stopped = satchel(*words)
    assert stopped.code == 130
    assert "same command again" in stopped.err
    monkeypatch.setattr(dashboard.cli.segment, "show_stages", show)
    assert f"{COUNT - 2} pictures cut, 2 done before" in satchel(*words).out


@pytest.mark.slow
def test_cut_by_a_sam(satchel, parts, tmp_path, monkeypatch):
    monkeypatch.setenv("SATCHEL_CACHE", str(tmp_path / "cache"))
    tiny = Shape(64, (8, 8, 16, 16), (1, 1, 1, 1), (8, 8, 8, 8), embedding=32, decoder_hidden=32)
    monkeypatch.setattr(checkpoints, "assets_dir", lambda: tmp_path)
    words = ("segment", parts / "pictures", "--set", "points=3", "--set", "quality=0,stability=0", "--limit", 1)
    assert_told(satchel(*words, "--sam", "compact", "--out", tmp_path / "out"), "are missing")
    save(build(tiny), tiny, tmp_path / "compact_sam.safetensors", {})
    done = satchel(*words, "--sam", "compact", "--out", tmp_path / "out")
    assert done.code == 0
    # it knows nothing, is unsure, and says what stands in for it
    assert "In 1 picture: The compact SAM was made for rendered pictures" in done.out
    assert {item.source for item in Store(tmp_path / "out").load("0.png").segments} == {"regions"}
    marked = Store(tmp_path / "out").load("0.png").made_by["segmenter"]
    assert marked.startswith("sam:compact (weights=")
    # the signature of a file of one's own changes with what is in it
    file = tmp_path / "own.safetensors"
    file.write_bytes((tmp_path / "compact_sam.safetensors").read_bytes())
    own = (*words, "--sam", f"compact@{file}", "--out", tmp_path / "out")
    assert "1 picture cut" in satchel(*own).out
    assert "Everything is done" in satchel(*own).out
    save(build(tiny), tiny, file, {"another": "one"})
    assert "1 picture cut" in satchel(*own).out
    file.write_bytes(file.read_bytes()[:1000])
    assert_told(satchel(*own), "no whole safetensors file")


@pytest.mark.slow
def test_names_spread_and_are_counted(satchel, parts, tmp_path):
    words = ("name", parts / "pictures", "--segments", parts / "unnamed.json", "--examples", parts / "named.json")
    done = satchel(*words, "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    assert "8 pictures named now" in done.out
    assert "24 masks in 8 pictures: 9 with a certain name, 15 with a proposed one, 0 unsure." in done.out
    assert "15 masks await review." in done.out
    assert Store(tmp_path / "out").load("7.png").segments.names == NAMES
    again = satchel(*words, "--out", tmp_path / "out")
    assert "Everything is done already." in again.out
    # what a person says counts, too
    store = Store(tmp_path / "out")
    record = store.load("4.png")
    nobody = record.segments.items[2]
    bare = type(nobody)(nobody.mask)
    from core.segments.saved.records import mask_key

    segments = type(record.segments)(record.segments.size, (*record.segments.items[:2], bare))
    store.save("4.png", segments, record, "rejected", nameless=frozenset({mask_key(bare.mask)}))
    assert "1 left without a name" in satchel(*words, "--out", tmp_path / "out").out


@pytest.mark.slow
def test_a_report_reads_the_folder(satchel, model, parts, tmp_path):
    words = ("name", parts / "pictures", "--segments", parts / "unnamed.json", "--examples", parts / "named.json")
    assert satchel(*words, "--out", tmp_path / "named").code == 0
    report = ("report", parts / "pictures", *model, "--explainer", "gradient", "--no-check", "--limit", 2)
    done = satchel(*report, "--segments", tmp_path / "named", "--out", tmp_path / "report")
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "report" / "findings.json").read_text())
    assert {entry["segment"] for entry in found} >= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "place"),
    [("coco", "all.json"), ("coco-polygons", "all.json"), ("label-maps", "maps"), ("folders", "masks")],
)
def test_export_and_back(satchel, parts, tmp_path, form, place):
    words = ("name", parts / "pictures", "--segments", parts / "unnamed.json", "--examples", parts / "named.json")
    satchel(*words, "--out", tmp_path / "named")
    done = satchel("export", tmp_path / "named", "--format", form, "--out", tmp_path / place)
    assert done.code == 0, done.err
    assert "24 masks of 8 pictures written" in done.out
    ours, theirs = open_segments(tmp_path / "named"), open_segments(tmp_path / place)
    assert ours.form == "Satchel's own store"
    assert [theirs[key] for key in sorted(theirs)] == [ours[key] for key in sorted(ours)]


def test_a_picture_whose_masks_cannot_be_read_costs_no_other(satchel, parts, tmp_path):
    label_maps.write(tmp_path / "maps", [(f"{seed}.png", draw(seed)[1]) for seed in range(3)])
    (tmp_path / "maps" / "1.png").write_bytes(b"no picture")
    done = satchel("export", tmp_path / "maps", "--out", tmp_path / "out.json")
    assert done.code == 0
    assert "6 masks of 2 pictures written" in done.out
    assert "1 picture left out; the first is 1" in done.err
    assert len(open_segments(tmp_path / "out.json")) == 2
    for seed in (0, 2):
        (tmp_path / "maps" / f"{seed}.png").write_bytes(b"no picture")
    assert_told(satchel("export", tmp_path / "maps", "--out", tmp_path / "none.json"), "No masks", "could be read")
    assert not (tmp_path / "none.json").exists()


def test_pictures_are_exported_by_their_names_in_the_data_set(satchel, parts, tmp_path):
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        Image.new("RGB", (32, 32)).save(tmp_path / "photos" / f"{seed}.jpg")
    label_maps.write(tmp_path / "maps", [(f"{seed}.jpg", draw(seed)[1]) for seed in (1, 3, 7)])
    words = ("export", tmp_path / "maps", "--out", tmp_path / "out.json")
    assert satchel(*words).code == 0
    assert "1.jpg" not in open_segments(tmp_path / "out.json")
    assert satchel(*words, "--data", tmp_path / "photos").code == 0
    assert sorted(open_segments(tmp_path / "out.json")) == ["1.jpg", "3.jpg"]
    assert_told(satchel(*words, "--data", parts / "missing"), "missing")
    (tmp_path / "others").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "others" / "8.jpg")
    assert_told(satchel(*words, "--data", tmp_path / "others"), "No masks", "are of a picture of")


def test_what_cannot_be_exported(satchel, parts, tmp_path):
    satchel("name", parts / "pictures", "--examples", parts / "named.json", "--out", tmp_path / "named")
    assert_told(satchel("export", tmp_path / "missing"), "no folder of masks")
    assert_told(satchel("export", tmp_path / "named", "--format", "folders", "--out", tmp_path / "named"), "already")
    whole = draw(0)[1]
    coco.write(tmp_path / "twice.json", [("0.png", type(whole)(whole.size, whole.items * 2))])
    words = ("export", tmp_path / "twice.json", "--format", "label-maps", "--out", tmp_path / "maps")
    assert_told(satchel(*words), "overlap")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "one of --sam, --semantic, --superpixels, --concepts and --segmenter"),
        (("--superpixels", "--sam", "compact"), "together"),
        (("--sam", "vit_z"), "There is no SAM 'vit_z'"),
        (("--sam", "vit_b@nowhere.pth"), "nowhere.pth"),
        (("--superpixels", "--set", "count=0"), "between 2 and 200"),
        (("--superpixels", "--set", "many=3"), "no parameter 'many'"),
        (("--superpixels", "--set", "count"), "has no value"),
        (("--superpixels", "--model-of-concepts", "somewhere"), "needs --concepts"),
        (("--concepts", ""), "word is empty"),
        (("--superpixels", "--labels", "names.txt"), "leave it out"),
        (("--sam", "compact", "--device", "abacus"), "device"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_that_do_not_fit(satchel, parts, tmp_path, words, told):
    assert_told(satchel("segment", parts / "pictures", *words, "--out", tmp_path / "out"), told)


def test_places_that_are_none(satchel, parts, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("keep me")
    assert_told(satchel("segment", tmp_path / "empty", *CUT, "--out", tmp_path / "out"), "no pictures")
    assert_told(satchel("segment", parts / "pictures", *CUT, "--out", tmp_path / "file"), "is a file")
    assert_told(satchel("segment", parts / "pictures", *CUT, "--out", parts), "is not empty")
    assert (tmp_path / "file").read_text() == "keep me"

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    words = ("segment", parts / "pictures", *CUT, "--out", tmp_path / "out")
    assert satchel(*words, "--limit", 1).code == 0
    monkeypatch.setattr(versions, "_write", full)
    assert_told(satchel(*words), "disk", "full")


def test_examples_that_are_none(satchel, parts, tmp_path):
    words = ("name", parts / "pictures", "--segments", parts / "unnamed.json", "--out", tmp_path / "out", "--examples")
    assert_told(satchel(*words, tmp_path / "missing.json"), "missing.json")
    assert_told(satchel(*words, parts / "unnamed.json"), "name a few masks first")
    coco.write(tmp_path / "others.json", [("other.png", draw(0)[1])])
    assert_told(satchel(*words, tmp_path / "others.json"), "No example belongs to a picture of")
    assert_told(satchel("name", parts / "pictures", "--out", tmp_path / "bare"), "has masks; cut them first")
    assert_told(satchel(*words, parts / "named.json", "--encoder", "clip"), "no encoder 'clip'")


def off_the_picture(path: Path, *pictures: str) -> Path:
    """A COCO file with one box beside each picture."""
    images = [{"id": i, "file_name": picture, "width": 32, "height": 32} for i, picture in enumerate(pictures)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [90, 90, 5, 5]} for i in range(len(pictures))]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "disc"}]}))
    return path


def test_what_is_wrong_with_examples_is_told(satchel, parts, tmp_path):
    words = ("name", parts / "pictures", "--segments", parts / "unnamed.json", "--limit", 2)
    run = (*words, "--out", tmp_path / "out", "--examples")
    whole = draw(5)[1]
    small = type(whole).from_masks(whole.masks[:, :9, :9], whole.names, whole.kinds)
    coco.write(tmp_path / "small.json", [("5.png", small)])
    assert_told(satchel(*run, tmp_path / "small.json"), "No example can be used (5.png", "make them equal")
    beside = off_the_picture(tmp_path / "beside.json", "5.png")
    assert_told(satchel(*run, beside), "No example can be used (5.png", "Empty masks were left out (disc)")
    # pictures with examples are not cut off by the limit; strangers are counted
    coco.write(tmp_path / "mixed.json", [("5.png", whole), ("6.png", nameless(draw(6)[1])), ("other.png", whole)])
    done = satchel(*run, tmp_path / "mixed.json")
    assert (done.code, done.err.count("\n")) == (0, 1)
    assert "mixed.json that belong to no picture of pictures were left out (1)" in done.err
    assert "in 3 pictures: 3 with a certain name" in done.out


def test_masks_that_are_lost_on_the_way_are_told(satchel, parts, tmp_path):
    beside = off_the_picture(tmp_path / "beside.json", "0.png", "1.png")
    told = "Masks in beside.json: Empty masks were left out: 2 pictures, first in 0.png (disc)."
    done = satchel("export", beside, "--out", tmp_path / "out.json")
    assert told in done.err
    assert "Boxes without a mask were filled: 2 in 2 pictures, first in 0.png." in done.err
    words = ("name", parts / "pictures", "--segments", beside, "--examples", parts / "named.json")
    assert told in satchel(*words, "--out", tmp_path / "out").err


def test_the_background_on_request(satchel, parts, tmp_path):
    whole = draw(0)[1]
    coco.write(tmp_path / "some.json", [("0.png", type(whole)(whole.size, whole.items[1:]))])
    satchel("export", tmp_path / "some.json", "--background", "--out", tmp_path / "all.json")
    rest = open_segments(tmp_path / "all.json")["0.png"].items[-1]
    assert (rest.name, rest.kind, rest.mask) == ("background", "context", whole.items[0].mask)
    words = ("name", parts / "pictures", "--examples", tmp_path / "some.json", "--background", "--limit", 1)
    assert satchel(*words, "--out", tmp_path / "out").code == 0
    assert Store(tmp_path / "out").load("0.png").segments.names == (*NAMES[1:], "background")


def test_one_broken_picture_is_told_and_left_out(satchel, parts, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for path in (parts / "pictures").iterdir():
        (folder / path.name).write_bytes(b"broken" if path.name == "3.png" else path.read_bytes())
    done = satchel("segment", folder, *CUT, "--out", tmp_path / "out")
    assert done.code == 0
    assert "1 picture left out: 3.png" in done.err
    assert "7 pictures cut" in done.out


def test_segmenters_are_listed(satchel):
    listed = json.loads(satchel("list", "segmenters", "--json").out)
    assert [entry["name"] for entry in listed] == list(segmenters())
    of_slic = next(entry for entry in listed if entry["name"] == "superpixels")
    assert {p["name"]: p["default"] for p in of_slic["parameters"]} == Superpixels.parameters().to_dict()
    shown = satchel("list", "segmenters").out
    assert all(name in shown for name in segmenters())


def test_a_picture_of_one_pixel(satchel, tmp_path):
    (tmp_path / "data").mkdir()
    Image.new("RGB", (1, 1)).save(tmp_path / "data" / "dot.png")
    done = satchel("segment", tmp_path / "data", "--superpixels", "--out", tmp_path / "out")
    assert done.code == 0
    assert "0 masks" in done.out
