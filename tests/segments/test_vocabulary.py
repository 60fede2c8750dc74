"""Names from a list of words, with a tiny CLIP."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parts import draw, nameless, parts_data
from PIL import Image
from text_models import write_clip

from core.images import Picture
from core.segments import Mask, Segment
from core.segments.naming.descriptions import Descriptions
from core.segments.naming.namer import UNSURE
from core.segments.naming.spread import name_from_words
from core.segments.naming.vocabulary import OTHERS, SENTENCES, Vocabulary, crop, open_vocabulary
from core.segments.saved.records import mask_key
from core.segments.saved.store import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture(scope="module")
def vocabulary(folder) -> Vocabulary:
    return open_vocabulary(str(folder), ["disc", "bar", "a/<b>\N{BIRD}"], device="cpu")


def test_rows_and_beliefs_are_the_models_own(vocabulary, folder):
    import transformers

    module, processor = (one.from_pretrained(folder) for one in (transformers.CLIPModel, transformers.CLIPProcessor))
    picture, segments = draw(0)
    crops = [crop(picture, segment) for segment in segments]
    inputs = processor(text=["disc"], images=crops, return_tensors="pt")
    with torch.no_grad():
        outputs = module.eval()(**inputs)
    rows = vocabulary.crops.describe(picture, segments)
    np.testing.assert_allclose(rows, outputs.image_embeds, atol=1e-5)
    words = (*sorted(["disc", "bar", "a/<b>\N{BIRD}"]), *OTHERS)
    texts = []
    for word in words:
        tokens = processor.tokenizer([s.format(word) for s in SENTENCES], padding=True, return_tensors="pt")
        with torch.no_grad():
            each = F.normalize(module.get_text_features(**tokens).pooler_output, dim=1)
        texts.append(F.normalize(each.mean(0), dim=0))
    expected = (module.logit_scale.exp() * outputs.image_embeds @ torch.stack(texts).T).softmax(1)
    found = vocabulary.beliefs(rows, ("0",) * 3)
    assert found.names == vocabulary.names == words[:3]
    np.testing.assert_allclose(found.each, expected.detach()[:, :3], atol=1e-4)
    assert vocabulary.crops.describe(picture, replace(segments, items=())).shape == (0, 16)
    assert vocabulary.beliefs(rows[:0], ()).each.shape == (0, 3)


def test_a_crop_shows_the_mask_and_fades_the_rest():
    image = np.full((20, 30, 3), (250, 0, 0), np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[5:15, 0:4] = True
    image[mask] = (0, 250, 0)
    shown = np.asarray(crop(Picture(Image.fromarray(image)), Segment(Mask.from_dense(mask))), int)
    assert shown.shape == (13, 13, 3)  # ten pixels, and 0.15 of that on each side
    green = (shown == (0, 250, 0)).all(2)
    assert green.sum() == mask.sum()
    rows, columns = np.nonzero(green)
    assert (rows.min(), rows.max()) == (2, 11)
    left = columns.min()
    assert (shown[:, :left] == 128).all()  # beyond the picture
    np.testing.assert_allclose(shown[0, -1], 0.8 * 128 + 0.2 * np.array([250, 0, 0]), atol=1)


def test_large_masks_are_made_small():
    picture = Picture(Image.new("RGB", (900, 700)))
    assert crop(picture, Segment(Mask.from_dense(np.ones((700, 900), bool)))).size == (448, 448)


class Knows(Vocabulary):
    """A vocabulary that knows the parts: rows are colours."""

    names = ("bar", "disc")
    fingerprint = "knows"

    def __init__(self):
        self.crops, self.looked = self, []
        self.name = "colours"

    def describe(self, picture, segments):
        self.looked.append(picture.name)
        return np.stack([picture.array()[segment.mask.decode()].mean(0) for segment in segments]).astype(np.float32)

    def beliefs(self, rows, pictures, given=None):
        from core.segments.naming.namer import Beliefs

        bar, disc = rows[:, 2] > 150, rows[:, 0] > 150
        return Beliefs(self.names, 0.9 * np.stack([bar, disc], 1), np.zeros(len(rows)))


def test_proposals_are_saved_like_all_others(tmp_path):
    data, store, knows = parts_data(4), Store(tmp_path), Knows()
    masks = nameless(draw(0)[1])
    typed = (replace(masks.items[0], name="grass", naming="typed"), *masks.items[1:])
    bar = mask_key(masks.items[2].mask)
    store.save("0", replace(masks, items=typed), None, "typed", nameless=frozenset({bar}))
    steps = [(step.stage, step.done) for step in name_from_words(data, store, knows)]
    assert steps == [("naming", n) for n in (1, 2, 3, 4)]
    assert store.load("0").segments.names == ("grass", "disc", "")
    assert [item.naming for item in store.load("0").segments] == ["typed", "proposed", ""]
    for seed in "123":
        found = store.load(seed).segments
        assert found.names == ("", "disc", "bar")  # what fits no word stays unsure
        assert [item.confidence for item in found] == [None, 0.9, 0.9]
    assert len(knows.looked) == 4
    before = [store.load(item.id) for item in data.items]
    list(name_from_words(data, store, knows))
    assert [store.load(item.id) for item in data.items] == before
    assert len(knows.looked) == 4


def test_a_whole_run_with_a_tiny_clip(vocabulary, tmp_path):
    data, store = parts_data(2), Store(tmp_path)
    list(name_from_words(data, store, vocabulary))
    for item in data.items:
        found = store.load(item.id)
        rows = Descriptions(tmp_path / "descriptions", vocabulary.crops).of(item, found.segments)
        beliefs = vocabulary.beliefs(rows, (item.id,) * 3)
        assert found.segments.names == beliefs.proposed
        assert all(one.confidence is None or one.confidence >= UNSURE for one in found.segments)
        assert found.made_by["namer"] == vocabulary.fingerprint


def test_other_words_are_another_vocabulary(folder, vocabulary):
    again, other = (open_vocabulary(str(folder), words, device="cpu") for words in (vocabulary.names, ["disc"]))
    assert again.fingerprint == vocabulary.fingerprint != other.fingerprint
    assert again.crops.name == other.crops.name


def test_what_cannot_be_done(folder, tmp_path, refused, reader_folder):
    refused(lambda: open_vocabulary(str(folder), []), "--vocabulary")
    refused(lambda: open_vocabulary(str(folder), ["a", "A"]), "given twice")
    refused(lambda: open_vocabulary(str(folder), ["x" * 10_000]), "10000 characters")
    refused(lambda: open_vocabulary(str(tmp_path / "none"), ["a"]), "no folder")
    refused(lambda: open_vocabulary(str(reader_folder("clipseg")), ["a"]), "'clipseg'", "not CLIP's")
    bare = parts_data(2)
    bare = replace(bare, items=tuple(replace(item, segments=lambda: None) for item in bare.items))
    refused(lambda: list(name_from_words(bare, Store(tmp_path / "s"), Knows())), "has masks; cut them first")
