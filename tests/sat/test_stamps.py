"""Stamps on models whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from toy import SIDE, toy_classifier, toy_options

from core.data import open_dataset
from core.errors import UserError
from core.sat.report import build_report
from core.sat.saved_report import open_report
from core.sat.stamps import Stamp, judge_stamps, margins, scrambled, stamp_records


class Stripes(nn.Module):
    """Class 1 fires on what is steeper across than down; colour tells it nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grey = x.mean(1)
        across, down = (grey.diff(dim=axis).abs().mean((1, 2)) for axis in (2, 1))
        return 60 * torch.stack([down, across], 1)


def stripes(alpha: int = 255) -> np.ndarray:
    pixels = np.full((40, 80, 4), 255, np.uint8)
    pixels[:, ::4, :3] = pixels[:, 1::4, :3] = 0
    pixels[..., 3] = alpha
    return pixels


def pictures(count: int = 24) -> list[tuple[str, str, torch.Tensor]]:
    random = torch.Generator().manual_seed(0)
    return [(str(n), str(n), 0.5 + 0.05 * torch.randn(3, SIDE, SIDE, generator=random)) for n in range(count)]


def test_what_is_read_off_its_shape_is_found_and_its_colour_alone_is_not():
    shape, colour = (toy_classifier(module=module) for module in (Stripes(), None))
    (found,) = judge_stamps(stamp_records(pictures(), [Stamp("s.png", stripes(), 0.8)], shape, 0), shape.labels, 0.5)
    first = found["classes"][0]
    assert (first["target"], first["confirmed"]) == ("stamped", True)
    assert first["effect"][1] > 0.5
    assert f"to the log-odds of stamped and turns {first['turned']} of 24 answers" in found["sentence"]
    blue = np.full((40, 80, 4), (60, 60, 250, 255), np.uint8)
    (found,) = judge_stamps(stamp_records(pictures(), [Stamp("b.png", blue, 0.8)], colour, 0), colour.labels, 0.5)
    first = found["classes"][0]
    assert not first["confirmed"]
    assert max(one["raw"] for one in found["classes"]) > 1  # all of it is the colour, which the placebo has as well
    assert "pushes no class" in found["sentence"]


def test_margins_are_the_classifiers():
    classifier = toy_classifier()
    logits = torch.tensor([[2.0, -1.0], [60.0, -60.0]])
    for target in (0, 1):
        wanted = classifier.margin(logits[:1], torch.tensor([target]))
        assert margins(classifier, logits[:1])[0, target] == pytest.approx(float(wanted[0]), rel=1e-5)
    assert torch.isfinite(margins(classifier, logits)).all()


def test_a_stamp_stays_in_the_picture_and_keeps_its_translucency():
    image, random = torch.zeros(3, 30, 60), np.random.default_rng(0)
    for width in (0.02, 0.5, 1.0):
        marked, placebos = Stamp("s", np.full((90, 60, 4), (255, 255, 255, 51), np.uint8), width).on(image, random)
        assert marked.max() == pytest.approx(0.2, abs=1e-4)
        inside = (marked > 0).float().mean()
        assert inside == pytest.approx(min(width, 0.5 / 1.5) ** 2 * 1.5 * 2, rel=0.4)
        assert all(torch.allclose(one.sum(), marked.sum()) for one in placebos)
    assert image.max() == 0


def test_scrambling_keeps_every_pixel():
    patch = torch.rand(4, 43, 81, generator=torch.Generator().manual_seed(0))
    mixed = scrambled(patch, np.random.default_rng(0))
    assert torch.allclose(mixed.flatten().sort().values, patch.flatten().sort().values)
    assert not torch.equal(mixed, patch)


def test_few_pictures_say_nothing():
    classifier = toy_classifier(module=Stripes())
    told = judge_stamps(
        stamp_records(pictures(4), [Stamp("s.png", stripes(), 0.8)], classifier, 0), classifier.labels, 0.5
    )
    assert "too few" in told[0]["sentence"]
    assert not any(one["confirmed"] for one in told[0]["classes"])


def test_files_that_are_no_stamps(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    with pytest.raises(UserError, match="transparent"):
        Stamp.read(tmp_path / "clear.png", 0.5)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UserError, match=r"text\.png"):
        Stamp.read(tmp_path / "text.png", 0.5)
    stamp = Stamp("a.png", stripes(), 0.5)
    with pytest.raises(UserError, match="Two stamps are called"):
        toy_options(stamps=(stamp, stamp))


def test_deep_and_clear_pictures_are_read_as_they_look(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(1, 64).repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    deep = Stamp.read(tmp_path / "deep.png", 0.5).pixels
    assert np.abs(deep[0, :, 0] - np.linspace(0, 255, 64)).max() <= 2
    assert (deep[..., 3] == 255).all()
    pale = Image.new("P", (4, 4), 0)
    pale.putpalette([200, 10, 10] + [0, 0, 0] * 255)
    pale.info["transparency"] = bytes([77] + [255] * 255)
    pale.save(tmp_path / "palette.png")
    assert Stamp.read(tmp_path / "palette.png", 0.5).pixels[0, 0].tolist() == [200, 10, 10, 77]


def test_a_report_on_pictures_without_masks_tests_whole_pictures_and_stamps(tmp_path):
    for label in ("plain", "stamped"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for n in range(12):
            array = np.random.default_rng(n).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
            array[..., 2] = np.minimum(array[..., 2], 255 if label == "stamped" else 90)
            array[..., 0] = np.minimum(array[..., 0], 255 if label == "plain" else 90)
            Image.fromarray(array).save(tmp_path / "data" / label / f"{n}.png")
    stamp = Stamp("s.png", stripes(128), 0.5)
    list(
        build_report(open_dataset(tmp_path / "data"), toy_classifier(), tmp_path / "out", toy_options(stamps=(stamp,)))
    )
    report = open_report(tmp_path / "out")
    assert report.findings == []
    assert report.manifest["stamps"][0]["pictures"] == 24
    cast = [one for one in report.manifest["whole"] if one["property"] == "colour cast"]
    assert {one["verdict"] for one in cast} <= {"confirmed", "suspected", "inconclusive"}
    assert json.loads((tmp_path / "out" / "findings.json").read_text()) == []
    named = toy_options(context=("mark",))
    with pytest.raises(UserError, match="no masks"):
        list(build_report(open_dataset(tmp_path / "data"), toy_classifier(), tmp_path / "again", named))
