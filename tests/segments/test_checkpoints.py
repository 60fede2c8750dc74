"""SAMs by name and by file, and files that are none."""

from __future__ import annotations

import os

import pytest
import torch
from segment_anything import sam_model_registry

from core.errors import UserError
from core.segments.sam import checkpoints
from core.segments.sam.checkpoints import PUBLISHED, load_sam
from core.segments.sam.compact import Shape, build, save

TINY = Shape(64, (8, 8, 16, 16), (1, 1, 1, 1), (8, 8, 8, 8), embedding=32, decoder_hidden=32)


@pytest.fixture
def small_vit_b(monkeypatch):
    """The package's builder of vit_b, in its place a small SAM."""
    monkeypatch.setitem(sam_model_registry, "vit_b", lambda: build(TINY, seed=9))
    return build(TINY, seed=4)


def refused(spec: str, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_sam(spec)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_every_published_name_is_one_that_the_package_builds():
    assert set(PUBLISHED) <= set(sam_model_registry)
    assert all(len(one.sha256) == 64 and one.url.endswith(one.file) for one in PUBLISHED.values())


def test_a_file_is_loaded_into_its_architecture(small_vit_b, tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(small_vit_b.state_dict(), path)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    found = load_sam(f"vit_b@{path}")
    assert torch.equal(torch.get_rng_state(), before)
    expected = small_vit_b.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in found.state_dict().items())
    assert not found.training


def test_a_published_one_is_downloaded_under_its_hash(small_vit_b, tmp_path, monkeypatch):
    path = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save(small_vit_b.state_dict(), path)
    asked = []

    def download(*given):
        asked.append(given)
        return path

    monkeypatch.setattr(checkpoints, "download", download)
    load_sam("vit_b", progress=print)
    assert asked == [(PUBLISHED["vit_b"].url, "SAM vit_b", print, PUBLISHED["vit_b"].sha256)]


def test_the_compact_one_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "assets_dir", lambda: tmp_path)
    refused("compact", "compact_sam.safetensors) are missing", "install Satchel again")
    save(build(TINY), TINY, tmp_path / "compact_sam.safetensors", {})
    assert load_sam("compact").image_encoder.img_size == 64


def test_a_compact_one_of_ones_own(tmp_path):
    save(build(TINY), TINY, tmp_path / "mine.safetensors", {})
    assert load_sam(f"compact@{tmp_path / 'mine.safetensors'}").image_encoder.img_size == 64


class Code:
    def __reduce__(self):
        return os.mkdir, ("satchel_ran_this",)


def test_wrong_files_end_in_a_sentence(small_vit_b, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.pth"
    torch.save(small_vit_b.state_dict(), good)
    (tmp_path / "cut.pth").write_bytes(good.read_bytes()[:-5000])
    torch.save({"weight": Code()}, tmp_path / "code.pth")
    torch.save({key: value for key, value in small_vit_b.state_dict().items() if "mask" not in key}, "other.pth")
    refused("vit_b@cut.pth", "cut off")
    refused("vit_b@code.pth", "never runs")
    refused("vit_b@other.pth", "another architecture")
    refused("vit_b@missing.pth", "There is no weights file")
    refused("compact@good.pth", "does not state the size")
    assert not (tmp_path / "satchel_ran_this").exists()


def test_names_that_are_none():
    refused("vit_x", "There is no SAM 'vit_x'", "did you mean")
    refused("", "There is no SAM")
    refused("vit_b@", "ends after the @")
