"""What the text boxes of the page may name: nothing that was not named when it was started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.data import Dataset
from core.errors import UserError
from dashboard.allowed import Allowed, places_in
from dashboard.classifiers import Classifiers
from dashboard.page import Page
from dashboard.report.finished import Reports
from dashboard.sessions import Sessions

BOXES = {
    "model": lambda page, place: page.classifiers.get(f"torchvision:squeezenet1_1@{place}"),
    "hugging face model": lambda page, place: page.classifiers.get(f"hf:{place}"),
    "report": lambda page, place: Reports(page.allowed).get(place),
    "sam": lambda page, place: page.segmenters.sam(f"vit_b@{place}"),
    "sam of a cutter": lambda page, place: page.segmenters.get("clipseg", words=["beak"], sam=f"vit_b@{place}"),
    "semantic model": lambda page, place: page.segmenters.get("semantic", f"deeplabv3_resnet50@{place}"),
    "model that reads": lambda page, place: page.segmenters.get("clipseg", str(place), ["beak"]),
}


@pytest.fixture
def page(tmp_path: Path) -> Page:
    """Started with a report, a model's file and one folder more."""
    for name in ("report", "models", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.pth").write_bytes(b"nothing")
    spec = f"torchvision:squeezenet1_1@{tmp_path}/own.pth"
    return Page(Classifiers(spec), Sessions(spec), report=tmp_path / "report", allow=(tmp_path / "models",))


def said(box: str, page: Page, place: str | Path) -> str:
    with pytest.raises(UserError) as told:
        BOXES[box](page, place)
    return str(told.value)


@pytest.mark.parametrize("box", BOXES)
def test_all_that_lies_elsewhere_gets_the_same_words(box, page, closed, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "models/way_out").symlink_to(tmp_path / "elsewhere")
    elsewhere = [
        *(
            tmp_path / name
            for name in ("elsewhere/weights.pth", "elsewhere/missing.pth", "models/../elsewhere", "pipe")
        ),
        *(tmp_path, tmp_path / "models/way_out/weights.pth", f"{tmp_path}/models-of-others/x"),
        *(closed / "inside", closed / "missing", "/dev/zero", "/etc/passwd"),
        *("~root/x", "~nosuchuser/x", "x" * 5000, "/a\0b"),
    ]
    (sentence,) = {said(box, page, place) for place in elsewhere}
    assert sentence.startswith("The page opens only what was named when it was started; start it with `satchel serve")


@pytest.mark.slow
@pytest.mark.parametrize("box", sorted(BOXES.keys() - {"sam of a cutter"}))  # which fetches its first model before
def test_what_was_named_at_the_start_gets_its_own_sentence(box, page, tmp_path):
    for place in (tmp_path / "models/missing", tmp_path / "report/missing", tmp_path / "own.pth"):
        assert "named when it was started" not in said(box, page, place)
    os.mkfifo(tmp_path / "models/pipe")
    if box != "model that reads":
        assert "a device, a pipe or a socket" in said(box, page, tmp_path / "models/pipe")


def test_what_names_no_place_is_left_to_the_loaders(page):
    for spec in ("torchvision:resnet18", "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k", "demo:biased", "sam:vit_b"):
        assert places_in(spec) == []
        page.allowed.check_spec(spec)
    page.allowed.check_reader("openai/clip-vit-large-patch14")
    page.allowed.check_reader("")


def test_the_data_and_all_shipped_files_are_allowed(tmp_path):
    data = Dataset("data", str(tmp_path / "data"), ())
    page = Page(Classifiers(), Sessions("demo:biased"), given=data, segments=tmp_path / "cut")
    for place in (tmp_path / "data/a", tmp_path / "cut"):
        page.allowed.check(place)
    assert Reports().get(next(iter(shipped())))
    with pytest.raises(UserError):
        Allowed().check(tmp_path)


def shipped() -> list[Path]:
    from dashboard.report.finished import shipped_reports

    return list(shipped_reports().values())
