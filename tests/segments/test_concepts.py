"""Segmenters that read: what transformers answers itself, folders and the hub, words that are none."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from text_models import WRITERS, write_clip

from core.errors import UserError
from core.images import Picture
from core.loading.pretrained import model_folder
from core.segments.registry import get_segmenter, segmenters
from core.segments.sam import checkpoints
from core.segments.sam.compact import Shape, build, save
from core.segments.sam.embeddings import EmbeddingCache
from core.segments.segmenters.concepts import USUAL
from core.segments.segmenters.grounding_dino import GroundingDinoParameters, prompt
from core.segments.segmenters.sam3 import Sam3Parameters

CONCEPTS = ("beak", "the sky", "Watermark")
TINY = Shape(64, (8, 8, 16, 16), (1, 1, 1, 1), (8, 8, 8, 8), embedding=32, decoder_hidden=32)


@pytest.fixture(scope="module")
def picture() -> Picture:
    values = np.random.default_rng(5).integers(0, 255, (40, 56, 3)).astype(np.uint8)
    return Picture(Image.fromarray(values), "noise")


@pytest.fixture
def open_(reader_folder, tmp_path, monkeypatch):
    """open_(name): a segmenter with its tiny model, found by what lies in the folder."""
    save(build(TINY), TINY, tmp_path / "compact_sam.safetensors", {})
    monkeypatch.setattr(checkpoints, "assets_dir", lambda: tmp_path)

    def make(name: str, concepts=CONCEPTS, **options):
        options = {"device": "cpu", "cache": EmbeddingCache(tmp_path / "cache"), **options}
        return get_segmenter(f"concepts:{reader_folder(name)}", concepts=concepts, **options)

    return make


def reference(folder, architecture):
    import transformers

    module = getattr(transformers, architecture).from_pretrained(folder).eval()
    return module, transformers.AutoProcessor.from_pretrained(folder)


@pytest.mark.slow
def test_the_folder_says_which_segmenter(open_):
    for name in WRITERS:
        one = open_(name)
        assert (one.name, one.concepts) == (name, CONCEPTS)
        assert one.source.partition("+")[0] == f"concepts:tiny-{name}"
        assert one.name in segmenters()


@pytest.mark.slow
def test_clipseg_is_transformers_own(open_, reader_folder, picture):
    module, processor = reference(reader_folder("clipseg"), "CLIPSegForImageSegmentation")
    inputs = processor(text=list(CONCEPTS), images=[picture.image] * len(CONCEPTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = module(**inputs).logits.sigmoid()
    one = open_("clipseg")
    planes, _ = one.probabilities(picture)
    torch.testing.assert_close(planes, expected, rtol=0, atol=1e-5)
    threshold = float(planes.median())
    found = one.segment(picture, one.parameters(threshold=threshold, confidence=0.0))
    assert found.names == CONCEPTS
    for item, plane in zip(found, expected):
        laid = torch.nn.functional.interpolate(plane[None, None], picture.size, mode="bilinear")[0, 0].numpy()
        sure = np.abs(laid - threshold) > 1e-4
        assert np.array_equal(item.mask.decode()[sure], (laid >= threshold)[sure])
        assert item.score == pytest.approx(laid[item.mask.decode()].mean(), abs=1e-5)
    everywhere = one.segment(picture, one.parameters(threshold=0.0, confidence=0.0))
    assert [item.mask.area for item in everywhere] == [40 * 56] * 3
    assert len(one.segment(picture, one.parameters(threshold=1.0))) == 0
    with_parts = one.segment(picture, one.parameters(threshold=threshold, confidence=0.0, split=True))
    assert len(with_parts) >= len(found)


@pytest.mark.slow
def test_grounding_dino_finds_transformers_boxes(open_, reader_folder, picture):
    module, processor = reference(reader_folder("grounding-dino"), "GroundingDinoForObjectDetection")
    inputs = processor(images=picture.image, text=[[prompt(concept) for concept in CONCEPTS]], return_tensors="pt")
    with torch.no_grad():
        outputs = module(**inputs)
    expected = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[picture.size])[0]
    one = open_("grounding-dino")
    found = one.boxes(picture, GroundingDinoParameters(confidence=0.0, duplicates=1.0, most=900))
    theirs = {tuple(np.round(box, 2)) for box in expected["boxes"].clamp(min=0).numpy()}
    assert {tuple(np.round(np.float32(box), 2)) for _, box, _ in found} <= {
        (a, b, min(c, np.float32(56)), min(d, np.float32(40))) for a, b, c, d in theirs
    }
    assert [score for *_, score in found] == sorted((score for *_, score in found), reverse=True)
    # "[CLS] b ##e ##a ##k . t ##h ##e s ##k ##y . w ... . [SEP]": a score is the mean over the tokens of a word
    tokens = [[1, 2, 3, 4], [6, 7, 8, 9, 10, 11], list(range(13, 22))]
    assert processor.tokenizer.convert_ids_to_tokens(inputs.input_ids[0])[12:14] == [".", "w"]
    probabilities = outputs.logits[0].sigmoid()
    by_hand = torch.stack([probabilities[:, own].mean(1) for own in tokens], 1)
    torch.testing.assert_close(one.scores(outputs.logits[0]), by_hand)


@pytest.mark.slow
def test_grounding_dino_cuts_with_the_sam(open_, picture):
    one = open_("grounding-dino")
    found = one.segment(picture, GroundingDinoParameters(confidence=0.0, most=2))
    boxes = one.boxes(picture, GroundingDinoParameters(confidence=0.0, most=2))
    assert len(boxes) == 2
    by_sam = [get_segmenter("sam", device="cpu").sam.predict(picture, box=box).masks[0] for _, box, _ in boxes]  # ty: ignore[missing-attribute]
    assert np.array_equal(found.masks, np.stack([mask for mask in by_sam if mask.sum() >= 16]))
    assert {item.source for item in found} == {"concepts:tiny-grounding-dino+sam:compact"}
    assert "sam=vit_b" in open_("grounding-dino", sam="vit_b").signature(GroundingDinoParameters())


def test_boxes_compete_within_a_word(open_, picture):
    """Two nearly equal boxes for the beak, the same for the sky, and one thinner than a pixel."""
    one = open_("grounding-dino", ["beak", "sky"])
    logits = torch.full((1, 4, 256), -9.0)
    logits[0, 0, 1:5], logits[0, 1, 1:5], logits[0, 2, 6:9], logits[0, 3, 1:5] = 2.0, 1.0, 0.0, 3.0
    boxes = torch.tensor([[[0.5, 0.5, 0.5, 0.5], [0.51, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.01, 0.9]]])
    answer = SimpleNamespace(logits=logits, pred_boxes=boxes)
    one._reader = replace(one.load(), module=lambda **_: answer)
    two, one_, zero = torch.tensor([2.0, 1.0, 0.0]).sigmoid().tolist()
    found = one.boxes(picture, GroundingDinoParameters(duplicates=0.7))
    assert [(index, box) for index, box, _ in found] == [(0, (14.0, 10.0, 42.0, 30.0)), (1, (14.0, 10.0, 42.0, 30.0))]
    assert [score for *_, score in found] == pytest.approx([two, zero])
    every = one.boxes(picture, GroundingDinoParameters(duplicates=1.0))
    assert [score for *_, score in every] == pytest.approx([two, one_, zero])
    assert len(one.boxes(picture, GroundingDinoParameters(duplicates=1.0, most=1))) == 1
    assert len(one.boxes(picture, GroundingDinoParameters(confidence=0.8))) == 1


@pytest.mark.slow
def test_sam3_is_transformers_own(open_, reader_folder, picture):
    module, processor = reference(reader_folder("sam3"), "Sam3Model")
    one = open_("sam3")
    with torch.no_grad():
        outputs = module(**processor(images=picture.image, text="beak", return_tensors="pt"))
    scores = (outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid())[0]
    confidence, threshold = float(scores.median()), float(outputs.pred_masks.sigmoid().median())
    expected = processor.post_process_instance_segmentation(
        outputs, threshold=confidence - 1e-6, mask_threshold=threshold, target_sizes=[picture.size]
    )[0]
    found = open_("sam3", ["beak"]).segment(picture, Sam3Parameters(confidence - 1e-6, threshold))
    order = expected["scores"].argsort(descending=True)
    big = [i for i in order.tolist() if expected["masks"][i].sum() >= 16]
    assert len(found) == len(big) > 0
    assert [item.score for item in found] == pytest.approx(expected["scores"][big].tolist(), abs=1e-5)
    agree = (found.masks == expected["masks"][big].numpy().astype(bool)).mean()
    assert agree > 0.99
    assert set(one.segment(picture, Sam3Parameters(0.0, 0.0)).names) == set(CONCEPTS)


@pytest.mark.slow
def test_sam3_out_of_the_video_model(open_, reader_folder, tmp_path, picture):
    """As it is published: the detector among the tensors of the tracker."""
    folder = shutil.copytree(reader_folder("sam3"), tmp_path / "video")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"model_type": "sam3_video", "detector_config": config}))
    tensors = {f"detector_model.{key}": value for key, value in load_file(folder / "model.safetensors").items()}
    save_file({**tensors, "tracker_model.x": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    one = get_segmenter(f"concepts:{folder}", concepts=["beak"], device="cpu")
    everything = Sam3Parameters(confidence=0.0, threshold=0.0)
    assert one.name == "sam3"
    assert one.segment(picture, everything).names == open_("sam3", ["beak"]).segment(picture, everything).names != ()


# -- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_words_are_data(open_, picture, name):
    """Markup, slashes, emoji, and 200 letters, which are more than a model reads."""
    words = ["a/b/../c", "<script>", "bird \N{BIRD}", "long " * 40]
    one = open_(name, words)
    assert one.concepts == (*words[:3], ("long " * 40).strip())
    parameters = {spec.name: 0.0 for spec in one.parameters.specs() if spec.name in ("confidence", "threshold")}
    assert set(one.segment(picture, one.parameters(**parameters)).names) <= set(one.concepts)


@pytest.mark.slow
def test_words_that_are_none(open_, picture, refused):
    refused(lambda: open_("clipseg", ["beak", " "]), "A word is empty")
    refused(lambda: open_("clipseg", []), "A word is empty")
    refused(lambda: open_("clipseg", ["beak", "Beak"]), "'Beak' is given twice")
    refused(lambda: open_("clipseg", ["a" * 10_000]), "10000 characters")
    refused(lambda: open_("clipseg", ["a\nb"]), "line break")
    refused(lambda: open_("clipseg", None).segment(picture), "say which")
    refused(lambda: open_("grounding-dino", ["..."]).load(), "no word in the concept '...'")
    refused(lambda: open_("grounding-dino", [f"{'word ' * 30}{i}" for i in range(9)]).load(), "tokens", "give fewer")
    with pytest.raises(TypeError):
        open_("clipseg", "beak")


# -- where models lie -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_folders_that_are_none(reader_folder, tmp_path, refused):
    def opened(spec):
        return lambda: get_segmenter(spec, concepts=["beak"], device="cpu").load()

    refused(opened("concepts:nowhere"), "no folder nowhere")
    refused(opened(f"concepts:{tmp_path}"), "no config.json")
    refused(opened(f"concepts:{write_clip(tmp_path / 'clip')}"), "'clip'", "CLIPSeg, Grounding DINO, SAM 3")
    refused(opened(f"sam3:{reader_folder('clipseg')}"), "kind 'clipseg'", "SAM 3's")
    folder = shutil.copytree(reader_folder("clipseg"), tmp_path / "damaged")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(opened(f"concepts:{folder}"), "cannot be loaded as CLIPSeg")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(opened(f"concepts:{folder}"), "no .safetensors weights")
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "tokenizer.json").write_text("{}")
    refused(opened(f"concepts:{folder}"), "cannot be loaded as CLIPSeg")
    (folder / "config.json").write_text("[]")
    refused(opened(f"concepts:{folder}"), "does not say what model it is")
    folder = shutil.copytree(reader_folder("clipseg"), tmp_path / "headless")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "reduce_dim": 12}))
    refused(opened(f"concepts:{folder}"), "lack")


def test_nothing_in_a_folder_is_run(reader_folder, tmp_path, refused):
    folder = shutil.copytree(reader_folder("clipseg"), tmp_path / "code")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'was here')!r}, 'w')")
    get_segmenter(f"concepts:{folder}", concepts=["beak"], device="cpu").load()
    assert not (tmp_path / "was here").exists()


def test_nothing_is_printed(open_, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        open_("clipseg").load()
    assert capfd.readouterr().err == ""


def test_without_transformers_the_extra_is_named(monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(lambda: get_segmenter("concepts:", concepts=["beak"]), "satchel[text]")
    refused(lambda: get_segmenter("sam3", concepts=["beak"]).load(), "satchel[text]")
    assert set(WRITERS) <= set(segmenters())
    assert "satchel[text]" in get_segmenter("sam3", concepts=["beak"]).supports()


def test_an_old_transformers(monkeypatch, refused, reader_folder):
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(__version__="4.40"))
    refused(lambda: get_segmenter("sam3", concepts=["a"], device="cpu").load(), "newer transformers than 4.40")


def test_models_of_the_hub(monkeypatch, reader_folder, tmp_path, refused):
    """From its cache, else over the network; nothing but what is needed."""
    import huggingface_hub

    calls, there = [], {"cached": False}

    def snapshot_download(name, *, local_files_only=False, allow_patterns, tqdm_class=None):
        calls.append((name, local_files_only))
        assert "*.bin" not in allow_patterns
        assert "*.py" not in allow_patterns
        if local_files_only and not there["cached"]:
            raise FileNotFoundError("not in the cache")
        if tqdm_class is not None:
            bar = tqdm_class(total=4 << 20, unit="B", name="x", desc="Downloading")
            bar.update(2 << 20)
            bar.refresh()
            bar.close()
        return str(reader_folder("clipseg"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    told = []
    assert model_folder("someone/clipseg", lambda part, text: told.append((part, text))) == reader_folder("clipseg")
    assert calls == [("someone/clipseg", True), ("someone/clipseg", False)]
    assert (0.5, "Downloading someone/clipseg (2 of 4 MB)") in told
    there["cached"] = True
    calls.clear()
    one = get_segmenter("concepts:", concepts=["beak"], device="cpu")
    assert (one.spec, one.source) == (USUAL, "concepts:clipseg-rd64-refined")
    assert calls == [(USUAL, True)]

    def offline(*_, **__):
        raise OSError("no\nconnection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    refused(lambda: model_folder("someone/else"), "(no)", "give a folder")
    with pytest.raises(UserError):
        model_folder("../../etc")
