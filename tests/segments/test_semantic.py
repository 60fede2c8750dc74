"""torchvision's semantic models: masks that lie where they belong, names, files of one's own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import get_model, get_model_weights

from core.errors import UserError
from core.images import Picture
from core.loading import torchvision_models
from core.segments.registry import get_segmenter
from core.segments.segmenters import semantic
from core.segments.segmenters.semantic import NAMES, Semantic, SemanticParameters, frame

NAME = "lraspp_mobilenet_v3_large"
ALL = SemanticParameters(confidence=0.0)


class ByColour(nn.Module):
    """Logits that are the channels of the picture, so that the answer is known."""

    def forward(self, images):
        return {"out": 20 * images}


def painted(height: int = 40, width: int = 60) -> Picture:
    """Red, but for a green corner and two blue squares."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 255
    image[:10, :12] = (0, 255, 0)
    image[20:30, 10:20] = image[25:35, 40:50] = (0, 0, 255)
    return Picture(Image.fromarray(image), "painted")


@pytest.fixture
def by_colour(monkeypatch) -> Semantic:
    one = Semantic(device="cpu")
    plain = semantic.Preprocessing(None, (1, 1), mean=(0, 0, 0), std=(1, 1, 1))
    model = semantic.Model(ByColour(), ("background", "leaf", "sea"), plain, torch.device("cpu"), "float32")
    monkeypatch.setattr(one, "_model", model)
    return one


def test_one_mask_a_category(by_colour):
    picture = painted()
    found = by_colour.segment(picture)
    assert found.names == ("background", "leaf", "sea")
    assert found.kinds == ("context", "unset", "unset")
    assert {item.naming for item in found} == {"model"}
    assert np.array_equal(found.masks, np.moveaxis(picture.array() == 255, -1, 0))
    probability = float(torch.tensor([20.0, 0, 0]).softmax(0)[0])
    assert [item.score for item in found] == pytest.approx([probability] * 3)
    assert {item.source for item in found} == {"semantic:deeplabv3_mobilenet_v3_large"}


def test_regions_on_their_own(by_colour):
    found = by_colour.segment(painted(), SemanticParameters(split=True))
    assert found.titles == ("background", "leaf", "sea", "sea 2")
    assert [item.mask.area for item in found] == [2400 - 120 - 200, 120, 100, 100]


def test_what_is_doubtful_is_left_out(by_colour):
    grey = Picture(Image.new("RGB", (20, 20), (100, 98, 0)), "grey")
    assert by_colour.segment(grey).names == ("background",)
    assert by_colour.segment(grey, SemanticParameters(confidence=0.6)).names == ()
    assert by_colour.segment(grey, SemanticParameters(confidence=0.5)).items[0].score == pytest.approx(0.539, abs=1e-3)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (333, 500), (30, 90), (1, 1)])
def test_frames_are_torchvisions(size):
    transform = get_model_weights(NAME)["DEFAULT"].transforms()
    assert frame(520, size) == tuple(transform(Image.new("RGB", size[::-1])).shape[1:])


def test_ribbons_stay_small():
    assert frame(520, (20, 4000)) == (10, 2080)
    assert frame((64, 48), (20, 4000)) == (64, 48)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Four categories, untrained, with all that belongs to it in the file."""
    torch.manual_seed(0)
    module = get_model(NAME, weights=None, weights_backbone=None, num_classes=4)
    path = tmp_path_factory.mktemp("semantic") / "own.safetensors"
    about = {"labels": json.dumps(["__background__", "a/b", "<b>", "\N{BIRD}"])}
    save_file(module.state_dict(), path, {**about, "preprocessing": json.dumps({"resize": [32, 48], "crop": None})})
    return module.eval(), path


@pytest.mark.slow
def test_weights_of_ones_own(own):
    module, path = own
    one = get_segmenter(f"semantic:{NAME}@{path}", device="cpu")
    picture = painted()
    planes, geometry = one.load().probabilities(picture)
    assert one.load().categories == ("background", "a/b", "<b>", "\N{BIRD}")
    pixels = np.asarray(picture.image.resize((48, 32), Image.Resampling.BILINEAR), np.float32) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = ((torch.from_numpy(pixels) - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        torch.testing.assert_close(planes, module(images)["out"][0].softmax(0), rtol=0, atol=1e-5)
    assert geometry.picture_size == (40, 60)
    found = one.segment(picture, ALL)
    assert found.masks.sum(0).max() == 1
    assert {item.source for item in found} == {f"semantic:{NAME}@own.safetensors"}
    assert one.signature(ALL).startswith(f"semantic:{NAME}@{path} (weights=")


@pytest.mark.slow
def test_published_weights_are_read_with_their_names(monkeypatch):
    """As downloaded, but untrained: with an auxiliary head, 21 categories and the usual size."""
    name = "fcn_resnet50"
    module = get_model(name, weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    asked = []

    def published(*given):
        asked.append(given[:2])
        return get_model_weights(name)["DEFAULT"], module.state_dict()

    monkeypatch.setattr(semantic, "published", published)
    model = get_segmenter(f"semantic:{name}", device="cpu").load()
    assert asked == [(name, "semantic:fcn_resnet50")]
    assert model.categories[:3] == ("background", "aeroplane", "bicycle")
    assert (model.preprocessing.resize, model.preprocessing.mean) == (520, (0.485, 0.456, 0.406))


def test_downloads_use_the_common_code(monkeypatch):
    asked = []

    def download(url, what, progress, digest):
        asked.append((url.rpartition("/")[2], what, digest))
        raise UserError("no connection")

    monkeypatch.setattr(torchvision_models, "download", download)
    with pytest.raises(UserError, match="no connection"):
        get_segmenter(f"semantic:{NAME}").segment(painted())
    assert asked == [("lraspp_mobilenet_v3_large-d234d4ea.pth", f"semantic:{NAME}", "d234d4ea")]


@pytest.mark.slow
def test_what_does_not_fit(own, tmp_path, refused):
    module, path = own
    refused(lambda: get_segmenter("semantic:deeplab"), "no semantic model 'deeplab'")
    refused(lambda: get_segmenter(f"semantic:{NAME}@"), "ends after the @")
    refused(lambda: get_segmenter(f"semantic:{NAME}@{tmp_path / 'none.pth'}").load(), "no weights file")
    refused(lambda: get_segmenter(f"semantic:fcn_resnet50@{path}", device="cpu").load(), "another architecture")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:5000])
    refused(lambda: get_segmenter(f"semantic:{NAME}@{tmp_path / 'cut.safetensors'}").load(), "no whole safetensors")
    torch.save(module, tmp_path / "pickle.pth")
    refused(lambda: get_segmenter(f"semantic:{NAME}@{tmp_path / 'pickle.pth'}").load(), "pickle.pth")
    save_file(module.state_dict(), tmp_path / "bare.safetensors")
    bare = f"semantic:{NAME}@{tmp_path / 'bare.safetensors'}"
    refused(lambda: get_segmenter(bare).load(), "4 categories", "--labels")
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    refused(lambda: get_segmenter(bare, labels=tmp_path / "names.txt").load(), "4 categories but 3 labels")
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    assert get_segmenter(bare, labels=tmp_path / "names.txt", device="cpu").load().categories == ("a", "b", "c", "d")
    assert NAME in NAMES
