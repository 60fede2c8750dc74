"""`satchel explain`: its files, steady for scripts, and its way with several pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.choice import Choice
from core.demo.birds import CLASSES as BIRDS
from core.demo.birds import render
from core.explain import explain
from core.export import MapFolder
from core.images import read_picture
from core.loading import load_classifier
from core.segments import Segments

KEYS = [
    "picture",
    "model",
    "explainer",
    "parameters",
    "label",
    "revision",
    "weights",
    "references",
    "key",
    "target",
    "target_label",
    "probability",
    "contrast",
    "contrast_label",
    "seed",
    "seconds",
    "forward_passes",
    "backward_passes",
    "unit",
    "condition",
    "relative_error",
    "saturated",
    "converged",
    "convergence",
    "players",
    "values_file",
    "overlay_file",
    "notes",
    "satchel",
]
QUICK = ("--explainer", "suppression:samples=2,cell=32", "--explainer", "gradient")


def listed(out: Path) -> list[dict]:
    return json.loads((out / "attribution.json").read_text())


@pytest.mark.slow
def test_files_are_what_the_list_says(satchel, model, picture, tmp_path):
    out = tmp_path / "out"
    done = satchel("explain", picture, *model, *QUICK, "--seed", 3, "--out", out)
    assert (done.code, done.err) == (0, "")
    first, second = listed(out)
    assert list(first) == KEYS
    assert (first["picture"], first["explainer"], first["seed"]) == (str(picture), "suppression", 3)
    assert first["parameters"] == {
        "samples": 2,
        "operator": "gain",
        "cell": 32,
        "keep": 0.2,
        "fade": False,
        "noise": 0.05,
        "fill": "blur",
        "reduction": "absolute",
        "scale": "logit",
        "tolerance": 0.0,
    }
    assert (first["forward_passes"], first["backward_passes"]) == (2, 2)
    assert (second["explainer"], second["forward_passes"]) == ("gradient", 1)
    assert first["model"] == load_classifier(model[1], labels=Path(model[3])).name
    assert first["contrast"] is None
    assert first["notes"] == []
    for entry in (first, second):
        values = np.load(out / entry["values_file"])
        assert (values.dtype, values.shape) == (np.float32, (64, 64))
        assert np.isfinite(values).all()
        assert np.ptp(values) > 0
    files = {path.name for path in out.iterdir()}
    named = {entry[key] for entry in (first, second) for key in ("values_file", "overlay_file")}
    assert files == named | {"attribution.json"}


@pytest.mark.slow
def test_what_was_changed_of_a_picture_is_told_and_kept(satchel, model, tmp_path):
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    done = satchel("explain", tmp_path / "moves.gif", *model, "--explainer", "gradient", "--out", tmp_path / "out")
    told = "Only the first of its 3 frames is used."
    assert (done.code, done.err) == (0, f"satchel: moves.gif: {told}\n")
    assert listed(tmp_path / "out")[0]["notes"] == [told]


def test_overlay_shows_the_whole_picture(satchel, model, tmp_path):
    """The model sees a square crop; the drawing lies over the picture as it is, turned upright."""
    turned = Image.fromarray(np.full((60, 90, 3), 120, np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    satchel("explain", tmp_path / "turned.jpg", *model, "--explainer", "gradient", "--out", tmp_path / "out")
    with Image.open(tmp_path / "out" / listed(tmp_path / "out")[0]["overlay_file"]) as drawing:
        width, height = drawing.size
    assert width / height == pytest.approx(60 / 90)


@pytest.mark.slow
def test_the_command_line_and_python_make_the_same_map(satchel, model, picture, tmp_path):
    satchel("explain", picture, *model, *QUICK, "--target", "kingfisher", "--seed", 5, "--out", tmp_path / "out")
    entry = listed(tmp_path / "out")[0]
    classifier = load_classifier(model[1], labels=Path(model[3]))
    attribution, _ = explain(
        classifier, picture, "suppression", "kingfisher", parameters={"samples": 2, "cell": 32}, seed=5
    )
    np.testing.assert_allclose(np.load(tmp_path / "out" / entry["values_file"]), attribution.values, atol=1e-5)
    assert (entry["target"], entry["target_label"]) == (attribution.target, "kingfisher") == (1, "kingfisher")


def test_segments_that_nobody_gave_are_told(satchel, model, picture, tmp_path):
    done = satchel("explain", picture, *model, "--explainer", "occlusion:regions=segments", "--out", tmp_path / "out")
    assert done.code == 2
    assert "occlusion is asked to remove segments, and none are given here" in done.err


def test_what_each_segment_is_worth_is_written(model, picture, tmp_path):
    classifier = load_classifier(model[1], labels=Path(model[3]))
    height, width = read_picture(picture).size
    masks = np.zeros((1, height, width), bool)
    masks[:, :, : width // 2] = True
    segments = Segments.from_masks(masks, ("left",), ("object",))
    one, _ = explain(classifier, picture, "occlusion", 1, parameters={"regions": "segments"}, segments=segments)
    folder = MapFolder(tmp_path / "out")
    folder.add("picture.png", one, classifier, 0.5, Choice.parse("occlusion:regions=segments"), 0)
    folder.finish()
    (entry,) = listed(tmp_path / "out")
    assert entry["unit"] == "density"
    assert [player["name"] for player in entry["players"]] == ["left", None]
    assert [player["value"] for player in entry["players"]] == one.players.values.tolist()
    assert sum(player["coverage"] for player in entry["players"]) == pytest.approx(1.0)
    assert [player["standard_error"] for player in entry["players"]] == [None, None]


@pytest.mark.slow
def test_without_a_target_the_predicted_class_is_explained(satchel, model, picture, tmp_path):
    satchel("explain", picture, *model, "--explainer", "gradient", "--out", tmp_path / "out")
    (entry,) = listed(tmp_path / "out")
    classifier = load_classifier(model[1], labels=Path(model[3]))
    _, prepared = explain(classifier, picture, "gradient")
    best = classifier.predict(prepared.tensor[None])[0][0]
    assert (entry["target"], entry["target_label"]) == (best.index, best.label)
    assert entry["probability"] == pytest.approx(best.probability, abs=1e-5)


def test_contrast_is_written(satchel, model, picture, tmp_path):
    words = ("--target", "finch", "--contrast", "bee-eater", "--explainer", "gradient", "--out", tmp_path / "out")
    assert satchel("explain", picture, *model, *words).code == 0
    (entry,) = listed(tmp_path / "out")
    assert (entry["target"], entry["contrast"], entry["contrast_label"]) == (0, 2, "bee-eater")


def test_a_picture_that_is_named_twice_is_explained_once(satchel, model, picture, tmp_path):
    again = f"{picture.parent}/./{picture.name}"
    done = satchel("explain", picture, again, *model, "--explainer", "gradient", "--out", tmp_path / "out")
    assert done.code == 0
    assert len(listed(tmp_path / "out")) == 1


def test_one_bad_picture_does_not_stop_the_others(satchel, model, picture, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    out = tmp_path / "out"
    done = satchel("explain", broken, picture, *model, "--explainer", "gradient", "--out", out)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "broken.jpg" in done.err
    assert [entry["picture"] for entry in listed(out)] == [str(picture)]


def test_pictures_of_one_name_do_not_overwrite_each_other(satchel, model, picture, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / picture.name.upper()  # the same file where a file system ignores case
    Image.fromarray(np.full((50, 50, 3), 200, np.uint8)).save(twin)
    twice = ("--explainer", "gradient", "--explainer", "gradient:reduction=squared")
    assert satchel("explain", picture, twin, *model, *twice, "--out", tmp_path / "out").code == 0
    entries = listed(tmp_path / "out")
    files = [entry["values_file"].casefold() for entry in entries]
    assert len(set(files)) == len(entries) == 4
    assert not np.array_equal(*(np.load(tmp_path / "out" / entries[i]["values_file"]) for i in (0, 2)))


@pytest.mark.slow
def test_a_demo_picture_with_the_default_model(satchel, tmp_path):
    Image.fromarray(render(2, 0).image).save(tmp_path / "bird.png")
    done = satchel("explain", tmp_path / "bird.png", "--explainer", "gradient", "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    (entry,) = listed(tmp_path / "out")
    assert entry["target_label"] in BIRDS


@pytest.mark.slow
@pytest.mark.data
def test_a_real_photo(satchel, data, tmp_path):
    photo = tmp_path / "goldfish.JPEG"
    shutil.copy(data / "imagenet100" / "images" / "n01443537_goldfish.JPEG", photo)
    spec = f"torchvision:mobilenet_v2@{data / 'weights' / 'mobilenet_v2.pth'}"
    done = satchel("explain", photo, "--model", spec, "--explainer", "suppression:samples=4", "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    (entry,) = listed(tmp_path / "out")
    assert (entry["target"], entry["target_label"]) == (1, "goldfish")
    assert entry["probability"] > 0.5
    assert np.load(tmp_path / "out" / entry["values_file"]).shape == (224, 224)


def test_what_is_said_of_the_model_reaches_it_and_what_was_noticed_is_told(satchel, model, picture, tmp_path):
    labels = tmp_path / "labels.json"
    labels.write_text('{"1": "finch", "2": "kingfisher", "3": "bee-eater"}')
    asked = ("--mean", "0.5", "--std", "0.5,0.5,0.25", "--size", "48x64", "--interpolation", "bicubic")
    words = ("--explainer", "gradient", "--output", "sigmoid", "--out", tmp_path / "out")
    done = satchel("explain", picture, *model[:2], "--labels", labels, *asked, *words)
    assert done.code == 0, done
    assert "numbers the classes from 1" in done.err
    (entry,) = listed(tmp_path / "out")
    wanted = load_classifier(
        model[1],
        labels=labels,
        output="sigmoid",
        preprocessing={"mean": 0.5, "std": (0.5, 0.5, 0.25), "size": (48, 64), "interpolation": "bicubic"},
    )
    _, prepared = explain(wanted, picture, "gradient")
    best = wanted.predict(prepared.tensor[None])[0][0]
    assert np.load(tmp_path / "out" / entry["values_file"]).shape == prepared.tensor.shape[1:] == (48, 64)
    assert (entry["target_label"], entry["probability"]) == (best.label, pytest.approx(best.probability, abs=1e-5))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--mean", "127.5"), "divide those of 0 to 255 by 255"),
        (("--mean", "0.5,0.5"), "one number or three"),
        (("--std", "half"), "one number or three"),
        (("--std", "0"), "std must be above 0"),
        (("--size", "big"), "HEIGHTxWIDTH"),
        (("--crop", "1x2x3"), "HEIGHTxWIDTH"),
        (("--size", "100000"), "8192"),
    ],
    ids=" ".join,
)
def test_what_is_said_of_the_model_must_make_sense(satchel, model, picture, tmp_path, option, word):
    done = satchel("explain", picture, *model, *option, "--out", tmp_path / "out")
    assert done.code == 2
    assert word in done.err
    assert done.err.count("\n") == 1
